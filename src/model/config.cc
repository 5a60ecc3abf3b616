#include "model/config.h"

#include <algorithm>
#include <cmath>
#include <map>

#include <fmt/format.h>

#include "base/error.h"
#include "base/json.h"
#include "model/config_keys.h"
#include "model/families.h"

namespace sedum {
namespace {

using nlohmann::json;

constexpr int64_t kMostLayers = 4096;  // of any published model some hundred

// The terms of YaRN (Peng et al. 2023) and LongRoPE (Ding et al. 2024), with transformers' defaults.
void read_stretched(const Keys& rope, RopeScaling& s) {
  s.beta_fast = rope.get_or<float>("beta_fast", 32), s.beta_slow = rope.get_or<float>("beta_slow", 1);
  s.truncate = rope.get_or<bool>("truncate", true);
  if (s.type == RopeScaling::Type::kLongRope) {
    s.short_factor = rope.get<std::vector<float>>("short_factor");
    s.long_factor = rope.get<std::vector<float>>("long_factor");
    s.attention_factor = rope.get_or<float>("attention_factor", longrope_attention_factor(s));
    return;
  }
  const float m = rope.get_or<float>("mscale", 0), all = rope.get_or<float>("mscale_all_dim", 0);
  const float own = m > 0 && all > 0 ? yarn_attention_factor(s.factor, m) / yarn_attention_factor(s.factor, all)
                                     : yarn_attention_factor(s.factor, 1);
  s.attention_factor = rope.get_or<float>("attention_factor", own);
}

void read_rope(const Keys& keys, ModelConfig& config, const std::string& where) {
  config.rope_theta = keys.get_or<float>("rope_theta", 10000);
  const char* key = keys.has("rope_parameters") ? "rope_parameters" : "rope_scaling";
  if (!keys.has(key)) return;
  Keys rope = keys.object(key);
  if (rope.has("sliding_attention"))
    config.rope_local_base_freq = rope.object("sliding_attention").get_or<float>("rope_theta", 10000);
  if (rope.has("full_attention")) rope = rope.object("full_attention");
  config.rope_theta = rope.get_or<float>("rope_theta", config.rope_theta);
  config.partial_rotary_factor = rope.get_or<float>("partial_rotary_factor", 1);
  const auto type = rope.get_or<std::string>("rope_type", rope.get_or<std::string>("type", "default"));
  RopeScaling& scaling = config.rope_scaling;
  if (type == "default") return;
  using Type = RopeScaling::Type;
  const std::map<std::string, Type> known{{"linear", Type::kLinear},
                                          {"llama3", Type::kLlama3},
                                          {"yarn", config.model_type == "phi3" ? Type::kLongRope : Type::kYarn},
                                          {"longrope", Type::kLongRope},
                                          {"su", Type::kLongRope}};  // Phi-3's first files have other words for it
  const auto found = known.find(type);
  if (found == known.end())
    throw Error(where + ": rotary embedding scaled by \"" + type + "\" is not known here",
                "models with linear, llama3, yarn or longrope scaling can be loaded");
  scaling.type = found->second;
  scaling.original_max_position_embeddings =
      rope.get_or<int64_t>("original_max_position_embeddings",
                           keys.get_or<int64_t>("original_max_position_embeddings", config.max_position_embeddings));
  const bool stretched = scaling.type == Type::kYarn || scaling.type == Type::kLongRope;
  scaling.factor = stretched ? rope.get_or<float>("factor", float(config.max_position_embeddings) /
                                                                float(scaling.original_max_position_embeddings))
                             : rope.get<float>("factor");
  scaling.low_freq_factor = rope.get_or<float>("low_freq_factor", 1);
  scaling.high_freq_factor = rope.get_or<float>("high_freq_factor", 4);
  if (stretched) read_stretched(rope, scaling);
}

// Which layers see a window of keys only: transformers 5 lists the layers' types, older files name a layer from which on they do.
void read_windows(const Keys& keys, ModelConfig& config) {
  if (config.model_type == "llama" ||
      !keys.get_or<bool>("use_sliding_window", config.model_type == "mistral" || config.model_type == "phi3" ||
                                                   config.model_type == "mixtral" || is_gemma(config.model_type)))
    return;
  config.sliding_window = keys.get_or<int64_t>("sliding_window", 0);
  if (config.sliding_window == 0) return;
  const auto types = keys.get_or<std::vector<std::string>>("layer_types", {});
  const bool all = config.model_type == "qwen3_moe";
  const int64_t first = all ? 0 : keys.get_or<int64_t>("max_window_layers", 0);
  const int64_t pattern = std::max<int64_t>(1, keys.get_or<int64_t>("sliding_window_pattern", 6));
  config.sliding_layers.clear();
  for (int64_t i = 0; i < std::min(config.num_hidden_layers, kMostLayers); ++i)
    config.sliding_layers.push_back(size_t(i) < types.size()      ? types[size_t(i)] == "sliding_attention"
                                    : is_gemma(config.model_type) ? slides_in_gemma(config.model_type, i, pattern)
                                                                  : i >= first);
}

// Mixtral and Qwen3-MoE: their experts, and in Qwen3-MoE the layers that have none.
void read_experts(const Keys& keys, ModelConfig& c, const std::string& where) {
  if (!is_mixture(c.model_type)) return;
  const bool mixtral = c.model_type == "mixtral";
  // transformers 5 has one name for both families.
  c.num_experts = keys.get<int64_t>(keys.has("num_local_experts") ? "num_local_experts" : "num_experts");
  c.num_experts_per_tok = keys.get_or<int64_t>("num_experts_per_tok", mixtral ? 2 : 8);
  c.moe_intermediate_size = mixtral ? c.intermediate_size : keys.get<int64_t>("moe_intermediate_size");
  c.norm_topk_prob = mixtral || keys.get_or<bool>("norm_topk_prob", false);
  c.router_aux_loss_coef = keys.get_or<float>("router_aux_loss_coef", 0.001f);
  c.output_router_logits = keys.get_or<bool>("output_router_logits", false);
  if (keys.get_or<float>("router_jitter_noise", 0) > 0)
    throw Error(where + ": router_jitter_noise is not known here", "set it to 0: it is noise while training");
  if (mixtral) return;
  const auto dense = keys.get_or<std::vector<int64_t>>("mlp_only_layers", {});
  const int64_t step = std::max<int64_t>(1, keys.get_or<int64_t>("decoder_sparse_step", 1));
  for (int64_t i = 0; i < std::min(c.num_hidden_layers, kMostLayers); ++i)
    c.dense_layers.push_back((i + 1) % step != 0 || std::find(dense.begin(), dense.end(), i) != dense.end());
}

// SmolLM3: every fourth layer sees no positions. no_rope_layers has a 1 where a layer does see them.
void read_unrotated(const Keys& keys, ModelConfig& config) {
  if (config.model_type != "smollm3") return;
  const auto rotated = keys.get_or<std::vector<int>>("no_rope_layers", {});
  const int64_t interval = std::max<int64_t>(1, keys.get_or<int64_t>("no_rope_layer_interval", 4));
  for (int64_t i = 0; i < std::min(config.num_hidden_layers, kMostLayers); ++i)
    config.unrotated_layers.push_back(size_t(i) < rotated.size() ? rotated[size_t(i)] == 0 : (i + 1) % interval == 0);
}

// What Gemma 2 and 3 have beside Llama's keys.
void read_gemma(const Keys& keys, ModelConfig& c, const std::string& where) {
  c.hidden_act = keys.get_or<std::string>("hidden_activation", "gelu_pytorch_tanh");
  if (c.hidden_act != "gelu_pytorch_tanh")
    throw Error(where + ": hidden_activation is not gelu_pytorch_tanh", "this model cannot be loaded");
  if (keys.get_or<bool>("use_bidirectional_attention", false))
    throw Error(where + ": attention to later tokens is not known here", "this model cannot be loaded");
  c.query_pre_attn_scalar = keys.get_or<float>("query_pre_attn_scalar", 256);
  c.rope_local_base_freq = keys.get_or<float>("rope_local_base_freq", 10000);
  const bool gemma2 = c.model_type == "gemma2";
  const auto cap = [&](const char* key, float usual) {  // null means none
    const float value = keys.raw().contains(key) ? keys.get_or<float>(key, 0) : usual;
    if (!(value >= 0)) throw Error(where + ": " + key + " is below 0", "30 and 50 are usual");
    return value;
  };
  if (gemma2) c.attn_logit_softcapping = cap("attn_logit_softcapping", 50);  // Gemma 3 has the key and no use for it
  c.final_logit_softcapping = cap("final_logit_softcapping", gemma2 ? 30 : 0);
  if (!(c.query_pre_attn_scalar > 0) || !(c.rope_local_base_freq > 0))
    throw Error(where + ": query_pre_attn_scalar or rope_local_base_freq is not above 0", "256 and 10000 are usual");
}

// The keys of GPT-2, of before there were common ones.
void read_gpt2(const Keys& keys, ModelConfig& c, const std::string& where) {
  if (keys.get_or<bool>("scale_attn_by_inverse_layer_idx", false) || !keys.get_or<bool>("scale_attn_weights", true))
    throw Error(where + ": attention scaled in another way than by the head's size is not known here",
                "this model cannot be loaded");
  c.hidden_act = keys.get_or<std::string>("activation_function", "gelu_new");
  if (c.hidden_act != "gelu_new" && c.hidden_act != "gelu" && c.hidden_act != "gelu_pytorch_tanh" &&
      c.hidden_act != "relu")
    throw Error(where + ": activation_function is \"" + c.hidden_act + "\"", "gelu_new, gelu and relu are known");
  c.vocab_size = keys.get<int64_t>("vocab_size"), c.hidden_size = keys.get<int64_t>("n_embd");
  c.num_hidden_layers = keys.get<int64_t>("n_layer"), c.num_attention_heads = keys.get<int64_t>("n_head");
  if (c.num_attention_heads < 1 || c.hidden_size % c.num_attention_heads)
    throw Error(where + ": n_head does not divide n_embd", "check that this is the model's own config.json");
  c.num_key_value_heads = c.num_attention_heads, c.head_dim = c.hidden_size / c.num_attention_heads;
  c.intermediate_size = keys.get_or<int64_t>("n_inner", 4 * c.hidden_size);
  c.max_position_embeddings = keys.get_or<int64_t>("n_positions", 1024);
  c.layer_norm_eps = keys.get_or<float>("layer_norm_epsilon", 1e-5f);
  c.attention_dropout = keys.get_or<float>("attn_pdrop", 0.1f), c.resid_pdrop = keys.get_or<float>("resid_pdrop", 0.1f);
  c.embd_pdrop = keys.get_or<float>("embd_pdrop", 0.1f),
  c.initializer_range = keys.get_or<float>("initializer_range", 0.02f);
  c.tie_word_embeddings = keys.get_or<bool>("tie_word_embeddings", true);
  if (!c.tie_word_embeddings)
    throw Error(where + ": a GPT-2 with a head of its own is not known here", "this model cannot be loaded");
  c.bos_token_id = token_id(keys, "bos_token_id"), c.eos_token_id = token_id(keys, "eos_token_id");
}

}  // namespace

float yarn_attention_factor(float factor, float scale) {
  return factor <= 1 ? 1.0f : float(0.1 * double(scale) * std::log(double(factor)) + 1);
}

float longrope_attention_factor(const RopeScaling& s) {
  if (s.factor <= 1) return 1;
  return float(std::sqrt(1 + std::log(double(s.factor)) / std::log(double(s.original_max_position_embeddings))));
}

ModelConfig parse_config_json(std::string_view text, const std::string& where) {
  const json document = try_parse_json(text);
  if (!document.is_object()) throw Error(where + ": not a JSON object", "check that the file is complete");
  const Keys keys(document, where);
  ModelConfig config;
  config.model_type = keys.get<std::string>("model_type");
  if (is_encoder(config.model_type)) return parse_encoder_config(keys, where);
  family_of(config.model_type, where);
  if (config.model_type == "gpt2") {
    read_gpt2(keys, config, where);
    config.validate(where);
    return config;
  }
  if (is_gemma(config.model_type))
    read_gemma(keys, config, where);
  else if (keys.get_or<std::string>("hidden_act", "silu") != "silu")
    throw Error(where + ": hidden_act is not silu", "this model cannot be loaded");
  config.vocab_size = keys.get<int64_t>("vocab_size");
  config.hidden_size = keys.get<int64_t>("hidden_size");
  config.intermediate_size = keys.get<int64_t>("intermediate_size");
  config.num_hidden_layers = keys.get<int64_t>("num_hidden_layers");
  config.num_attention_heads = keys.get<int64_t>("num_attention_heads");
  config.num_key_value_heads = keys.get_or<int64_t>("num_key_value_heads", config.num_attention_heads);
  config.head_dim = keys.get_or<int64_t>(
      "head_dim", config.num_attention_heads > 0 ? config.hidden_size / config.num_attention_heads : 0);
  config.max_position_embeddings = keys.get_or<int64_t>("max_position_embeddings", 2048);
  config.rms_norm_eps = keys.get_or<float>("rms_norm_eps", 1e-6f);
  const bool qwen2 = config.model_type == "qwen2";
  config.attention_bias = qwen2 || keys.get_or<bool>("attention_bias", false);
  config.attention_out_bias = !qwen2 && config.attention_bias;
  config.query_key_norms =
      config.model_type == "qwen3" || config.model_type == "qwen3_moe" || config.model_type == "gemma3_text";
  config.mlp_bias = keys.get_or<bool>("mlp_bias", false);
  config.tie_word_embeddings = keys.get_or<bool>("tie_word_embeddings", is_gemma(config.model_type));
  config.bos_token_id = token_id(keys, "bos_token_id");
  config.eos_token_id = token_id(keys, "eos_token_id");
  config.attention_dropout = keys.get_or<float>("attention_dropout", 0);
  config.resid_pdrop = keys.get_or<float>("resid_pdrop", 0);
  config.embd_pdrop = keys.get_or<float>("embd_pdrop", 0);
  config.initializer_range = keys.get_or<float>("initializer_range", 0.02f);
  read_rope(keys, config, where);
  config.partial_rotary_factor = keys.get_or<float>("partial_rotary_factor", config.partial_rotary_factor);
  read_windows(keys, config);
  read_unrotated(keys, config);
  read_experts(keys, config, where);
  config.validate(where);
  return config;
}

void RopeScaling::validate(int64_t rotary_dim, const std::string& where) const {
  if (type == Type::kNone || !frequency_divisors.empty()) return;
  const auto bad = [&](const std::string& what) {
    throw Error(where + ": " + what, "the file is damaged or not a model's");
  };
  const auto positive = [](float v) { return std::isfinite(v) && v > 0; };
  if (!positive(factor) || !positive(attention_factor)) bad("the factor of the rotary embedding is not above 0");
  if (original_max_position_embeddings < 1) bad("original_max_position_embeddings is not above 0");
  if (type == Type::kYarn && !(positive(beta_slow) && beta_fast >= beta_slow && std::isfinite(beta_fast)))
    bad("beta_fast is below beta_slow");
  if (type != Type::kLongRope) return;
  for (const auto* factors : {&short_factor, &long_factor})
    if (int64_t(factors->size()) != rotary_dim / 2 || !std::all_of(factors->begin(), factors->end(), positive))
      bad(fmt::format("{} factors of longrope for {} rotated dimensions, or one that is not above 0", factors->size(),
                      rotary_dim));
}

void ModelConfig::validate(const std::string& where) const {
  // Above any published model; what is larger is a damaged file, and would be believed when memory is asked for.
  constexpr int64_t kMost = int64_t{1} << 24;
  const auto in_range = [&](const char* key, int64_t value) {
    if (value < 1 || value > kMost)
      throw Error(fmt::format("{}: {} is {}", where, key, value), "the file is damaged or not a model's");
  };
  in_range("vocab_size", vocab_size), in_range("hidden_size", hidden_size),
      in_range("intermediate_size", intermediate_size);
  in_range("num_hidden_layers", num_hidden_layers);
  if (num_hidden_layers > kMostLayers)
    throw Error(fmt::format("{}: num_hidden_layers is {}", where, num_hidden_layers),
                "the file is damaged or not a model's");
  in_range("num_attention_heads", num_attention_heads);
  in_range("num_key_value_heads", num_key_value_heads), in_range("head_dim", head_dim);
  const auto share = [&](const char* key, float value) {
    if (!(value >= 0 && value < 1)) throw Error(fmt::format("{}: {} is {}", where, key, value), "a share is in [0, 1)");
  };
  share("attention_dropout", attention_dropout), share("resid_pdrop", resid_pdrop), share("embd_pdrop", embd_pdrop);
  if (!(initializer_range >= 0 && initializer_range < 100))
    throw Error(fmt::format("{}: initializer_range is {}", where, initializer_range), "0.02 is usual");
  if (num_attention_heads % num_key_value_heads)
    throw Error(fmt::format("{}: {} attention heads cannot share {} key-value heads", where, num_attention_heads,
                            num_key_value_heads));
  if (sliding_window < 0 || sliding_window > (int64_t{1} << 30))
    throw Error(fmt::format("{}: sliding_window is {}", where, sliding_window), "it counts keys; 4096 is usual");
  if (is_mixture(model_type)) {
    in_range("num_experts", num_experts), in_range("num_experts_per_tok", num_experts_per_tok);
    in_range("moe_intermediate_size", moe_intermediate_size);
    if (num_experts > 65536 || num_experts_per_tok > num_experts)
      throw Error(fmt::format("{}: {} of {} experts for a token", where, num_experts_per_tok, num_experts),
                  "the file is damaged or not a model's");
    if (!(router_aux_loss_coef >= 0 && router_aux_loss_coef < 1000))
      throw Error(fmt::format("{}: router_aux_loss_coef is {}", where, router_aux_loss_coef), "0.001 is usual");
  }
  for (const auto* layers : {&sliding_layers, &unrotated_layers, &dense_layers})
    if (!layers->empty() && int64_t(layers->size()) != num_hidden_layers)
      throw Error(fmt::format("{}: {} kinds of layers for {} layers", where, layers->size(), num_hidden_layers),
                  "the file is damaged or not a model's");
  if (!is_encoder(model_type) && model_type != "gpt2" && head_dim % 2 == 0 &&
      (!(partial_rotary_factor > 0 && partial_rotary_factor <= 1) || rotary_dim() % 2 || rotary_dim() < 2))
    throw Error(fmt::format("{}: partial_rotary_factor is {}", where, partial_rotary_factor),
                "rotary embedding needs pairs");
  if (head_dim % 2 && !is_encoder(model_type) && model_type != "gpt2")
    throw Error(fmt::format("{}: head_dim {} is odd: rotary embedding needs pairs", where, head_dim));
  rope_scaling.validate(rotary_dim(), where);
  if (!rope_scaling.frequency_divisors.empty() && int64_t(rope_scaling.frequency_divisors.size()) != rotary_dim() / 2)
    throw Error(fmt::format("{}: {} rope factors for a head_dim of {}", where, rope_scaling.frequency_divisors.size(),
                            head_dim));
}

namespace {

// Of a decoder whose sparse layers have, or use, that many experts.
int64_t decoder_parameters(const ModelConfig& c, int64_t experts) {
  const int64_t hidden = c.hidden_size, q = c.num_attention_heads * c.head_dim, kv = c.num_key_value_heads * c.head_dim;
  if (c.model_type == "gpt2") {
    const int64_t layer = hidden * (4 * hidden + 2 * c.intermediate_size + 9) + c.intermediate_size;
    return c.num_hidden_layers * layer + hidden * (c.vocab_size + c.max_position_embeddings + 2);
  }
  int64_t layer = hidden * (2 * q + 2 * kv) + 2 * hidden;
  if (c.attention_bias) layer += q + 2 * kv;
  if (c.query_key_norms) layer += 2 * c.head_dim;
  if (is_gemma(c.model_type)) layer += 2 * hidden;  // norms behind the blocks
  if (c.attention_out_bias) layer += hidden;
  int64_t dense = 3 * hidden * c.intermediate_size;
  if (c.mlp_bias) dense += 2 * c.intermediate_size + hidden;
  const int64_t sparse = c.num_experts * hidden + experts * 3 * hidden * c.moe_intermediate_size;
  int64_t all = hidden + c.vocab_size * hidden * (c.tie_word_embeddings ? 1 : 2);
  for (int64_t i = 0; i < c.num_hidden_layers; ++i) all += layer + (c.is_sparse(i) ? sparse : dense);
  return all;
}

}  // namespace

int64_t ModelConfig::parameter_count() const {
  return is_encoder(model_type) ? encoder_parameter_count(*this) : decoder_parameters(*this, num_experts);
}

int64_t ModelConfig::active_parameter_count() const {
  return is_encoder(model_type) ? encoder_parameter_count(*this) : decoder_parameters(*this, num_experts_per_tok);
}

}  // namespace sedum
