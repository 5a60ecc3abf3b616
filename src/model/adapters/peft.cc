#include "model/adapters/peft.h"

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file.h"
#include "formats/safetensors.h"

namespace sedum {
namespace fs = std::filesystem;

bool is_adapter(const fs::path& folder) { return fs::exists(folder / "adapter_config.json"); }

LoraConfig read_adapter_config(const fs::path& folder, std::vector<std::string>* unknown_fields) {
  const fs::path path = folder / "adapter_config.json";
  if (!fs::exists(path))
    throw Error(folder.string() + " holds no adapter_config.json", "give the folder of a PEFT adapter");
  return parse_adapter_config(read_file(path), path.string(), unknown_fields);
}

StoredAdapter read_adapter(const fs::path& folder, Arena& arena) {
  StoredAdapter adapter;
  adapter.config = read_adapter_config(folder, &adapter.unknown_fields);
  const SafetensorsFile file(folder / "adapter_model.safetensors");
  adapter.weights = adapter_weights(file, arena);
  return adapter;
}

std::map<std::string, Tensor> adapter_weights(const TensorSource& file, Arena& arena) {
  std::map<std::string, Tensor> weights;
  for (const std::string& name : file.names()) {
    const StoredTensor& stored = file.get(name);
    Tensor t = Tensor::empty(arena, DType::kF32, Shape(std::span(stored.shape)));
    if (arena.backed()) decode(stored.dtype, stored.data, t.data<float>(), t.count());
    weights.emplace(name, std::move(t));
  }
  return weights;
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
  document["task_type"] = "CAUSAL_LM";
  document["base_model_name_or_path"] = config.base_model_name_or_path;
  document["r"] = config.r;
  document["lora_alpha"] = config.lora_alpha;
  document["lora_dropout"] = config.lora_dropout;
  document["bias"] = config.bias;
  document["use_rslora"] = config.use_rslora;
  document["use_dora"] = config.use_dora;
  document["init_lora_weights"] = config.init_lora_weights == "gaussian"
                                      ? nlohmann::ordered_json("gaussian")
                                      : nlohmann::ordered_json(config.init_lora_weights == "true");
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
