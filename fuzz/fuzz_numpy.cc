// .npy: an array that can be read to the end or an Error.

#include "base/error.h"
#include "formats/numpy.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  using namespace sedum;
  try {
    const NpyArray array = parse_npy({reinterpret_cast<const std::byte*>(bytes), size}, "fuzz.npy", nullptr);
    volatile uint64_t sum = 0;
    for (size_t i = 0; i < array.bytes; ++i) sum = sum + static_cast<const uint8_t*>(array.data)[i];
  } catch (const Error&) {
  }
  return 0;
}
