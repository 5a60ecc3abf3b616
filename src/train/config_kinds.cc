// Keys of the kinds of runs and of fine-tuning: stages, adapters, regularisation, the model to begin with.

#include <cmath>

#include "base/file.h"
#include "train/config_key.h"

namespace sedum {
namespace {

// PEFT's own rule: a text is an expression for whole names, a list holds ends of names. A text of plain names, with commas between, is
// read as a list, as LLaMA-Factory has it.
Key targets(LoraConfig& lora) {
  return {[&lora](const YAML::Node& node) {
            lora.target_pattern.clear(), lora.target_modules.clear();
            if (node.IsSequence()) return void(lora.target_modules = node.as<std::vector<std::string>>());
            const auto text = scalar<std::string>(node);
            if (text.find_first_of("*+?()[]|\\^$") != std::string::npos) return void(lora.target_pattern = text);
            for (size_t begin = 0; begin <= text.size();) {
              const size_t end = std::min(text.find(',', begin), text.size());
              const std::string name = text.substr(begin, end - begin);
              const size_t first = name.find_first_not_of(' ');
              if (first != std::string::npos)
                lora.target_modules.push_back(name.substr(first, name.find_last_not_of(' ') - first + 1));
              begin = end + 1;
            }
          },
          [&lora] { return lora.target_pattern.empty() ? Json(lora.target_modules) : Json(lora.target_pattern); }};
}

template <class T>
Key by_name(std::map<std::string, T>& values) {
  return {[&values](const YAML::Node& node) {
            if (!node.IsMap()) throw YAML::BadConversion(node.Mark());
            values = node.as<std::map<std::string, T>>();
          },
          [&values] { return Json(values); }};
}

// true and false as PEFT writes them, or a name.
Key initialisation(std::string& value) {
  return {[&value](const YAML::Node& node) {
            value = scalar<std::string>(node);
            for (const char* yes : {"True", "TRUE", "yes", "on"})
              if (value == yes) value = "true";
            for (const char* no : {"False", "FALSE", "no", "off"})
              if (value == no) value = "false";
          },
          [&value] { return Json(value); }};
}

// A block of config.json's keys, kept as JSON text: numbers and truth values as such.
Json to_json(const YAML::Node& node) {
  if (node.IsMap()) {
    Json object = Json::object();
    for (const auto& entry : node) object[entry.first.as<std::string>()] = to_json(entry.second);
    return object;
  }
  if (node.IsSequence()) {
    Json array = Json::array();
    for (const auto& each : node) array.push_back(to_json(each));
    return array;
  }
  if (node.IsNull()) return {};
  if (node.Tag() == "!") return node.as<std::string>();  // quoted
  if (int64_t i = 0; YAML::convert<int64_t>::decode(node, i)) return i;
  if (double d = 0; YAML::convert<double>::decode(node, d)) return d;
  if (bool b = false; YAML::convert<bool>::decode(node, b)) return b;
  return node.as<std::string>();
}

Key config_block(std::string& value) {
  return {[&value](const YAML::Node& node) {
            if (!node.IsMap()) throw YAML::BadConversion(node.Mark());
            value = to_json(node).dump();
          },
          [&value] { return Json(value); }};
}

std::map<std::string, Key> adapter_keys(TrainConfig& c) {
  return {
      {"r", plain(c.lora.r)},
      {"lora_alpha", plain(c.lora.lora_alpha)},
      {"lora_dropout", plain(c.lora.lora_dropout)},
      {"target_modules", targets(c.lora)},
      {"exclude_modules", list(c.lora.exclude_modules)},
      {"modules_to_save", list(c.lora.modules_to_save)},
      {"use_rslora", plain(c.lora.use_rslora)},
      {"use_dora", plain(c.lora.use_dora)},
      {"bias", plain(c.lora.bias)},
      {"init_lora_weights", initialisation(c.lora.init_lora_weights)},
      {"loftq_config.loftq_iter", plain(c.lora.loftq_iter)},
      {"rank_pattern", by_name(c.lora.rank_pattern)},
      {"alpha_pattern", by_name(c.lora.alpha_pattern)},
  };
}

std::map<std::string, Key> stage_keys(TrainConfig& c) {
  PreferenceOptions& p = c.preference;
  return {
      {"stage", choice<std::string>(c.stage, "stage",
                                    {{"sft", "sft"},
                                     {"pretrain", "pretrain"},
                                     {"mlm", "mlm"},
                                     {"embed", "embed"},
                                     {"classify", "classify"},
                                     {"seq2seq", "seq2seq"},
                                     {"dpo", "dpo"},
                                     {"orpo", "orpo"},
                                     {"kto", "kto"},
                                     {"distill", "distill"}})},
      {"finetuning_type", choice<std::string>(c.finetuning_type, "finetuning_type",
                                              {{"lora", "lora"}, {"qlora", "qlora"}, {"full", "full"}})},
      {"train_from_scratch", plain(c.train_from_scratch)},
      {"model", config_block(c.model)},
      {"tokenizer_name_or_path", plain(c.tokenizer_name_or_path)},
      {"pref_loss",
       choice<std::string>(
           c.pref_loss, "pref_loss",
           {{"sigmoid", "sigmoid"}, {"hinge", "hinge"}, {"ipo", "ipo"}, {"orpo", "orpo"}, {"simpo", "simpo"}})},
      {"pref_beta", plain(p.beta)},
      {"pref_ftx", plain(p.ftx)},
      {"dpo_label_smoothing", plain(p.label_smoothing)},
      {"simpo_gamma", plain(p.gamma)},
      {"kto_chosen_weight", plain(p.desirable_weight)},
      {"kto_rejected_weight", plain(p.undesirable_weight)},
      {"ref_model", plain(c.ref_model)},
      {"teacher_model_name_or_path", plain(c.teacher_model_name_or_path)},
      {"temperature", plain(c.temperature)},
      {"alpha", plain(c.alpha)},
      {"mlm_probability", plain(c.mlm_probability)},
      {"attention_dropout", optional(c.attention_dropout)},
      {"resid_pdrop", optional(c.resid_pdrop)},
      {"embd_pdrop", optional(c.embd_pdrop)},
      {"moe_aux_loss_coef", optional(c.moe_aux_loss_coef)},
      {"label_smoothing_factor", plain(c.label_smoothing_factor)},
      {"neftune_noise_alpha", plain(c.neftune_noise_alpha)},
  };
}

}  // namespace

std::map<std::string, Key> kind_keys(TrainConfig& c) {
  std::map<std::string, Key> keys = stage_keys(c);
  keys.merge(adapter_keys(c));
  return keys;
}

void check_kind_keys(const TrainConfig& c, const std::string& where) {
  const auto require = [&](bool good, const std::string& problem, const std::string& mend = "") {
    if (!good) throw Error(where + ": " + problem, mend);
  };
  const auto share = [&](double value, const char* key) {
    require(value >= 0 && value < 1, std::string(key) + " must be at least 0 and below 1");
  };
  const bool scratch = c.from_scratch();
  require(!c.model_name_or_path.empty() || !c.model.empty(), "model_name_or_path is missing",
          "name the model to start from");
  require(c.model_name_or_path.empty() || c.model.empty(), "model_name_or_path and model are both given", "keep one");
  require(!scratch || c.finetuning_type == "full", "a model from random weights is trained whole",
          "set finetuning_type: full");
  require(!scratch || !c.prefers(), "preferences are for a model that was trained already",
          "begin with stage: pretrain");
  require(c.finetuning_type != "full" || c.adapter_name_or_path.empty(),
          "adapter_name_or_path needs finetuning_type: lora", "merge the adapter first: `sedum merge`");
  if (c.finetuning_type != "full") c.lora.validate(where);
  require(c.lora.lora_alpha > 0, "lora_alpha must be above 0");
  const std::string& init = c.lora.init_lora_weights;
  require(init != "loftq" || c.finetuning_type != "lora", "init_lora_weights: loftq makes a base in NF4",
          "set finetuning_type: qlora");
  require(!c.lora.changes_base() || init == "loftq" || c.finetuning_type != "qlora",
          "init_lora_weights: " + init + " takes its start out of a base that is not quantised",
          "use init_lora_weights: loftq, or finetuning_type: lora");
  require(!c.lora.changes_base() || c.compute != Compute::kInt8,
          "init_lora_weights: " + init + " changes the base that compute: int8 has packed", "use compute: bf16");
  require(!c.lora.changes_base() || !c.prefers() || init == "loftq" || c.adapter_name_or_path.empty(),
          "init_lora_weights: " + init + " begins a new adapter", "remove adapter_name_or_path");
  require(c.finetuning_type != "qlora" || c.compute != Compute::kInt8,
          "compute: int8 multiplies a base as it is stored, qlora has it in NF4",
          "use compute: bf16, or finetuning_type: lora");
  require(std::isfinite(c.preference.beta) && c.preference.beta > 0, "pref_beta must be above 0");
  require(c.preference.ftx >= 0, "pref_ftx cannot be negative");
  require(c.preference.desirable_weight >= 0 && c.preference.undesirable_weight >= 0,
          "kto_chosen_weight and kto_rejected_weight cannot be negative");
  require(c.preference.label_smoothing >= 0 && c.preference.label_smoothing < 0.5,
          "dpo_label_smoothing must be at least 0 and below 0.5");
  require(c.stage == "dpo" || c.pref_loss == "sigmoid", "pref_loss is for stage: dpo", "remove it");
  require((c.stage == "distill") == !c.teacher_model_name_or_path.empty(),
          c.stage == "distill" ? "teacher_model_name_or_path is missing"
                               : "teacher_model_name_or_path is for stage: distill",
          c.stage == "distill" ? "name the teacher" : "remove it");
  require(c.alpha >= 0 && c.alpha <= 1, "alpha must be between 0 and 1");
  require(std::isfinite(c.temperature) && c.temperature > 0, "temperature must be above 0");
  share(c.attention_dropout.value_or(0), "attention_dropout"), share(c.resid_pdrop.value_or(0), "resid_pdrop");
  share(c.embd_pdrop.value_or(0), "embd_pdrop"), share(c.label_smoothing_factor, "label_smoothing_factor");
  require(c.label_smoothing_factor == 0 || (!c.prefers() && c.stage != "distill"),
          "label_smoothing_factor is for stages sft and pretrain", "remove it");
  require(c.moe_aux_loss_coef.value_or(0) >= 0, "moe_aux_loss_coef cannot be negative", "0.001 is usual");
  require(!c.moe_aux_loss_coef || (!c.prefers() && !c.encodes()),
          "moe_aux_loss_coef is for stages sft, pretrain and distill", "remove it");
  require(c.mlm_probability > 0 && c.mlm_probability < 1, "mlm_probability must be above 0 and below 1",
          "0.15 is usual");
  require(c.stage != "seq2seq" || c.finetuning_type == "full", "stage: seq2seq trains the whole model",
          "set finetuning_type: full");
  require(c.stage != "classify" || (!c.packing && !c.train_on_prompt),
          "packing and train_on_prompt are not for stage: classify", "remove them");
  require(!c.encodes() || (c.pretokenized.empty() && c.sample_prompts.empty() && c.neftune_noise_alpha == 0),
          "data.pretokenized, sample_prompts and neftune_noise_alpha are for models that continue texts",
          "remove them");
  require((c.stage != "mlm" && c.stage != "embed" && c.stage != "classify") || c.label_smoothing_factor == 0,
          "label_smoothing_factor is not for stage: " + c.stage, "remove it");
  require(c.neftune_noise_alpha >= 0, "neftune_noise_alpha cannot be negative", "5 is usual");
  require(c.pretokenized.empty() || !c.prefers(), "data.pretokenized holds no preferences", "give data.train");
}

bool TrainConfig::from_scratch() const { return train_from_scratch || !model.empty(); }

PreferenceOptions TrainConfig::preference_options() const {
  PreferenceOptions o = preference;
  o.loss = stage == "dpo" ? pref_loss : stage;
  return o;
}

bool TrainConfig::prefers() const { return stage == "dpo" || stage == "orpo" || stage == "kto"; }

}  // namespace sedum
