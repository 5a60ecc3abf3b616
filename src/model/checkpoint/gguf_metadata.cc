#include "model/checkpoint/gguf_metadata.h"

#include <algorithm>
#include <cctype>
#include <map>

#include "base/error.h"
#include "model/checkpoint/gguf_tokenizer.h"
#include "model/families.h"
#include "model/nn/rotary.h"

namespace sedum {
namespace {

// GGUF has no keys for which layers see a window or no positions: their order must be the architecture's own.
void check_layers(const Checkpoint& like) {
  const ModelConfig& c = like.config();
  if (is_mixture(c.model_type)) {
    bool own = c.norm_topk_prob;
    for (int64_t i = 0; i < c.num_hidden_layers; ++i) own = own && c.is_sparse(i);
    if (!own)
      throw Error(
          like.path().string() + ": llama.cpp knows no layers without experts there, nor weights that do not sum to 1",
          "keep it as a folder");
  }
  if (is_gemma(c.model_type)) {
    const bool gemma2 = c.model_type == "gemma2";
    bool own = c.query_pre_attn_scalar == gguf_query_scalar(c) && (gemma2 || c.rope_local_base_freq == 10000) &&
               (gemma2 || c.attn_logit_softcapping == 0);
    for (int64_t i = 0; i < c.num_hidden_layers; ++i)
      own = own && (c.window_of(i) > 0) == slides_in_gemma(c.model_type, i);
    if (own) return;
    throw Error(like.path().string() +
                    ": GGUF cannot say its windows, its sliding layers' rope_theta, its scale or its cap of scores",
                "keep it as a folder");
  }
  for (int64_t i = 0; i < c.num_hidden_layers; ++i)
    if ((c.sliding_window > 0 && c.window_of(i) == 0) ||
        (c.model_type == "smollm3" && c.rotates(i) == ((i + 1) % 4 == 0)))
      throw Error(like.path().string() + ": GGUF cannot say which layers see a window or no positions",
                  "keep it as a folder");
}

// Keys for yarn_beta_fast and yarn_beta_slow exist, but llama.cpp reads them in architectures that are none of ours: elsewhere they are 32 and
// 1, rounded. Another range is written as divisors.
bool is_common_yarn(const RopeScaling& s) {
  return s.type == RopeScaling::Type::kYarn && s.beta_fast == 32 && s.beta_slow == 1 && s.truncate;
}

// llama.cpp looks for divisors in some architectures alone, and loads no file with a tensor that it did not look for.
void check_divisors(const Checkpoint& like, const std::string& architecture) {
  if (gguf_divisors(like.config()).empty() || architecture == "llama") return;
  const RopeScaling::Type type = like.config().rope_scaling.type;
  if (type == RopeScaling::Type::kLongRope && architecture == "phi3") return;
  const char* what = type == RopeScaling::Type::kYarn
                         ? "YaRN with other beta_fast, beta_slow or truncate than 32, 1, true"
                     : type == RopeScaling::Type::kLongRope ? "LongRoPE"
                                                            : "Llama 3's scaling of positions";
  throw Error(like.path().string() + ": llama.cpp knows no " + what + " in models of the architecture " + architecture,
              "keep it as a folder");
}

// Divisors compute; the keys of ours name their terms, so that the file can become a folder again.
void write_gguf_divided_yarn(GgufWriter& out, const RopeScaling& s, const std::string& at) {
  if (s.attention_factor != 1) out.set(at + "rope.scaling.attn_factor", s.attention_factor);
  out.set("sedum.rope.yarn_factor", s.factor);
  out.set("sedum.rope.yarn_beta_fast", s.beta_fast), out.set("sedum.rope.yarn_beta_slow", s.beta_slow);
  out.set("sedum.rope.yarn_truncate", s.truncate);
}

void write_gguf_scaling(GgufWriter& out, const RopeScaling& s, const std::string& at) {
  using Type = RopeScaling::Type;
  if (s.type == Type::kNone) return;
  if (s.type == Type::kLinear) {
    out.set(at + "rope.scaling.type", "linear");
    return out.set(at + "rope.scaling.factor", s.factor);
  }
  out.set(at + "rope.scaling.original_context_length", uint32_t(s.original_max_position_embeddings));
  if (s.type == Type::kLlama3) {  // rope_freqs.weight is what computes; these name its terms
    out.set("sedum.rope.low_freq_factor", s.low_freq_factor);
    return out.set("sedum.rope.high_freq_factor", s.high_freq_factor);
  }
  if (s.type == Type::kLongRope) {
    out.set(at + "rope.scaling.type", "longrope");
    return out.set(at + "rope.scaling.attn_factor", s.attention_factor);
  }
  if (!is_common_yarn(s)) return write_gguf_divided_yarn(out, s, at);
  out.set(at + "rope.scaling.type", "yarn");
  out.set(at + "rope.scaling.factor", s.factor);
  const float rest =
      s.attention_factor / yarn_attention_factor(s.factor, 1);  // llama.cpp multiplies by YaRN's own besides
  if (rest != 1) out.set(at + "rope.scaling.attn_factor", rest);
}

void write_gguf_config(GgufWriter& out, const Checkpoint& like, const std::string& name, uint32_t file_type) {
  const ModelConfig& c = like.config();
  const std::string architecture = family_of(c.model_type, like.path().string()).gguf_architecture,
                    at = architecture + ".";
  const auto u32 = [&](const std::string& key, int64_t value) { out.set(at + key, uint32_t(value)); };
  out.set("general.architecture", architecture);
  out.set("general.name", name);
  out.set("general.file_type", file_type);
  out.set("general.quantization_version", uint32_t{2});
  u32("block_count", c.num_hidden_layers), u32("context_length", c.max_position_embeddings),
      u32("embedding_length", c.hidden_size);
  u32("feed_forward_length", c.intermediate_size), u32("attention.head_count", c.num_attention_heads),
      u32("attention.head_count_kv", c.num_key_value_heads);
  u32("attention.key_length", c.head_dim), u32("attention.value_length", c.head_dim), u32("vocab_size", c.vocab_size);
  if (c.model_type == "gpt2") return out.set(at + "attention.layer_norm_epsilon", c.layer_norm_eps);
  u32("rope.dimension_count", c.rotary_dim());
  out.set(at + "attention.layer_norm_rms_epsilon", c.rms_norm_eps);
  out.set(at + "rope.freq_base", c.rope_theta);
  if (c.sliding_window > 0) u32("attention.sliding_window", c.sliding_window);
  check_layers(like);
  if (is_mixture(c.model_type)) {
    u32("expert_count", c.num_experts), u32("expert_used_count", c.num_experts_per_tok);
    if (c.model_type == "qwen3_moe") u32("expert_feed_forward_length", c.moe_intermediate_size);
  }
  if (c.attn_logit_softcapping > 0) out.set(at + "attn_logit_softcapping", c.attn_logit_softcapping);
  if (c.final_logit_softcapping > 0) out.set(at + "final_logit_softcapping", c.final_logit_softcapping);
  check_divisors(like, architecture);
  write_gguf_scaling(out, c.rope_scaling, at);
}

}  // namespace

void write_gguf_metadata(GgufWriter& out, const Checkpoint& like, uint32_t file_type) {
  const bool has_tokenizer = like.has_tokenizer();
  const bool phi3 = has_tokenizer && needs_phi3_name(*like.tokenizer());
  write_gguf_config(out, like, gguf_model_name(like.name(), phi3), file_type);
  if (has_tokenizer)
    return write_gguf_tokenizer(out, *like.tokenizer(), like.config().vocab_size, like.path().string());
  for (const auto& [key, id] : {std::pair{"tokenizer.ggml.bos_token_id", like.config().bos_token_id},
                                std::pair{"tokenizer.ggml.eos_token_id", like.config().eos_token_id}})
    if (id >= 0) out.set(key, uint32_t(id));
}

std::vector<GgufParts> gguf_parts(const Checkpoint& like) {
  std::vector<GgufParts> all;
  std::map<std::string, size_t> at;
  for (const std::string& name : like.tensor_names()) {
    const std::string stored = gguf_name(name, like.config());
    const auto [found, isnew] = at.emplace(stored, all.size());
    if (isnew) all.push_back({stored, {}, expert_tensor(name).has_value()});
    all[found->second].parts.push_back(name);
  }
  return all;
}

std::vector<std::pair<std::string, std::vector<float>>> gguf_divisors(const ModelConfig& config) {
  const RopeScaling& s = config.rope_scaling;
  if (s.type == RopeScaling::Type::kLongRope)
    return {{"rope_factors_long.weight", s.long_factor}, {"rope_factors_short.weight", s.short_factor}};
  if (s.type == RopeScaling::Type::kLlama3 || (s.type == RopeScaling::Type::kYarn && !is_common_yarn(s)))
    return {{"rope_freqs.weight", rotary_divisors(config)}};
  return {};
}

std::string gguf_limit(const ModelConfig& config) {
  if (is_gemma(config.model_type) || config.sliding_window == 0 ||
      config.sliding_window >= config.max_position_embeddings)
    return "";
  const int64_t window = config.sliding_window;
  return "llama.cpp ignores the sliding window of " + config.model_type + ": beyond " + std::to_string(window) +
         " tokens its answers are not this model's";
}

std::string gguf_model_name(std::string name, bool phi3) {
  if (phi3) return is_phi3_name(name) ? name : name + "-phi3";
  const auto lower = [&](size_t i) { return char(std::tolower(static_cast<unsigned char>(name[i]))); };
  for (size_t i = 0; i + 3 < name.size(); ++i) {
    if (lower(i) != 'p' || lower(i + 1) != 'h' || lower(i + 2) != 'i') continue;
    if (name[i + 3] == '3') name.insert(i + 3, 1, ' ');
    if (name[i + 3] == '-' && i + 4 < name.size() && name[i + 4] == '3') name[i + 3] = ' ';
  }
  return name;
}

}  // namespace sedum
