// A GGUF file as a Checkpoint: sizes and tokenizer from its metadata (keys as in ggml's docs/gguf.md).

#include "formats/gguf.h"

#include <algorithm>

#include "base/error.h"
#include "model/checkpoint/checkpoint.h"
#include "model/checkpoint/gguf_tokenizer.h"
#include "model/families.h"

namespace sedum {
namespace {

// What the divisors were computed of. GGUF has no keys for two of them: our own files do, and in others they are as Llama 3 has them.
void read_llama3_terms(const GgufFile& file, const std::string& at, RopeScaling& scaling) {
  if (!scaling.frequency_divisors.empty())
    scaling.factor = *std::max_element(scaling.frequency_divisors.begin(), scaling.frequency_divisors.end());
  scaling.original_max_position_embeddings = file.get_or<int64_t>(at + "rope.scaling.original_context_length", 8192);
  scaling.low_freq_factor = file.get_or<float>("sedum.rope.low_freq_factor", 1);
  scaling.high_freq_factor = file.get_or<float>("sedum.rope.high_freq_factor", 4);
}

std::vector<float> f32_values(const GgufFile& file, const char* name) {
  const StoredTensor& stored = file.get(name);
  if (stored.dtype != DType::kF32) throw Error(file.where() + ": " + name + " is not f32", "the file is damaged");
  const auto* values = static_cast<const float*>(stored.data);
  return {values, values + stored.bytes / sizeof(float)};
}

// YaRN whose divisors our own writer computed, by the terms that it left beside them.
void read_divided_yarn(const GgufFile& file, const std::string& at, ModelConfig& c) {
  RopeScaling& s = c.rope_scaling;
  s.type = RopeScaling::Type::kYarn, s.factor = file.get<float>("sedum.rope.yarn_factor");
  s.original_max_position_embeddings = file.get<int64_t>(at + "rope.scaling.original_context_length");
  s.beta_fast = file.get<float>("sedum.rope.yarn_beta_fast"),
  s.beta_slow = file.get<float>("sedum.rope.yarn_beta_slow");
  s.truncate = file.get<bool>("sedum.rope.yarn_truncate");
  s.attention_factor = file.get_or<float>(at + "rope.scaling.attn_factor", 1);
}

// llama.cpp multiplies cos and sin by its attn_factor and by 0.1 ln factor + 1.
void read_yarn(const GgufFile& file, const std::string& at, ModelConfig& c) {
  RopeScaling& s = c.rope_scaling;
  s.type = RopeScaling::Type::kYarn, s.factor = file.get<float>(at + "rope.scaling.factor");
  s.original_max_position_embeddings =
      file.get_or<int64_t>(at + "rope.scaling.original_context_length", c.max_position_embeddings);
  s.beta_fast = file.get_or<float>(at + "rope.scaling.yarn_beta_fast", 32);
  s.beta_slow = file.get_or<float>(at + "rope.scaling.yarn_beta_slow", 1);
  s.attention_factor = file.get_or<float>(at + "rope.scaling.attn_factor", 1) * yarn_attention_factor(s.factor, 1);
}

void read_longrope(const GgufFile& file, const std::string& at, ModelConfig& c) {
  RopeScaling& s = c.rope_scaling;
  s.type = RopeScaling::Type::kLongRope;
  s.original_max_position_embeddings =
      file.get_or<int64_t>(at + "rope.scaling.original_context_length", c.max_position_embeddings);
  s.factor = float(c.max_position_embeddings) / float(std::max<int64_t>(1, s.original_max_position_embeddings));
  s.short_factor = f32_values(file, "rope_factors_short.weight");
  s.long_factor = f32_values(file, "rope_factors_long.weight");
  s.attention_factor = file.get_or<float>(at + "rope.scaling.attn_factor", 1);
}

// What differs from layer to layer. llama.cpp's files of Mistral say "llama" and name no window; ours do.
void read_layers(const GgufFile& file, const std::string& at, ModelConfig& c) {
  c.query_key_norms = c.model_type == "qwen3" || c.model_type == "qwen3_moe" || c.model_type == "gemma3_text";
  if (is_gemma(c.model_type)) {  // what llama.cpp takes for granted
    c.hidden_act = "gelu_pytorch_tanh", c.query_pre_attn_scalar = gguf_query_scalar(c);
    for (int64_t i = 0; i < std::min<int64_t>(c.num_hidden_layers, 4096); ++i)
      c.sliding_layers.push_back(slides_in_gemma(c.model_type, i));
    c.attn_logit_softcapping = file.get_or<float>(at + "attn_logit_softcapping", 0);
    c.final_logit_softcapping = file.get_or<float>(at + "final_logit_softcapping", 0);
  }
  c.sliding_window = file.get_or<int64_t>(at + "attention.sliding_window", 0);
  if (c.model_type == "llama" && c.sliding_window > 0) c.model_type = "mistral";
  if (c.model_type == "smollm3")  // every fourth sees no positions; GGUF has no key for it
    for (int64_t i = 0; i < std::min<int64_t>(c.num_hidden_layers, 4096); ++i)
      c.unrotated_layers.push_back((i + 1) % 4 == 0);
}

// llama.cpp calls Mixtral "llama" too. Layers without a router are dense.
void read_experts(const GgufFile& file, const std::string& at, ModelConfig& c) {
  c.num_experts = file.get_or<int64_t>(at + "expert_count", 0);
  if (c.num_experts == 0 && c.model_type != "qwen3_moe") return;
  if (c.model_type == "llama" || c.model_type == "mistral") c.model_type = "mixtral";
  if (!is_mixture(c.model_type))
    throw Error(file.where() + ": a mixture of experts of the architecture " + c.model_type + " is not known here",
                "Mixtral and Qwen3-MoE can be loaded");
  c.num_experts_per_tok = file.get<int64_t>(at + "expert_used_count");
  c.moe_intermediate_size = file.get_or<int64_t>(at + "expert_feed_forward_length", c.intermediate_size);
  for (int64_t i = 0; c.model_type == "qwen3_moe" && i < std::min<int64_t>(c.num_hidden_layers, 4096); ++i)
    c.dense_layers.push_back(!file.find("blk." + std::to_string(i) + ".ffn_gate_inp.weight"));
}

ModelConfig read_config(const GgufFile& file) {
  ModelConfig c;
  const auto architecture = file.get<std::string>("general.architecture");
  c.model_type = family_of_gguf(architecture, file.where()).model_type;
  const std::string at = architecture + ".";
  c.hidden_size = file.get<int64_t>(at + "embedding_length");
  c.intermediate_size = file.get<int64_t>(at + "feed_forward_length");
  c.num_hidden_layers = file.get<int64_t>(at + "block_count");
  c.num_attention_heads = file.get<int64_t>(at + "attention.head_count");
  c.num_key_value_heads = file.get_or<int64_t>(at + "attention.head_count_kv", c.num_attention_heads);
  if (c.num_attention_heads < 1) throw Error(file.where() + ": no attention heads", "the file is damaged");
  c.head_dim = file.get_or<int64_t>(at + "attention.key_length", c.hidden_size / c.num_attention_heads);
  if (const auto rotated = file.get_or<int64_t>(at + "rope.dimension_count", c.head_dim); rotated != c.head_dim) {
    if (c.model_type != "phi3" || c.head_dim < 1)
      throw Error(file.where() + ": rotary embedding of a part of the head is not known here",
                  "this model cannot be loaded");
    c.partial_rotary_factor = float(rotated) / float(c.head_dim);
  }
  c.max_position_embeddings = file.get_or<int64_t>(at + "context_length", 2048);
  c.rms_norm_eps = file.get_or<float>(at + "attention.layer_norm_rms_epsilon", 1e-6f);
  c.layer_norm_eps = file.get_or<float>(at + "attention.layer_norm_epsilon", 1e-5f);
  if (c.model_type == "gpt2") c.hidden_act = "gelu_new";
  c.rope_theta = file.get_or<float>(at + "rope.freq_base", 10000);
  const auto scaling = file.get_or<std::string>(at + "rope.scaling.type", "none");
  if (scaling == "linear") {
    c.rope_scaling.type = RopeScaling::Type::kLinear;
    c.rope_scaling.factor = file.get<float>(at + "rope.scaling.factor");
  } else if (scaling == "yarn") {
    read_yarn(file, at, c);
  } else if (scaling != "none" && scaling != "longrope") {
    throw Error(file.where() + ": rotary embedding scaled by \"" + printable(scaling) + "\" is not known here",
                "models with linear, llama3, yarn or longrope scaling can be loaded");
  }
  if (file.find("rope_factors_short.weight")) read_longrope(file, at, c);
  if (file.has("sedum.rope.yarn_factor")) {
    read_divided_yarn(file, at, c);
  } else if (file.find("rope_freqs.weight")) {
    c.rope_scaling.type = RopeScaling::Type::kLlama3;
    c.rope_scaling.frequency_divisors = f32_values(file, "rope_freqs.weight");
    read_llama3_terms(file, at, c.rope_scaling);
  }
  read_layers(file, at, c);
  read_experts(file, at, c);
  c.vocab_size = file.get("token_embd.weight").shape[0];
  c.attention_bias = file.find("blk.0.attn_q.bias") != nullptr;
  c.attention_out_bias = file.find("blk.0.attn_output.bias") != nullptr;
  c.mlp_bias = file.find("blk.0.ffn_up.bias") != nullptr;
  c.tie_word_embeddings = file.find("output.weight") == nullptr;
  c.bos_token_id = file.get_or<int32_t>("tokenizer.ggml.bos_token_id", -1);
  c.eos_token_id = file.get_or<int32_t>("tokenizer.ggml.eos_token_id", -1);
  c.validate(file.where());
  return c;
}

}  // namespace

Checkpoint open_gguf(const std::filesystem::path& path) {
  auto file = std::make_shared<const GgufFile>(path);
  Checkpoint c;
  c.path_ = path, c.name_ = path.stem().string(), c.gguf_ = true;
  c.config_ = read_config(*file);
  c.has_tokenizer_ = file->has("tokenizer.ggml.model");
  c.read_tokenizer_ = [file] { return read_gguf_tokenizer(*file); };
  c.source_ = std::move(file);
  return c;
}

}  // namespace sedum
