#pragma once
// Which edges of the instrumented code ran, counted as AFL does it: one byte for each hash of (block before, block).
//
//   coverage().fill(0); run(input); coverage()[i] > 0 ...
//
// With g++ the code is compiled with -fsanitize-coverage=trace-pc, which calls back at each basic block.

#include <array>
#include <cstdint>

namespace sedum::fuzz {

using Coverage = std::array<uint8_t, 1 << 16>;
Coverage& coverage();

}  // namespace sedum::fuzz
