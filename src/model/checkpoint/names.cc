#include <string_view>

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

std::vector<Part> outer_parts() {
  return {{"model.embed_tokens", "token_embd"}, {"model.norm", "output_norm"}, {"lm_head", "output"}};
}

std::vector<Part> layer_parts(const ModelConfig& c) {
  std::vector<Part> parts{{"input_layernorm", "attn_norm"},
                          {"self_attn.q_proj", "attn_q", c.attention_bias},
                          {"self_attn.k_proj", "attn_k", c.attention_bias},
                          {"self_attn.v_proj", "attn_v", c.attention_bias},
                          {"self_attn.o_proj", "attn_output", c.attention_out_bias}};
  if (c.query_key_norms)
    parts.push_back({"self_attn.q_norm", "attn_q_norm"}), parts.push_back({"self_attn.k_norm", "attn_k_norm"});
  parts.push_back({"post_attention_layernorm", "ffn_norm"});
  parts.push_back({"mlp.gate_proj", "ffn_gate", c.mlp_bias});
  parts.push_back({"mlp.up_proj", "ffn_up", c.mlp_bias});
  parts.push_back({"mlp.down_proj", "ffn_down", c.mlp_bias});
  return parts;
}

constexpr std::string_view kLayers = "model.layers.";

}  // namespace

std::string gguf_name(const std::string& hf_name, const ModelConfig& config) {
  const size_t dot = hf_name.rfind('.');  // ".weight" or ".bias"
  if (dot == std::string::npos) return "";
  const std::string stem = hf_name.substr(0, dot), kind = hf_name.substr(dot);
  for (const Part& part : outer_parts())
    if (stem == part.hf) return part.gguf + kind;
  if (!stem.starts_with(kLayers)) return "";
  const size_t end = stem.find('.', kLayers.size());
  if (end == std::string::npos) return "";
  for (const Part& part : layer_parts(config))
    if (stem.compare(end + 1, std::string::npos, part.hf) == 0)
      return "blk." + stem.substr(kLayers.size(), end - kLayers.size()) + "." + part.gguf + kind;
  return "";
}

std::vector<std::string> architecture_tensors(const ModelConfig& config) {
  if (is_seq2seq(config.model_type)) return t5_tensors(config);
  if (is_encoder(config.model_type)) return bert_tensors(config);
  std::vector<std::string> names{"model.embed_tokens.weight"};
  for (int64_t i = 0; i < config.num_hidden_layers; ++i)
    for (const Part& part : layer_parts(config)) {
      const std::string stem = std::string(kLayers) + std::to_string(i) + "." + part.hf;
      names.push_back(stem + ".weight");
      if (part.bias) names.push_back(stem + ".bias");
    }
  names.push_back("model.norm.weight");
  if (!config.tie_word_embeddings) names.push_back("lm_head.weight");
  return names;
}

int64_t other_row(int64_t row, int64_t head_dim, RowOrder wanted) {
  const int64_t head = row / head_dim, at = row % head_dim, half = head_dim / 2;
  if (wanted == RowOrder::kHalves) return head * head_dim + at % half * 2 + at / half;
  return head * head_dim + at % 2 * half + at / 2;
}

}  // namespace sedum
