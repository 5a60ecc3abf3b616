#include <array>
#include <utility>

#include "model/architectures/bert.h"
#include "model/architectures/t5.h"
#include "model/checkpoint/checkpoint.h"

namespace sedum {
namespace {

// Inside a layer: Hugging Face's name, GGUF's.
constexpr std::array<std::pair<std::string_view, std::string_view>, 9> kLayerParts{{
    {"input_layernorm", "attn_norm"},
    {"self_attn.q_proj", "attn_q"},
    {"self_attn.k_proj", "attn_k"},
    {"self_attn.v_proj", "attn_v"},
    {"self_attn.o_proj", "attn_output"},
    {"post_attention_layernorm", "ffn_norm"},
    {"mlp.gate_proj", "ffn_gate"},
    {"mlp.up_proj", "ffn_up"},
    {"mlp.down_proj", "ffn_down"},
}};
constexpr std::array<std::pair<std::string_view, std::string_view>, 3> kOuterParts{{
    {"model.embed_tokens", "token_embd"},
    {"model.norm", "output_norm"},
    {"lm_head", "output"},
}};

}  // namespace

std::string gguf_name(const std::string& hf_name) {
  const size_t dot = hf_name.rfind('.');  // ".weight" or ".bias"
  if (dot == std::string::npos) return "";
  const std::string stem = hf_name.substr(0, dot), kind = hf_name.substr(dot);
  for (const auto& [hf, gguf] : kOuterParts)
    if (stem == hf) return std::string(gguf) + kind;
  constexpr std::string_view kPrefix = "model.layers.";
  if (!stem.starts_with(kPrefix)) return "";
  const size_t end = stem.find('.', kPrefix.size());
  if (end == std::string::npos) return "";
  for (const auto& [hf, gguf] : kLayerParts)
    if (stem.compare(end + 1, std::string::npos, hf) == 0)
      return "blk." + stem.substr(kPrefix.size(), end - kPrefix.size()) + "." + std::string(gguf) + kind;
  return "";
}

std::vector<std::string> architecture_tensors(const ModelConfig& config) {
  if (is_seq2seq(config.model_type)) return t5_tensors(config);
  if (is_encoder(config.model_type)) return bert_tensors(config);
  std::vector<std::string> names{"model.embed_tokens.weight"};
  for (int64_t i = 0; i < config.num_hidden_layers; ++i)
    for (const auto& part : kLayerParts) {
      const std::string_view hf = part.first;
      const std::string stem = "model.layers." + std::to_string(i) + "." + std::string(hf);
      names.push_back(stem + ".weight");
      const bool attention_input = hf == "self_attn.q_proj" || hf == "self_attn.k_proj" || hf == "self_attn.v_proj";
      if ((attention_input && config.attention_bias) || (hf == "self_attn.o_proj" && config.attention_out_bias) ||
          (hf.starts_with("mlp.") && config.mlp_bias))
        names.push_back(stem + ".bias");
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
