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

std::vector<Part> layer_parts(const ModelConfig& c) {
  if (c.model_type == "gpt2")
    return {{"ln_1", "attn_norm", true}, {"attn.c_attn", "attn_qkv", true}, {"attn.c_proj", "attn_output", true},
            {"ln_2", "ffn_norm", true},  {"mlp.c_fc", "ffn_up", true},      {"mlp.c_proj", "ffn_down", true}};
  if (c.model_type == "phi3")  // q, k, v and gate, up are one matrix each
    return {{"input_layernorm", "attn_norm"},    {"self_attn.qkv_proj", "attn_qkv"},
            {"self_attn.o_proj", "attn_output"}, {"post_attention_layernorm", "ffn_norm"},
            {"mlp.gate_up_proj", "ffn_up"},      {"mlp.down_proj", "ffn_down"}};
  if (c.model_type == "gemma3_text")
    return {{"input_layernorm", "attn_norm"},
            {"self_attn.q_proj", "attn_q", c.attention_bias},
            {"self_attn.k_proj", "attn_k", c.attention_bias},
            {"self_attn.v_proj", "attn_v", c.attention_bias},
            {"self_attn.o_proj", "attn_output", c.attention_out_bias},
            {"self_attn.q_norm", "attn_q_norm"},
            {"self_attn.k_norm", "attn_k_norm"},
            {"post_attention_layernorm", "post_attention_norm"},
            {"pre_feedforward_layernorm", "ffn_norm"},
            {"mlp.gate_proj", "ffn_gate"},
            {"mlp.up_proj", "ffn_up"},
            {"mlp.down_proj", "ffn_down"},
            {"post_feedforward_layernorm", "post_ffw_norm"}};
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

std::string layers_prefix(const ModelConfig& c) { return c.model_type == "gpt2" ? "transformer.h." : "model.layers."; }

}  // namespace

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
  for (const Part& part : layer_parts(config))
    if (stem.compare(end + 1, std::string::npos, part.hf) == 0)
      return "blk." + stem.substr(layers.size(), end - layers.size()) + "." + part.gguf + kind;
  return "";
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
  for (int64_t i = 0; i < config.num_hidden_layers; ++i)
    for (const Part& part : layer_parts(config))
      add(layers_prefix(config) + std::to_string(i) + "." + part.hf, part.bias);
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
