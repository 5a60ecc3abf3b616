#include "model/adapters/peft.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <set>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "formats/safetensors.h"

namespace sedum {
namespace fs = std::filesystem;
namespace {

using nlohmann::json;

// Keys that say where an adapter comes from or how it was trained: nothing to compute.
const std::set<std::string> kHarmless{"auto_mapping", "base_model_name_or_path", "revision",
                                      "task_type",    "inference_mode",          "peft_type",
                                      "peft_version", "qalora_group_size",       "ensure_weight_tying"};
// Keys that are read below.
const std::set<std::string> kRead{"r",
                                  "lora_alpha",
                                  "lora_dropout",
                                  "target_modules",
                                  "use_rslora",
                                  "use_dora",
                                  "bias",
                                  "rank_pattern",
                                  "modules_to_save",
                                  "alpha_pattern",
                                  "exclude_modules",
                                  "init_lora_weights",
                                  "loftq_config",
                                  "fan_in_fan_out"};  // how GPT-2 keeps the base: A and B are the same
// Features that change the result: allowed only at the value that switches them off.
bool switched_off(const json& value) {
  return value.is_null() || (value.is_boolean() && !value.get<bool>()) ||
         ((value.is_array() || value.is_object()) && value.empty()) ||
         (value.is_string() && (value == "none" || value == ""));
}
const std::set<std::string> kMustBeOff{
    "layers_to_transform",     "layers_pattern", "lora_bias",    "target_parameters",       "use_qalora",
    "trainable_token_indices", "arrow_config",   "use_bdlora",   "alora_invocation_tokens", "velora_config",
    "layer_replication",       "kasa_config",    "corda_config", "monteclora_config"};

template <class T>
T field(const json& document, const char* key, const std::string& where) {
  try {
    return document.at(key).get<T>();
  } catch (const json::exception&) {
    throw Error(where + ": the key \"" + std::string(key) + "\" is missing or has the wrong type",
                "check that this is an adapter that PEFT wrote");
  }
}

// A key that may be missing or null.
template <class T>
T field_or(const json& document, const char* key, T otherwise, const std::string& where) {
  return document.contains(key) && !document[key].is_null() ? field<T>(document, key, where) : otherwise;
}

// A list of names, "all-linear", or one expression for the whole name.
void read_targets(const json& document, LoraConfig& config, const std::string& where) {
  const json& targets = document.contains("target_modules") ? document["target_modules"] : json();
  if (targets.is_array())
    config.target_modules = field<std::vector<std::string>>(document, "target_modules", where);
  else if (targets.is_string() && targets == "all-linear")
    config.target_modules = {"all-linear"};
  else if (targets.is_string() && !targets.get_ref<const std::string&>().empty())
    config.target_pattern = targets.get<std::string>();
  else
    throw Error(where + ": target_modules is neither a list nor an expression", "list the names of the layers");
}

// How the adapter was begun says what base it belongs on. Others than those that change the base are as good as any.
void read_start(const json& document, LoraConfig& config, const std::string& where) {
  const json& init = document.contains("init_lora_weights") ? document["init_lora_weights"] : json();
  if (!init.is_string()) return;
  LoraConfig named;
  named.init_lora_weights = init.get<std::string>();
  if (!named.changes_base()) return;
  if (named.pissa_iterations() >= 0)
    throw Error(where + ": init_lora_weights = " + named.init_lora_weights +
                    " began from random numbers, and the base that it left is not here",
                "save it with path_initial_model_for_weight_conversion in PEFT");
  config.init_lora_weights = named.init_lora_weights;
  if (config.init_lora_weights != "loftq") return;
  const json& loftq = document.contains("loftq_config") ? document["loftq_config"] : json();
  if (!loftq.is_object()) return;
  if (field_or<int>(loftq, "loftq_bits", 4, where) != 4)
    throw Error(where + ": loftq_config.loftq_bits is not 4", "LoftQ on NF4 can be read");
  config.loftq_iter = field_or<int>(loftq, "loftq_iter", 1, where);
}

nlohmann::ordered_json init_as_peft(const std::string& init) {
  if (init == "true" || init == "false") return init == "true";
  return init;
}

}  // namespace

bool is_adapter(const fs::path& folder) { return fs::exists(folder / "adapter_config.json"); }

LoraConfig read_adapter_config(const fs::path& folder, std::vector<std::string>* unknown_fields) {
  const fs::path path = folder / "adapter_config.json";
  if (!fs::exists(path))
    throw Error(folder.string() + " holds no adapter_config.json", "give the folder of a PEFT adapter");
  const json document = try_parse_json(read_file(path));
  const std::string where = path.string();
  if (!document.is_object()) throw Error(where + ": not a JSON object", "check that the file is complete");
  if (field<std::string>(document, "peft_type", where) != "LORA")
    throw Error(where + ": the adapter is not LoRA", "LoRA adapters can be loaded");
  for (const auto& [key, value] : document.items()) {
    if (kHarmless.count(key) || kRead.count(key)) continue;
    if (kMustBeOff.count(key) && !switched_off(value))
      throw Error(where + ": " + key + " = " + value.dump().substr(0, 60) + " is not known here",
                  "train the adapter without it");
    if (!kMustBeOff.count(key) && !switched_off(value) && unknown_fields) unknown_fields->push_back(key);
  }
  LoraConfig config;
  config.r = field<int64_t>(document, "r", where);
  config.lora_alpha = field<float>(document, "lora_alpha", where);
  config.lora_dropout = field_or<float>(document, "lora_dropout", 0, where);
  config.use_rslora = field_or(document, "use_rslora", false, where);
  config.use_dora = field_or(document, "use_dora", false, where);
  config.bias = field_or<std::string>(document, "bias", "none", where);
  config.modules_to_save = field_or<std::vector<std::string>>(document, "modules_to_save", {}, where);
  config.exclude_modules = field_or<std::vector<std::string>>(document, "exclude_modules", {}, where);
  config.rank_pattern = field_or<std::map<std::string, int64_t>>(document, "rank_pattern", {}, where);
  config.alpha_pattern = field_or<std::map<std::string, float>>(document, "alpha_pattern", {}, where);
  read_targets(document, config, where);
  read_start(document, config, where);
  config.validate(where);
  if (document.contains("base_model_name_or_path") && document["base_model_name_or_path"].is_string())
    config.base_model_name_or_path = document["base_model_name_or_path"].get<std::string>();
  return config;
}

StoredAdapter read_adapter(const fs::path& folder, Arena& arena) {
  StoredAdapter adapter;
  adapter.config = read_adapter_config(folder, &adapter.unknown_fields);
  const SafetensorsFile file(folder / "adapter_model.safetensors");
  for (const std::string& name : file.names()) {
    const StoredTensor& stored = static_cast<const TensorSource&>(file).get(name);
    Tensor t = Tensor::empty(arena, DType::kF32, Shape(std::span(stored.shape)));
    if (arena.backed()) decode(stored.dtype, stored.data, t.data<float>(), t.count());
    adapter.weights.emplace(name, std::move(t));
  }
  return adapter;
}

void on_the_original_base(LoraConfig& config, std::vector<Variable>& parameters,
                          const std::map<std::string, Tensor>& first, Arena& arena) {
  if (first.empty()) return;
  for (Variable& p : parameters) {
    const auto found = first.find(p.name());
    if (found == first.end()) continue;
    const int64_t rows = p.shape()[0], cols = p.shape()[1];
    const float *now = p.value().data<float>(), *then = found->second.data<float>();
    const bool is_a = p.name().ends_with(".lora_A.weight");
    Tensor both = Tensor::empty(arena, DType::kF32, is_a ? Shape{2 * rows, cols} : Shape{rows, 2 * cols});
    float* to = both.data<float>();
    if (is_a) {
      std::copy_n(then, rows * cols, std::copy_n(now, rows * cols, to));
    } else {
      for (int64_t r = 0; r < rows; ++r, now += cols, then += cols) {
        to = std::copy_n(now, cols, to);
        to = std::transform(then, then + cols, to, std::negate<>());
      }
    }
    p = Variable::parameter(both, p.name());
  }
  const float grown = config.use_rslora ? std::sqrt(2.0f) : 2.0f;  // so that the factor stays
  config.r *= 2, config.lora_alpha *= grown;
  for (auto& [name, rank] : config.rank_pattern) rank *= 2;
  for (auto& [name, alpha] : config.alpha_pattern) alpha *= grown;
  config.init_lora_weights = "true";
}

void write_adapter(const fs::path& folder, const LoraConfig& config, const std::vector<Variable>& parameters) {
  fs::create_directories(folder);
  SafetensorsWriter out(folder / "adapter_model.safetensors", {{"format", "pt"}});
  for (const Variable& p : parameters) {
    std::vector<int64_t> sizes;
    for (int i = 0; i < p.shape().rank(); ++i) sizes.push_back(p.shape()[i]);
    out.add(p.name(), DType::kF32, sizes, [t = p.value()](const ByteSink& sink) { sink(t.raw(), t.bytes()); });
  }
  out.finish();
  // The keys that PEFT needs to load it, in its spelling.
  nlohmann::ordered_json document;
  document["peft_type"] = "LORA";
  document["task_type"] =
      config.task_type.empty() ? nlohmann::ordered_json(nullptr) : nlohmann::ordered_json(config.task_type);
  document["base_model_name_or_path"] = config.base_model_name_or_path;
  document["r"] = config.r;
  document["lora_alpha"] = config.lora_alpha;
  document["lora_dropout"] = config.lora_dropout;
  document["bias"] = config.bias;
  document["use_rslora"] = config.use_rslora;
  document["use_dora"] = config.use_dora;
  document["init_lora_weights"] = init_as_peft(config.init_lora_weights);
  if (config.init_lora_weights == "loftq")
    document["loftq_config"] = {{"loftq_bits", 4}, {"loftq_iter", config.loftq_iter}};
  document["inference_mode"] = true;
  if (!config.target_pattern.empty())
    document["target_modules"] = config.target_pattern;
  else if (config.target_modules == std::vector<std::string>{"all-linear"})
    document["target_modules"] = "all-linear";
  else
    document["target_modules"] = config.target_modules;
  if (!config.exclude_modules.empty()) document["exclude_modules"] = config.exclude_modules;
  if (!config.modules_to_save.empty()) document["modules_to_save"] = config.modules_to_save;
  if (!config.rank_pattern.empty()) document["rank_pattern"] = config.rank_pattern;
  if (!config.alpha_pattern.empty()) document["alpha_pattern"] = config.alpha_pattern;
  write_file(folder / "adapter_config.json", document.dump(2) + "\n");
}

}  // namespace sedum
