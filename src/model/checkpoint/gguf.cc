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

// What differs from layer to layer. llama.cpp's files of Mistral say "llama" and name no window; ours do.
void read_layers(const GgufFile& file, const std::string& at, ModelConfig& c) {
  c.query_key_norms = c.model_type == "qwen3" || c.model_type == "gemma3_text";
  if (c.model_type == "gemma3_text") {  // what llama.cpp takes for granted
    c.hidden_act = "gelu_pytorch_tanh", c.query_pre_attn_scalar = float(c.head_dim);
    for (int64_t i = 0; i < std::min<int64_t>(c.num_hidden_layers, 4096); ++i)
      c.sliding_layers.push_back((i + 1) % 6 != 0);
  }
  c.sliding_window = file.get_or<int64_t>(at + "attention.sliding_window", 0);
  if (c.model_type == "llama" && c.sliding_window > 0) c.model_type = "mistral";
  if (c.model_type == "smollm3")  // every fourth sees no positions; GGUF has no key for it
    for (int64_t i = 0; i < std::min<int64_t>(c.num_hidden_layers, 4096); ++i)
      c.unrotated_layers.push_back((i + 1) % 4 == 0);
}

ModelConfig read_config(const GgufFile& file) {
  ModelConfig c;
  const auto architecture = file.get<std::string>("general.architecture");
  c.model_type = family_of_gguf(architecture, file.where()).model_type;
  const std::string at = architecture + ".";
  if (file.get_or<int64_t>(at + "expert_count", 0) > 0)
    throw Error(file.where() + ": mixtures of experts are not known here", "dense models can be loaded");
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
  } else if (scaling != "none") {
    throw Error(file.where() + ": rotary embedding scaled by \"" + printable(scaling) + "\" is not known here",
                "models with linear or llama3 scaling can be loaded");
  }
  if (file.find("rope_factors_short.weight"))
    throw Error(file.where() + ": rotary embedding scaled by \"longrope\" is not known here",
                "choose the model with a context of 4096");
  if (const StoredTensor* factors = file.find("rope_freqs.weight")) {
    if (factors->dtype != DType::kF32)
      throw Error(file.where() + ": rope_freqs.weight is not f32", "the file is damaged");
    c.rope_scaling.type = RopeScaling::Type::kLlama3;
    const auto* values = static_cast<const float*>(factors->data);
    c.rope_scaling.frequency_divisors.assign(values, values + factors->bytes / sizeof(float));
    read_llama3_terms(file, at, c.rope_scaling);
  }
  read_layers(file, at, c);
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
