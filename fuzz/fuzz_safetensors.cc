// safetensors: a file that can be read to the end or an Error; the same bytes also as an index of shards.

#include <string>

#include "base/error.h"
#include "formats/safetensors.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  using namespace sedum;
  try {
    const SafetensorsFile file({reinterpret_cast<const std::byte*>(bytes), size}, "fuzz.safetensors");
    volatile uint64_t sum = 0;
    for (const std::string& name : file.names()) {
      try {
        const StoredTensor& tensor = file.get(name);
        for (size_t i = 0; i < tensor.bytes; ++i) sum = sum + static_cast<const uint8_t*>(tensor.data)[i];
      } catch (const Error&) {
      }
    }
  } catch (const Error&) {
  }
  try {
    parse_safetensors_index({reinterpret_cast<const char*>(bytes), size}, "fuzz.json");
  } catch (const Error&) {
  }
  return 0;
}
