#pragma once
// PEFT's adapter folders: adapter_config.json and adapter_model.safetensors.
//
//   StoredAdapter adapter = read_adapter("runs/succulent/adapter");   // fields that would change results and are not known are refused
//   write_adapter("out", config, factory.parameters());

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "model/adapters/lora.h"

namespace sedum {

struct StoredAdapter {
  LoraConfig config;
  std::map<std::string, Tensor> weights;    // f32, by PEFT's names
  std::vector<std::string> unknown_fields;  // of the config, ignored: they do not change what the adapter computes
};

bool is_adapter(const std::filesystem::path& folder);
StoredAdapter read_adapter(const std::filesystem::path& folder, Arena& arena);
// Only the config: to find the base model.
LoraConfig read_adapter_config(const std::filesystem::path& folder, std::vector<std::string>* unknown_fields = nullptr);
// An adapter that took its start out of the base (pissa, olora), as one on the base as it was: A over the first A, B beside minus the first B, r
// twice as large and alpha with it, as PEFT's path_initial_model_for_weight_conversion makes it. `first`: by PEFT's names.
void on_the_original_base(LoraConfig& config, std::vector<Variable>& parameters,
                          const std::map<std::string, Tensor>& first, Arena& arena);
void write_adapter(const std::filesystem::path& folder, const LoraConfig& config,
                   const std::vector<Variable>& parameters);

}  // namespace sedum
