#include "train/config.h"

#include <cmath>
#include <map>
#include <set>

#include <yaml-cpp/yaml.h>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "train/config_key.h"

namespace sedum {
namespace {

std::map<std::string, Key> keys_of(TrainConfig& c) {
  std::map<std::string, Key> keys = {
      {"model_name_or_path", plain(c.model_name_or_path)},
      {"adapter_name_or_path", plain(c.adapter_name_or_path)},
      {"output_dir", plain(c.output_dir)},
      {"data.train", list(c.train_files)},
      {"data.eval", list(c.eval_files)},
      {"data.pretokenized", plain(c.pretokenized)},
      {"data.eval_fraction", plain(c.eval_fraction)},
      {"max_samples", plain(c.max_samples)},
      {"cutoff_len", plain(c.cutoff_len)},
      {"packing", plain(c.packing)},
      {"group_by_length", plain(c.group_by_length)},
      {"shuffle", plain(c.shuffle)},
      {"train_on_prompt", plain(c.train_on_prompt)},
      {"per_device_train_batch_size", plain(c.per_device_train_batch_size)},
      {"gradient_accumulation_steps", plain(c.gradient_accumulation_steps)},
      {"num_train_epochs", plain(c.num_train_epochs)},
      {"max_steps", plain(c.max_steps)},
      {"gradient_checkpointing", plain(c.gradient_checkpointing)},
      {"seed", plain(c.seed)},
      {"threads", plain(c.threads)},
      {"logging_steps", plain(c.logging_steps)},
      {"save_steps", plain(c.save_steps)},
      {"eval_steps", plain(c.eval_steps)},
      {"save_total_limit", plain(c.save_total_limit)},
      {"overwrite_output_dir", plain(c.overwrite_output_dir)},
  };
  keys.merge(optimizer_keys(c));
  keys.merge(kind_keys(c));
  return keys;
}

class Reader {
 public:
  Reader(TrainConfig& config, std::string where) : keys_(keys_of(config)), where_(std::move(where)) {}

  void read(const YAML::Node& node, const std::string& prefix) {
    if (!node.IsMap())
      throw Error(where_ + ": not a mapping of keys to values", "write lines such as `learning_rate: 2e-4`");
    for (const auto& entry : node) {
      const std::string key = prefix + entry.first.as<std::string>();
      if ((key == "data" || key == "lr_scheduler_kwargs" || key == "loftq_config") && entry.second.IsMap())
        read(entry.second, key + ".");
      else
        set(key, entry.second,
            where_ + (entry.first.Mark().is_null() ? "" : ":" + std::to_string(entry.first.Mark().line + 1)));
    }
  }

  void set(const std::string& key, const YAML::Node& value, const std::string& where) {
    const auto found = keys_.find(key);
    if (found == keys_.end()) {
      std::vector<std::string> names;
      for (const auto& each : keys_) names.push_back(each.first);
      const std::string near = nearest_name(key, names);
      throw Error(where + ": the key \"" + key + "\" is not known",
                  near.empty() ? "see `sedum train --help` for the keys" : "did you mean " + near + "?");
    }
    try {
      found->second.read(value);
    } catch (const YAML::Exception&) {
      throw Error(where + ": the value of " + key + " has the wrong form",
                  "see `sedum train --help` for what it can be");
    } catch (const Error& e) {
      throw Error(where + ": " + e.problem(), e.mend());
    }
  }

 private:
  std::map<std::string, Key> keys_;
  std::string where_;
};

YAML::Node load(const std::string& text, const std::string& where) {
  try {
    return YAML::Load(text);
  } catch (const YAML::Exception& e) {
    throw Error(where + ":" + std::to_string(e.mark.line + 1) + ": " + e.msg, "mend the YAML");
  }
}

void check(const TrainConfig& c, const std::string& where) {
  const auto require = [&](bool good, const std::string& problem, const std::string& mend = "") {
    if (!good) throw Error(where + ": " + problem, mend);
  };
  check_kind_keys(c, where);
  require(!c.output_dir.empty(), "output_dir is missing", "name the folder for the result");
  require(!c.train_files.empty() || !c.pretokenized.empty(), "there is no training data",
          "give data: {train: [file.jsonl]}");
  require(c.train_files.empty() || c.pretokenized.empty(), "data.train and data.pretokenized are both given",
          "keep one");
  const auto positive = [&](double value, const char* key) {
    require(std::isfinite(value) && value > 0, std::string(key) + " must be above 0");
  };
  positive(c.per_device_train_batch_size, "per_device_train_batch_size"),
      positive(c.gradient_accumulation_steps, "gradient_accumulation_steps");
  positive(c.num_train_epochs, "num_train_epochs"), positive(c.cutoff_len, "cutoff_len");
  positive(c.logging_steps, "logging_steps");
  require(c.max_steps >= 0 && c.save_steps >= 0 && c.eval_steps >= 0 && c.max_samples >= 0, "steps cannot be negative");
  require(c.eval_fraction >= 0 && c.eval_fraction < 1, "data.eval_fraction must be at least 0 and below 1");
  require(c.save_total_limit >= 1, "save_total_limit must be at least 1");
  check_optimizer_keys(c, where);
  require(c.finetuning_type != "full" || c.compute != Compute::kInt8, "compute: int8 multiplies a frozen base",
          "use compute: bf16, or finetuning_type: lora");
}

}  // namespace

TrainConfig parse_train_config(const std::string& yaml, const std::vector<std::string>& overrides,
                               const std::string& where) {
  TrainConfig config;
  config.lora.r = 16, config.lora.lora_alpha = 32, config.lora.target_modules = {"all-linear"};
  Reader reader(config, where);
  reader.read(load(yaml, where), "");
  for (const std::string& each : overrides) {
    const size_t equals = each.find('=');
    if (equals == std::string::npos) throw Error("\"" + each + "\" is no override", "write key=value");
    reader.set(each.substr(0, equals), load(each.substr(equals + 1), "the override " + each), "the override " + each);
  }
  check(config, where);
  return config;
}

TrainConfig read_train_config(const std::filesystem::path& path, const std::vector<std::string>& overrides) {
  return parse_train_config(read_file(path), overrides, path.string());
}

std::string TrainConfig::canonical() const {
  static const std::set<std::string> free_to_change = {
      "threads",        "overwrite_output_dir", "save_total_limit",  "save_steps",
      "logging_steps",  "output_dir",           "success_gate",      "debug_nan",
      "sample_prompts", "sample_steps",         "sample_max_tokens", "sample_temperature"};
  TrainConfig copy = *this;
  Json document;
  for (const auto& [name, key] : keys_of(copy))
    // What may change between an interrupted run and its continuation without changing a number.
    if (!free_to_change.contains(name)) document[name] = key.write();
  return document.dump();
}

}  // namespace sedum
