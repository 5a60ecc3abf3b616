// A ModelConfig as config.json: what transformers reads back.

#include "base/json.h"
#include "model/config_keys.h"
#include "model/families.h"

namespace sedum {
namespace {

// Windows and layers without positions, by layer.
void write_layers(const ModelConfig& c, nlohmann::ordered_json& out) {
  const bool always =
      c.model_type == "mistral" || c.model_type == "mixtral" || c.model_type == "phi3";  // a window is for all layers
  if (c.sliding_window > 0) {
    out["sliding_window"] = c.sliding_window;
    if (!always) out["use_sliding_window"] = true;
    for (int64_t i = 0; i < c.num_hidden_layers && !always; ++i)
      out["layer_types"].push_back(c.window_of(i) > 0 ? "sliding_attention" : "full_attention");
  } else if (c.model_type == "mistral" || c.model_type == "mixtral") {
    out["sliding_window"] = nullptr;  // a missing one counts as 4096
  }
  for (const bool unrotated : c.unrotated_layers) out["no_rope_layers"].push_back(unrotated ? 0 : 1);
}

void write_experts(const ModelConfig& c, nlohmann::ordered_json& out) {
  if (!is_mixture(c.model_type)) return;
  const bool mixtral = c.model_type == "mixtral";
  out[mixtral ? "num_local_experts" : "num_experts"] = c.num_experts;
  out["num_experts_per_tok"] = c.num_experts_per_tok;
  out["router_aux_loss_coef"] = c.router_aux_loss_coef, out["output_router_logits"] = c.output_router_logits;
  if (mixtral) return;
  out["moe_intermediate_size"] = c.moe_intermediate_size, out["norm_topk_prob"] = c.norm_topk_prob;
  out["decoder_sparse_step"] = 1, out["mlp_only_layers"] = nlohmann::ordered_json::array();
  for (int64_t i = 0; i < c.num_hidden_layers; ++i)
    if (!c.is_sparse(i)) out["mlp_only_layers"].push_back(i);
}

nlohmann::ordered_json gpt2_to_json(const ModelConfig& c) {
  nlohmann::ordered_json out;
  out["architectures"] = {"GPT2LMHeadModel"}, out["model_type"] = "gpt2";
  out["vocab_size"] = c.vocab_size, out["n_embd"] = c.hidden_size, out["n_layer"] = c.num_hidden_layers;
  out["n_head"] = c.num_attention_heads, out["n_inner"] = c.intermediate_size,
  out["n_positions"] = c.max_position_embeddings;
  out["activation_function"] = c.hidden_act, out["layer_norm_epsilon"] = c.layer_norm_eps;
  out["attn_pdrop"] = c.attention_dropout, out["resid_pdrop"] = c.resid_pdrop, out["embd_pdrop"] = c.embd_pdrop;
  out["initializer_range"] = c.initializer_range, out["tie_word_embeddings"] = true;
  out["bos_token_id"] = c.bos_token_id, out["eos_token_id"] = c.eos_token_id;
  return out;
}

}  // namespace

nlohmann::ordered_json config_to_json(const ModelConfig& c) {
  if (is_encoder(c.model_type)) return encoder_config_to_json(c);
  if (c.model_type == "gpt2") return gpt2_to_json(c);
  nlohmann::ordered_json out;
  out["architectures"] = {family_of(c.model_type, "config.json").hf_class};
  out["model_type"] = c.model_type;
  out["vocab_size"] = c.vocab_size;
  out["hidden_size"] = c.hidden_size;
  out["intermediate_size"] = c.intermediate_size;
  out["num_hidden_layers"] = c.num_hidden_layers;
  out["num_attention_heads"] = c.num_attention_heads;
  out["num_key_value_heads"] = c.num_key_value_heads;
  out["head_dim"] = c.head_dim;
  out["max_position_embeddings"] = c.max_position_embeddings;
  out["rms_norm_eps"] = c.rms_norm_eps;
  out["rope_theta"] = c.rope_theta;
  if (c.rope_scaling.type == RopeScaling::Type::kLinear)
    out["rope_scaling"] = {{"rope_type", "linear"}, {"factor", c.rope_scaling.factor}};
  if (c.rope_scaling.type == RopeScaling::Type::kLlama3)
    out["rope_scaling"] = {{"rope_type", "llama3"},
                           {"factor", c.rope_scaling.factor},
                           {"low_freq_factor", c.rope_scaling.low_freq_factor},
                           {"high_freq_factor", c.rope_scaling.high_freq_factor},
                           {"original_max_position_embeddings", c.rope_scaling.original_max_position_embeddings}};
  if (c.rope_scaling.type == RopeScaling::Type::kYarn)
    out["rope_scaling"] = {{"rope_type", "yarn"},
                           {"factor", c.rope_scaling.factor},
                           {"attention_factor", c.rope_scaling.attention_factor},
                           {"beta_fast", c.rope_scaling.beta_fast},
                           {"beta_slow", c.rope_scaling.beta_slow},
                           {"truncate", c.rope_scaling.truncate},
                           {"original_max_position_embeddings", c.rope_scaling.original_max_position_embeddings}};
  if (c.rope_scaling.type == RopeScaling::Type::kLongRope)
    out["rope_scaling"] = {{"rope_type", "longrope"},
                           {"factor", c.rope_scaling.factor},
                           {"attention_factor", c.rope_scaling.attention_factor},
                           {"short_factor", c.rope_scaling.short_factor},
                           {"long_factor", c.rope_scaling.long_factor},
                           {"original_max_position_embeddings", c.rope_scaling.original_max_position_embeddings}};
  if (c.partial_rotary_factor != 1) out["partial_rotary_factor"] = c.partial_rotary_factor;
  if (is_gemma(c.model_type)) {
    out["hidden_activation"] = c.hidden_act,
    out["query_pre_attn_scalar"] = int64_t(c.query_pre_attn_scalar);  // transformers wants a whole number
    if (c.model_type == "gemma3_text") out["rope_local_base_freq"] = c.rope_local_base_freq;
    const auto cap = [&](const char* key, float value) {  // a missing one would count as Gemma 2's own
      out[key] = value > 0 ? nlohmann::ordered_json(value) : nlohmann::ordered_json(nullptr);
    };
    cap("attn_logit_softcapping", c.attn_logit_softcapping);
    cap("final_logit_softcapping", c.final_logit_softcapping);
  } else {
    out["hidden_act"] = "silu";
  }
  if (c.model_type == "phi3")
    out["original_max_position_embeddings"] = c.rope_scaling.type == RopeScaling::Type::kLongRope
                                                  ? c.rope_scaling.original_max_position_embeddings
                                                  : c.max_position_embeddings;
  // Their default is an id that a smaller vocabulary has not.
  if (c.model_type == "phi3" || c.model_type == "smollm3") out["pad_token_id"] = nullptr;
  if (c.model_type != "qwen2") out["attention_bias"] = c.attention_bias, out["mlp_bias"] = c.mlp_bias;
  write_layers(c, out);
  write_experts(c, out);
  out["attention_dropout"] = c.attention_dropout;
  out["initializer_range"] = c.initializer_range;
  if (c.resid_pdrop > 0) out["resid_pdrop"] = c.resid_pdrop;
  if (c.embd_pdrop > 0) out["embd_pdrop"] = c.embd_pdrop;
  out["tie_word_embeddings"] = c.tie_word_embeddings;
  if (c.bos_token_id >= 0) out["bos_token_id"] = c.bos_token_id;
  if (c.eos_token_id >= 0) out["eos_token_id"] = c.eos_token_id;
  return out;
}

}  // namespace sedum
