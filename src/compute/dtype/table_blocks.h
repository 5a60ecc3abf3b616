#pragma once
// The other block formats that GGUF files come in: two K-quants of few bits, and those whose four bits index a table of sixteen
// integers. They are read, not written.
//
//   with_stored_block_type(dtype, [&]<class B>(B*) { ... });   // these and those of blocks.h
//
// The same interface as in blocks.h. quants() of the table formats gives table values plus kZero, so that what is written for
// 8-bit integers serves them too. Layouts: ggml-common.h; MXFP4: OCP Microscaling Formats 1.0 (E2M1 values doubled, E8M0 scale halved).

#include <array>

#include "compute/dtype/blocks.h"
#include "compute/dtype/more_dtypes.h"

namespace sedum {

// 2 bits, sub-blocks of 16 with 4-bit scales (low nibbles) and minima (high ones).
struct BlockQ2_K {
  static constexpr DType kType = kQ2_K;
  static constexpr int kValues = 256, kSub = 16, kZero = 0, kBits = 2;
  static constexpr bool kHasMinimum = true;
  uint8_t scales[16], qs[64];
  StoredHalf d, dmin;
  void quants(uint8_t* q) const {
    for (int i = 0; i < 256; ++i) q[i] = qs[i / 128 * 32 + i % 32] >> i / 32 % 4 * 2 & 3;
  }
  void set_quants(const uint8_t* q) {
    std::memset(qs, 0, sizeof qs);
    for (int i = 0; i < 256; ++i) qs[i / 128 * 32 + i % 32] |= uint8_t((q[i] & 3) << i / 32 % 4 * 2);
  }
  float scale(int b) const { return d.value() * float(scales[b] & 15); }
  float minimum(int b) const { return -(dmin.value() * float(scales[b] >> 4)); }
};

// 3 bits, the third apart; sub-blocks of 16 with 6-bit scales: low nibbles in bytes 0-7, upper bits in 8-11.
struct BlockQ3_K {
  static constexpr DType kType = kQ3_K;
  static constexpr int kValues = 256, kSub = 16, kZero = 4, kBits = 3;
  static constexpr bool kHasMinimum = false;
  uint8_t hmask[32], qs[64], scales[12];
  StoredHalf d;
  void quants(uint8_t* q) const {
    for (int i = 0; i < 256; ++i)
      q[i] = uint8_t((qs[i / 128 * 32 + i % 32] >> i / 32 % 4 * 2 & 3) | (hmask[i % 32] >> i / 32 & 1) << 2);
  }
  void set_quants(const uint8_t* q) {
    std::memset(qs, 0, sizeof qs), std::memset(hmask, 0, sizeof hmask);
    for (int i = 0; i < 256; ++i) {
      qs[i / 128 * 32 + i % 32] |= uint8_t((q[i] & 3) << i / 32 % 4 * 2);
      hmask[i % 32] |= uint8_t((q[i] >> 2 & 1) << i / 32);
    }
  }
  [[gnu::always_inline]] int integer_scale(int b) const {
    return ((b < 8 ? scales[b] & 15 : scales[b - 8] >> 4) | (scales[8 + b % 4] >> b / 4 * 2 & 3) << 4) - 32;
  }
  float scale(int b) const { return d.value() * float(integer_scale(b)); }
};

inline constexpr std::array<int8_t, 16> kIQ4Values = {-127, -104, -83, -65, -49, -35, -22, -10,
                                                      1,    13,   25,  38,  53,  69,  89,  113};
inline constexpr std::array<int8_t, 16> kE2M1Values = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

namespace block {
// Nibbles of `bytes` bytes, 16 at a time in the order of nibbles_to, as table values plus 128.
inline void table_values_to(const std::array<int8_t, 16>& table, const uint8_t* qs, int bytes, uint8_t* q) {
  for (int i = 0; i < bytes; ++i) {
    const int at = i / 16 * 32 + i % 16;
    q[at] = uint8_t(table[qs[i] & 15] + 128), q[at + 16] = uint8_t(table[qs[i] >> 4] + 128);
  }
}
}  // namespace block

struct BlockIQ4_NL {
  static constexpr DType kType = kIQ4_NL;
  static constexpr int kValues = 32, kSub = 32, kZero = 128, kBits = 8;
  static constexpr bool kHasMinimum = false;
  static constexpr const std::array<int8_t, 16>& kTable = kIQ4Values;
  StoredHalf d;
  uint8_t qs[16];
  void quants(uint8_t* q) const { block::table_values_to(kTable, qs, 16, q); }
  float scale(int) const { return d.value(); }
};

struct BlockIQ4_XS {
  static constexpr DType kType = kIQ4_XS;
  static constexpr int kValues = 256, kSub = 32, kZero = 128, kBits = 8;
  static constexpr bool kHasMinimum = false;
  static constexpr const std::array<int8_t, 16>& kTable = kIQ4Values;
  StoredHalf d;
  uint8_t scales_high[2], scales_low[4], qs[128];
  void quants(uint8_t* q) const { block::table_values_to(kTable, qs, 128, q); }
  [[gnu::always_inline]] int integer_scale(int b) const {
    return ((scales_low[b / 2] >> b % 2 * 4 & 15) | (scales_high[b / 4] >> b % 4 * 2 & 3) << 4) - 32;
  }
  float scale(int b) const { return d.value() * float(integer_scale(b)); }
};

struct BlockMXFP4 {
  static constexpr DType kType = kMXFP4;
  static constexpr int kValues = 32, kSub = 32, kZero = 128, kBits = 8;
  static constexpr bool kHasMinimum = false;
  static constexpr const std::array<int8_t, 16>& kTable = kE2M1Values;
  uint8_t e;
  uint8_t qs[16];
  void quants(uint8_t* q) const { block::table_values_to(kTable, qs, 16, q); }
  // 2^(e − 128), subnormal for 0 and 1.
  [[gnu::always_inline]] float scale(int) const {
    return __builtin_bit_cast(float, e < 2 ? uint32_t{0x00200000} << e : uint32_t(e - 1) << 23);
  }
};

static_assert(sizeof(BlockQ2_K) == 84 && sizeof(BlockQ3_K) == 110 && sizeof(BlockIQ4_NL) == 18 &&
              sizeof(BlockIQ4_XS) == 136 && sizeof(BlockMXFP4) == 17);

// with_block_type() and the formats of this file.
template <class F>
bool with_stored_block_type(DType dtype, F&& f) {
  if (dtype == kQ2_K) return f(static_cast<BlockQ2_K*>(nullptr)), true;
  if (dtype == kQ3_K) return f(static_cast<BlockQ3_K*>(nullptr)), true;
  if (dtype == kIQ4_NL) return f(static_cast<BlockIQ4_NL*>(nullptr)), true;
  if (dtype == kIQ4_XS) return f(static_cast<BlockIQ4_XS*>(nullptr)), true;
  if (dtype == kMXFP4) return f(static_cast<BlockMXFP4*>(nullptr)), true;
  return with_block_type(dtype, f);
}

}  // namespace sedum
