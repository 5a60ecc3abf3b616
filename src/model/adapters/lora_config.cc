#define PCRE2_CODE_UNIT_WIDTH 8
#include "model/adapters/lora_config.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <set>

#include <pcre2.h>

#include "base/error.h"

namespace sedum {
namespace {

constexpr uint32_t kMatchLimit = 1'000'000;  // steps: a name takes some hundred

bool ends_with_part(const std::string& name, const std::string& part) {
  return name == part || (name.size() > part.size() && name.ends_with("." + part));
}

// PEFT reads a pattern's key as the end of a name: (.*\.)?key
template <class T>
T by_pattern(const std::map<std::string, T>& patterns, const std::string& name, T otherwise) {
  for (const auto& [key, value] : patterns)
    if (matches_whole("(?:.*\\.)?(?:" + key + ")", name)) return value;
  return otherwise;
}

}  // namespace

bool matches_whole(const std::string& pattern, const std::string& text) {
  int error;
  PCRE2_SIZE offset;
  const std::unique_ptr<pcre2_code, void (*)(pcre2_code*)> code(
      pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(), PCRE2_ANCHORED | PCRE2_ENDANCHORED,
                    &error, &offset, nullptr),
      pcre2_code_free);
  if (!code)
    throw Error("\"" + pattern + "\" is no regular expression, at character " + std::to_string(offset + 1),
                "write a list of names, or an expression such as .*\\.(q|v)_proj");
  const std::unique_ptr<pcre2_match_context, void (*)(pcre2_match_context*)> context(
      pcre2_match_context_create(nullptr), pcre2_match_context_free);
  pcre2_set_match_limit(context.get(), kMatchLimit);
  const std::unique_ptr<pcre2_match_data, void (*)(pcre2_match_data*)> found(
      pcre2_match_data_create_from_pattern(code.get(), nullptr), pcre2_match_data_free);
  const int result =
      pcre2_match(code.get(), reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), 0, 0, found.get(), context.get());
  if (result < 0 && result != PCRE2_ERROR_NOMATCH)
    throw Error("the expression \"" + pattern + "\" takes too long on " + text, "write a simpler one");
  return result >= 0;
}

bool LoraConfig::changes_base() const {
  return init_lora_weights.starts_with("pissa") || init_lora_weights == "olora" || init_lora_weights == "loftq";
}

int LoraConfig::pissa_iterations() const {
  const std::string prefix = "pissa_niter_";
  const std::string digits = init_lora_weights.starts_with(prefix) ? init_lora_weights.substr(prefix.size()) : "";
  if (digits.empty() || digits.size() > 4 || digits.find_first_not_of("0123456789") != std::string::npos) return -1;
  return std::stoi(digits);
}

int64_t LoraConfig::rank_of(const std::string& name) const { return by_pattern(rank_pattern, name, r); }

float LoraConfig::factor(const std::string& name) const {
  const float rank = float(rank_of(name)), alpha = by_pattern(alpha_pattern, name, lora_alpha);
  return use_rslora ? alpha / std::sqrt(rank) : alpha / rank;
}

bool LoraConfig::targets(const std::string& name) const {
  if (name == "lm_head") return false;  // PEFT's "all-linear" leaves the head out
  const auto names = [&](const std::string& part) { return ends_with_part(name, part); };
  if (saves(name) || std::any_of(exclude_modules.begin(), exclude_modules.end(), names)) return false;
  if (!target_pattern.empty()) return matches_whole(target_pattern, name);
  return std::any_of(target_modules.begin(), target_modules.end(), [&](const std::string& target) {
    // Experts are adapted where they are named. PEFT's "all-linear" adapts all of a layer's as one parameter.
    return target == "all-linear" ? name.find(".experts.") == std::string::npos : names(target);
  });
}

bool LoraConfig::saves(const std::string& name) const {
  return std::any_of(modules_to_save.begin(), modules_to_save.end(),
                     [&](const std::string& module) { return is_in_module(name, module); });
}

bool is_in_module(const std::string& name, const std::string& module) {
  for (size_t end = name.size(); end != std::string::npos && end > 0; end = name.rfind('.', end - 1))
    if (std::string_view(name).substr(0, end).ends_with(module)) return true;
  return false;
}

void LoraConfig::validate(const std::string& where) const {
  const auto require = [&](bool good, const std::string& problem, const std::string& mend) {
    if (!good) throw Error(where + ": " + problem, mend);
  };
  constexpr int64_t kMostRank = 1 << 16;
  require(r >= 1 && r <= kMostRank, "r is " + std::to_string(r), "it must be at least 1");
  for (const auto& [key, rank] : rank_pattern)
    require(rank >= 1 && rank <= kMostRank, "rank_pattern: " + key + " is " + std::to_string(rank),
            "it must be at least 1");
  require(std::isfinite(lora_alpha), "lora_alpha is no number", "2 · r is usual");
  require(lora_dropout >= 0 && lora_dropout < 1, "lora_dropout is not in [0, 1)", "0.05 is usual");
  require(bias == "none" || bias == "all" || bias == "lora_only", "bias: " + bias + " is not known here",
          "choose one of none, all, lora_only");
  const std::set<std::string> plain{"true", "false", "gaussian", "orthogonal", "pissa", "olora", "loftq"};
  require(plain.count(init_lora_weights) || pissa_iterations() >= 0,
          "init_lora_weights: " + init_lora_weights + " is not known here",
          "choose one of true, false, gaussian, orthogonal, pissa, pissa_niter_4, olora, loftq");
  require(init_lora_weights != "orthogonal" || r % 2 == 0, "init_lora_weights: orthogonal with an odd r",
          "r must be even");
  require(loftq_iter >= 1, "loftq_iter is " + std::to_string(loftq_iter), "it must be at least 1");
  for (const std::string& module : modules_to_save)
    require(!module.empty(), "modules_to_save names a layer without a name", "write embed_tokens or lm_head");
  if (!target_pattern.empty()) matches_whole(target_pattern, "");
  for (const auto& each : rank_pattern) matches_whole(each.first, "");
  for (const auto& each : alpha_pattern) matches_whole(each.first, "");
}

std::string peft_saved_name(const std::string& tensor) { return "base_model.model." + tensor; }
std::string peft_name(const std::string& linear, char which) {
  return peft_saved_name(linear) + ".lora_" + which + ".weight";
}
std::string peft_magnitude_name(const std::string& linear) {
  return peft_saved_name(linear) + ".lora_magnitude_vector";
}
std::string peft_bias_name(const std::string& linear, bool adapted) {
  return peft_saved_name(linear) + (adapted ? ".base_layer.bias" : ".bias");
}

}  // namespace sedum
