// Quantised matrices in a safetensors file: NF4, int8, GPTQ, AWQ, whatever its parts claim, become a matrix or an Error. The first byte
// says how config.json would describe them.

#include <string>

#include "base/error.h"
#include "formats/safetensors.h"
#include "model/checkpoint/quantised.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  using namespace sedum;
  if (size == 0) return 0;
  constexpr int kBits[] = {2, 4, 8};
  constexpr int64_t kGroups[] = {-1, 1, 32, 128, int64_t{1} << 31};
  using Method = QuantisedFormat::Method;
  constexpr Method kMethods[] = {Method::kNone, Method::kBitsandbytes, Method::kGptq, Method::kAwq};
  const QuantisedFormat format{.method = kMethods[bytes[0] & 3],
                               .bits = kBits[(bytes[0] >> 2) % 3],
                               .group_size = kGroups[(bytes[0] >> 4) % 5],
                               .zeros_less_one = (bytes[0] & 128) != 0};
  try {
    const SafetensorsFile file({reinterpret_cast<const std::byte*>(bytes) + 1, size - 1}, "fuzz.safetensors");
    volatile uint64_t sum = 0;
    for (const std::string& part : file.names()) {
      const std::string stem = part.substr(0, part.rfind('.') + 1), name = stem + "weight";
      try {
        if (!has_quantised(file, name)) continue;
        const Tensor t = read_quantised(file, name, format);
        for (size_t i = 0; i < t.bytes(); ++i) sum = sum + static_cast<const uint8_t*>(t.raw())[i];
      } catch (const Error&) {
      }
    }
  } catch (const Error&) {
  }
  return 0;
}
