// config.json: whatever it says, sizes that can be asked, written and read again, or an Error.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/json.h"
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

}  // namespace
}  // namespace sedum

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  try {
    sedum::read_model(text);
  } catch (const sedum::Error&) {
  }
  return 0;
}
