#include <algorithm>
#include <optional>

#include "model/architectures/bert.h"
#include "model/architectures/t5.h"
#include "model/checkpoint/checkpoint.h"

namespace sedum {
namespace {

// A layer's or an outer part: Hugging Face's name, GGUF's, and what it has.
struct Part {
  std::string hf, gguf;
  bool bias = false;
};

std::vector<Part> outer_parts(const ModelConfig& c) {
  if (c.model_type == "gpt2")
    return {{"transformer.wte", "token_embd"},
            {"transformer.wpe", "position_embd"},
            {"transformer.ln_f", "output_norm", true}};
  return {{"model.embed_tokens", "token_embd"}, {"model.norm", "output_norm"}, {"lm_head", "output"}};
}

std::vector<Part> layer_parts(const ModelConfig& c, int64_t layer) {
  if (c.model_type == "gpt2")
    return {{"ln_1", "attn_norm", true}, {"attn.c_attn", "attn_qkv", true}, {"attn.c_proj", "attn_output", true},
            {"ln_2", "ffn_norm", true},  {"mlp.c_fc", "ffn_up", true},      {"mlp.c_proj", "ffn_down", true}};
  if (c.model_type == "phi3")  // q, k, v and gate, up are one matrix each
    return {{"input_layernorm", "attn_norm"},    {"self_attn.qkv_proj", "attn_qkv"},
            {"self_attn.o_proj", "attn_output"}, {"post_attention_layernorm", "ffn_norm"},
            {"mlp.gate_up_proj", "ffn_up"},      {"mlp.down_proj", "ffn_down"}};
  std::vector<Part> parts{{"input_layernorm", "attn_norm"},
                          {"self_attn.q_proj", "attn_q", c.attention_bias},
                          {"self_attn.k_proj", "attn_k", c.attention_bias},
                          {"self_attn.v_proj", "attn_v", c.attention_bias},
                          {"self_attn.o_proj", "attn_output", c.attention_out_bias}};
  if (c.query_key_norms)
    parts.push_back({"self_attn.q_norm", "attn_q_norm"}), parts.push_back({"self_attn.k_norm", "attn_k_norm"});
  const bool gemma = is_gemma(c.model_type);  // with norms behind the blocks
  parts.push_back({"post_attention_layernorm", gemma ? "post_attention_norm" : "ffn_norm"});
  if (gemma)
    parts.push_back({"pre_feedforward_layernorm", "ffn_norm"}),
        parts.push_back({"post_feedforward_layernorm", "post_ffw_norm"});
  if (c.is_sparse(layer)) {  // the experts' matrices have names of their own
    parts.push_back({c.model_type == "mixtral" ? "block_sparse_moe.gate" : "mlp.gate", "ffn_gate_inp"});
    return parts;
  }
  parts.push_back({"mlp.gate_proj", "ffn_gate", c.mlp_bias});
  parts.push_back({"mlp.up_proj", "ffn_up", c.mlp_bias});
  parts.push_back({"mlp.down_proj", "ffn_down", c.mlp_bias});
  return parts;
}

std::string layers_prefix(const ModelConfig& c) { return c.model_type == "gpt2" ? "transformer.h." : "model.layers."; }

// The matrices of an expert, in both spellings, and what GGUF calls all experts' together.
struct ExpertPart {
  const char *mixtral, *qwen, *gguf;
};
constexpr ExpertPart kExpertParts[] = {
    {"w1", "gate_proj", "ffn_gate_exps"}, {"w3", "up_proj", "ffn_up_exps"}, {"w2", "down_proj", "ffn_down_exps"}};

// A number at `at`, which ends before `end`; nullopt where there is none.
std::optional<int64_t> number_at(const std::string& text, size_t at, char end, size_t& next) {
  next = text.find(end, at);
  if (next == std::string::npos || next == at || next - at > 9) return std::nullopt;
  if (!std::all_of(text.begin() + long(at), text.begin() + long(next), [](char c) { return c >= '0' && c <= '9'; }))
    return std::nullopt;
  return std::stoll(text.substr(at, next - at));
}

}  // namespace

std::optional<ExpertTensor> expert_tensor(const std::string& hf_name) {
  constexpr std::string_view kLayers = "model.layers.";
  if (!hf_name.starts_with(kLayers) || !hf_name.ends_with(".weight")) return std::nullopt;
  size_t next;
  const auto layer = number_at(hf_name, kLayers.size(), '.', next);
  if (!layer) return std::nullopt;
  for (const std::string block : {"block_sparse_moe.experts.", "mlp.experts."}) {
    if (hf_name.compare(next + 1, block.size(), block) != 0) continue;
    const auto expert = number_at(hf_name, next + 1 + block.size(), '.', next);
    if (!expert) return std::nullopt;
    const std::string part = hf_name.substr(next + 1, hf_name.size() - 7 - next - 1);
    for (int i = 0; i < 3; ++i)
      if (part == kExpertParts[i].mixtral || part == kExpertParts[i].qwen)
        return ExpertTensor{*layer, *expert, ExpertTensor::Part(i)};
  }
  return std::nullopt;
}

bool is_router(const std::string& hf_name) {
  return hf_name.ends_with(".mlp.gate.weight") || hf_name.ends_with(".block_sparse_moe.gate.weight");
}

std::string gguf_name(const std::string& hf_name, const ModelConfig& config) {
  const size_t dot = hf_name.rfind('.');  // ".weight" or ".bias"
  if (dot == std::string::npos) return "";
  const std::string stem = hf_name.substr(0, dot), kind = hf_name.substr(dot);
  for (const Part& part : outer_parts(config))
    if (stem == part.hf) return part.gguf + kind;
  const std::string layers = layers_prefix(config);
  if (!stem.starts_with(layers)) return "";
  const size_t end = stem.find('.', layers.size());
  if (end == std::string::npos) return "";
  if (const auto expert = expert_tensor(hf_name); expert && config.is_sparse(expert->layer))
    return "blk." + std::to_string(expert->layer) + "." + kExpertParts[size_t(expert->part)].gguf + kind;
  size_t unused;
  const auto layer = number_at(stem, layers.size(), '.', unused);
  if (!layer) return "";
  for (const Part& part : layer_parts(config, *layer))
    if (stem.compare(end + 1, std::string::npos, part.hf) == 0)
      return "blk." + stem.substr(layers.size(), end - layers.size()) + "." + part.gguf + kind;
  return "";
}

// Gemma 2 of 27B, which has 46 layers, is the one whose scalar is not the head's size.
float gguf_query_scalar(const ModelConfig& c) {
  const bool shared = c.model_type == "gemma2" && c.num_hidden_layers == 46;
  return float(shared ? c.hidden_size / c.num_attention_heads : c.head_dim);
}

std::vector<std::string> architecture_tensors(const ModelConfig& config) {
  if (is_seq2seq(config.model_type)) return t5_tensors(config);
  if (is_encoder(config.model_type)) return bert_tensors(config);
  std::vector<std::string> names;
  const auto add = [&](const std::string& stem, bool bias) {
    names.push_back(stem + ".weight");
    if (bias) names.push_back(stem + ".bias");
  };
  const std::vector<Part> outer = outer_parts(config);
  add(outer.front().hf, false);
  const bool mixtral = config.model_type == "mixtral";
  for (int64_t i = 0; i < config.num_hidden_layers; ++i) {
    const std::string layer = layers_prefix(config) + std::to_string(i) + ".";
    for (const Part& part : layer_parts(config, i)) add(layer + part.hf, part.bias);
    for (int64_t e = 0; config.is_sparse(i) && e < config.num_experts; ++e)
      for (const ExpertPart& part : kExpertParts)
        add(layer + (mixtral ? "block_sparse_moe.experts." : "mlp.experts.") + std::to_string(e) + "." +
                (mixtral ? part.mixtral : part.qwen),
            false);
  }
  for (size_t i = 1; i < outer.size(); ++i)
    if (outer[i].hf != "lm_head" || !config.tie_word_embeddings) add(outer[i].hf, outer[i].bias);
  return names;
}

int64_t other_row(int64_t row, int64_t head_dim, RowOrder wanted) {
  const int64_t head = row / head_dim, at = row % head_dim, half = head_dim / 2;
  if (wanted == RowOrder::kHalves) return head * head_dim + at % half * 2 + at / half;
  return head * head_dim + at % 2 * half + at / 2;
}

}  // namespace sedum
