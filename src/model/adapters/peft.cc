#include "model/adapters/peft.h"

#include <set>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file.h"
#include "formats/safetensors.h"

namespace sedum {
namespace fs = std::filesystem;
namespace {

using nlohmann::json;

// Keys that say where an adapter comes from or how it was trained: nothing to compute.
const std::set<std::string> kHarmless{"auto_mapping",       "base_model_name_or_path",
                                      "revision",           "task_type",
                                      "inference_mode",     "peft_type",
                                      "peft_version",       "r",
                                      "lora_alpha",         "lora_dropout",
                                      "target_modules",     "use_rslora",
                                      "init_lora_weights",  "qalora_group_size",
                                      "ensure_weight_tying"};
// Features that change the result: allowed only at the value that switches them off.
bool switched_off(const json& value) {
  return value.is_null() || (value.is_boolean() && !value.get<bool>()) ||
         ((value.is_array() || value.is_object()) && value.empty()) ||
         (value.is_string() && (value == "none" || value == ""));
}
const std::set<std::string> kMustBeOff{
    "use_dora",        "bias",          "fan_in_fan_out",         "modules_to_save",
    "rank_pattern",    "alpha_pattern", "layers_to_transform",    "layers_pattern",
    "exclude_modules", "lora_bias",     "target_parameters",      "trainable_token_indices",
    "use_qalora",      "arrow_config",  "alora_invocation_tokens"};

template <class T>
T field(const json& document, const char* key, const std::string& where) {
  try {
    return document.at(key).get<T>();
  } catch (const json::exception&) {
    throw Error(where + ": the key \"" + std::string(key) + "\" is missing or has the wrong type",
                "check that this is an adapter that PEFT wrote");
  }
}

}  // namespace

bool is_adapter(const fs::path& folder) { return fs::exists(folder / "adapter_config.json"); }

LoraConfig read_adapter_config(const fs::path& folder, std::vector<std::string>* unknown_fields) {
  const fs::path path = folder / "adapter_config.json";
  if (!fs::exists(path))
    throw Error(folder.string() + " holds no adapter_config.json", "give the folder of a PEFT adapter");
  const json document = json::parse(read_file(path), nullptr, false);
  const std::string where = path.string();
  if (!document.is_object()) throw Error(where + ": not a JSON object", "check that the file is complete");
  if (field<std::string>(document, "peft_type", where) != "LORA")
    throw Error(where + ": the adapter is not LoRA", "LoRA adapters can be loaded");
  for (const auto& [key, value] : document.items()) {
    if (kHarmless.count(key)) continue;
    if (kMustBeOff.count(key) && !switched_off(value))
      throw Error(where + ": " + key + " = " + value.dump().substr(0, 60) + " is not known here",
                  "train the adapter without it");
    if (!kMustBeOff.count(key) && !switched_off(value) && unknown_fields) unknown_fields->push_back(key);
  }
  LoraConfig config;
  config.r = field<int64_t>(document, "r", where);
  config.lora_alpha = field<float>(document, "lora_alpha", where);
  if (config.r < 1 || config.r > 1 << 16)
    throw Error(where + ": r is " + std::to_string(config.r), "it must be at least 1");
  config.use_rslora = document.value("use_rslora", false);
  const json& targets = document.contains("target_modules") ? document["target_modules"] : json();
  if (targets.is_array())
    config.target_modules = field<std::vector<std::string>>(document, "target_modules", where);
  else if (targets.is_string() && targets == "all-linear")
    config.target_modules = {"all-linear"};
  else
    throw Error(where + ": target_modules is neither a list nor \"all-linear\"", "list the names of the layers");
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

void write_adapter(const fs::path& folder, const LoraConfig& config, const std::vector<Variable>& parameters) {
  fs::create_directories(folder);
  SafetensorsWriter out(folder / "adapter_model.safetensors", {{"format", "pt"}});
  for (const Variable& p : parameters) {
    const Tensor& t = p.value();
    out.add(p.name(), DType::kF32, {t.size(0), t.size(1)}, [t](const ByteSink& sink) { sink(t.raw(), t.bytes()); });
  }
  out.finish();
  // The keys that PEFT needs to load it, in its spelling.
  nlohmann::ordered_json document;
  document["peft_type"] = "LORA";
  document["task_type"] = "CAUSAL_LM";
  document["base_model_name_or_path"] = config.base_model_name_or_path;
  document["r"] = config.r;
  document["lora_alpha"] = config.lora_alpha;
  document["lora_dropout"] = 0.0;
  document["bias"] = "none";
  document["use_rslora"] = config.use_rslora;
  document["inference_mode"] = true;
  if (config.target_modules == std::vector<std::string>{"all-linear"})
    document["target_modules"] = "all-linear";
  else
    document["target_modules"] = config.target_modules;
  write_file(folder / "adapter_config.json", document.dump(2) + "\n");
}

}  // namespace sedum
