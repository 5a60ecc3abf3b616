#include "fuzz/coverage.h"

extern "C" const char
    __executable_start;  // by the linker: makes block numbers independent of where the program is loaded

namespace {
sedum::fuzz::Coverage edges;
thread_local uint32_t before = 0;
}  // namespace

namespace sedum::fuzz {
Coverage& coverage() { return edges; }
}  // namespace sedum::fuzz

extern "C" __attribute__((no_sanitize("address", "undefined"))) void __sanitizer_cov_trace_pc() {
  const auto place =
      reinterpret_cast<uintptr_t>(__builtin_return_address(0)) - reinterpret_cast<uintptr_t>(&__executable_start);
  const uint32_t block = uint32_t(place) * 2654435761u >> 16;
  uint8_t& count = edges.data()[(block ^ before) & 0xffff];
  if (count < 255) ++count;
  before = block >> 1;
}
