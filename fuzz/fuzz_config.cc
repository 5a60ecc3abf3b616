// The JSON that says what a model or an adapter is: config.json, or adapter_config.json where the word peft_type stands in it. What is
// accepted can be asked, and a model's can be written and read again. Errors are allowed, nothing else.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "model/adapters/lora_config.h"
#include "model/config.h"

namespace sedum {
namespace {

void read_model(std::string_view text) {
  const ModelConfig config = parse_config_json(text, "config.json");
  SEDUM_CHECK(config.parameter_count() > 0);
  for (int64_t layer = 0; layer < config.num_hidden_layers; ++layer) config.window_of(layer), config.rotates(layer);
  const ModelConfig again = parse_config_json(config_to_json(config).dump(), "written");
  SEDUM_CHECK(again.parameter_count() == config.parameter_count());
}

void read_adapter(std::string_view text) {
  std::vector<std::string> unknown;
  const LoraConfig config = parse_adapter_config(text, "adapter_config.json", &unknown);
  for (const std::string name : {"model.layers.0.self_attn.q_proj", "model.layers.11.mlp.down_proj", "lm_head"})
    if (config.targets(name)) config.rank_of(name), config.factor(name);
}

}  // namespace
}  // namespace sedum

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  try {
    text.find("peft_type") == text.npos ? sedum::read_model(text) : sedum::read_adapter(text);
  } catch (const sedum::Error&) {
  }
  return 0;
}
