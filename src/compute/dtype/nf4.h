#pragma once
// NormalFloat4 with double quantisation (Dettmers et al., "QLoRA", 2023), to the bit what bitsandbytes computes.
//
//   Nf4Quantised q = quantise_nf4(pool, weights, rows * cols);      // as bitsandbytes' files hold it
//   std::vector<BlockNF4> blocks(rows * cols / 64);
//   nf4_blocks(pool, q, blocks.data());                             // kNF4: what products and decode() read
//
// 64 values in row order share a scale, the largest magnitude; each value is the nearest of 16 quantiles of the normal distribution.
// The scales less their mean are themselves stored as 8 bits each, in blocks of 256 over "dynamic" numbers. A file takes 4.127 bits a
// weight; in memory a block keeps its scale as the f32 that those 8 bits stand for, so that any row can be read without a table of the
// whole tensor: 4.5 bits.

#include <array>
#include <cstdint>
#include <cstring>
#include <vector>

#include "base/thread_pool.h"
#include "compute/dtype/more_dtypes.h"

namespace sedum {

inline constexpr std::array<float, 16> kNf4Values = {-1,
                                                     -0x1.647362p-1f,
                                                     -0x1.0cd66p-1f,
                                                     -0x1.94654p-2f,
                                                     -0x1.23449ap-2f,
                                                     -0x1.7a6a7ep-3f,
                                                     -0x1.74f0e2p-4f,
                                                     0,
                                                     0x1.45f5fep-4f,
                                                     0x1.4995c6p-3f,
                                                     0x1.f809bap-3f,
                                                     0x1.5a0674p-2f,
                                                     0x1.c3497p-2f,
                                                     0x1.200f56p-1f,
                                                     0x1.722766p-1f,
                                                     1};

// Value 2i is the high nibble of byte i, value 2i + 1 the low one.
struct BlockNF4 {
  static constexpr DType kType = kNF4;
  static constexpr int kValues = 64;
  uint8_t qs[32];
  uint8_t scale_bytes[4];  // an f32
  [[gnu::always_inline]] float scale() const {
    float value;
    __builtin_memcpy(&value, scale_bytes, 4);
    return value;
  }
  void set_scale(float value) { std::memcpy(scale_bytes, &value, 4); }
};
static_assert(sizeof(BlockNF4) == 36);

struct Nf4Quantised {
  int64_t count = 0;
  std::vector<uint8_t> packed;       // count / 2, nibbles as in BlockNF4
  std::vector<uint8_t> scales;       // count / 64 indices into dynamic_values()
  std::vector<float> scales_scales;  // one for each 256 of them
  float offset = 0;                  // the mean of the scales
};

constexpr int kNf4Block = 64, kNf4ScalesBlock = 256;

// The 256 numbers of Dettmers' "8-bit Approximations for Parallelism in Deep Learning" (2015), ascending.
const std::array<float, 256>& dynamic_values();

// n a multiple of 64, at least 64; ApiError otherwise. NaN becomes the last value, as there.
Nf4Quantised quantise_nf4(ThreadPool& pool, const float* values, int64_t n);
// scales[i] → f32.
std::vector<float> nf4_scales(const Nf4Quantised& quantised);
void nf4_blocks(ThreadPool& pool, const Nf4Quantised& quantised, BlockNF4* to);

// Scalar codec behind decode() and encode(); encode quantises the n values as a tensor of its own.
void decode_nf4(const BlockNF4* from, float* to, int64_t n);
void encode_nf4(const float* from, BlockNF4* to, int64_t n);

}  // namespace sedum
