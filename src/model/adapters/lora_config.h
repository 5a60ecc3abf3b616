#pragma once
// What an adapter is, in PEFT's terms (LoraConfig), and which layers it means.
//
//   LoraConfig config{.r = 16, .lora_alpha = 32, .target_modules = {"q_proj", "v_proj"}};
//   config.targets("model.layers.0.self_attn.q_proj");   // true
//   config.factor("model.layers.0.self_attn.q_proj");    // 2

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace sedum {

struct LoraConfig {
  int64_t r = 8;
  float lora_alpha = 8;
  float lora_dropout = 0;     // of what the adapter sees, while training
  bool use_rslora = false;    // factor alpha / sqrt(r) (Kalajdzievski 2023) instead of alpha / r
  bool use_dora = false;      // a magnitude for each row beside A and B; see compute/ops/dora.h
  std::string bias = "none";  // "none", "all", "lora_only": which biases of Linears are trained too
  std::string init_lora_weights =
      "true";  // or false, gaussian, orthogonal, pissa, pissa_niter_N, olora, loftq: lora_start.h
  int loftq_iter = 1;
  std::vector<std::string> target_modules = {};  // last parts of names, or "all-linear"
  std::string target_pattern = {};               // instead of a list: a regular expression for the whole name
  std::vector<std::string> exclude_modules = {};
  // Ends of names of layers, or of what holds layers: trained and stored whole, beside the adapter.
  std::vector<std::string> modules_to_save = {};
  // r and lora_alpha of layers that differ: by a regular expression for the last parts of the name.
  std::map<std::string, int64_t> rank_pattern = {};
  std::map<std::string, float> alpha_pattern = {};
  std::string base_model_name_or_path = {};
  std::string task_type = "CAUSAL_LM";  // PEFT's word for what the model is for; "": none

  bool changes_base() const;     // of init_lora_weights: pissa, olora, loftq
  int pissa_iterations() const;  // of pissa_niter_N; −1: exact
  int64_t rank_of(const std::string& name) const;
  float factor(const std::string& name) const;
  bool targets(const std::string& name) const;  // of a Linear
  bool saves(const std::string& name) const;    // of any layer
  // Error naming the key: numbers out of range, words that are not known, expressions that are none.
  void validate(const std::string& where) const;
};

// Whether a module of that name, or one that it is a part of, ends with `module`: "classifier" has "classifier.dense".
bool is_in_module(const std::string& name, const std::string& module);

// Whether the whole of `text` matches; Error for a pattern that PCRE2 does not know, or that takes too many steps.
bool matches_whole(const std::string& pattern, const std::string& text);

// PEFT's names: of a Linear's adapter weights ('A' or 'B'), its magnitudes, its bias; and of a layer that is stored whole.
std::string peft_name(const std::string& linear, char which);
std::string peft_magnitude_name(const std::string& linear);
std::string peft_bias_name(const std::string& linear, bool adapted);
std::string peft_saved_name(const std::string& tensor);  // "model.norm.weight"

}  // namespace sedum
