#pragma once
// Optimizer states in 8 bits: a value is a code's place on a map of 256 values in [−1, 1] or [0, 1], times the largest magnitude of its
// block. The maps are those of bitsandbytes (dynamic exponents, their decades divided ever more finely): Dettmers, Lewis, Shleifer,
// Zettlemoyer: "8-bit Optimizers via Block-wise Quantization", 2022.
//
//   encode8(map8(true), x, 256, codes, absmax);
//   decode8(map8(true), codes, 256, absmax, x);

#include <array>
#include <cstdint>
#include <vector>

namespace sedum {

constexpr int64_t kBlock8 = 256;

struct Map8 {
  std::array<float, 256> values;    // ascending
  std::array<float, 256> midpoint;  // between a value and the next; the last is infinite
  std::vector<uint8_t> first;       // by the upper 16 bits of a float: the code of the least value with these bits
  uint8_t zero;                     // the code of 0
  bool sign;
};
const Map8& map8(bool sign);

// n ≤ 256 values of one block. Each gets the nearest code, at a tie the lower one; in the unsigned map a value above 0 never gets the code
// of 0: a second moment of 0 beside a first one that is not would make a step of m / eps. A value that is not finite makes the block NaN.
void encode8(const Map8& map, const float* x, int64_t n, uint8_t* codes, float& absmax);
void decode8(const Map8& map, const uint8_t* codes, int64_t n, float absmax, float* x);

}  // namespace sedum
