#pragma once
// How packed weights and quantised activations lie in memory; the same for every instruction set.
//
// Weights: a panel holds 16 columns of the product (rows of W) and all k, as a sequence of records, so that one thread reads one
// ascending stream. A record is 64 k (256 for K-quants): first the scales, then lines of 64 bytes = 16 columns × 4 k, the operand of
// one vpdpbusd. Group g of a record is its k 4g … 4g+3. Values are unsigned; two groups share a line of nibbles.
//
//   scales  one f16 for each block and column, then as many minima (Q4_1, Q5_1); or, for K-quants, d and −dmin as f16 for each
//           column, then one byte for each sub-block and column, then as many for the minima
//   low     8 bits: line g · otherwise: line g / 2, even groups in the low nibbles, odd ones in the high nibbles
//   high    5 bits: line g / 8, bit g % 8 · 6 bits: line g / 4, bits 2 (g % 4) and up
//
// Activations: rows come in tiles as high as a kernel computes at once. For each 32 k of a tile of R rows: R heads, then for each 4 k
// R × 4 bytes, in the order in which a kernel broadcasts them.

#include <cstddef>
#include <cstdint>

#include "compute/dtype/blocks.h"

namespace sedum {

template <class B>
struct Panel {
  using Block = B;
  static constexpr bool kKQuant = B::kValues == 256;
  static constexpr int kRecord = kKQuant ? 256 : 64;
  static constexpr int kMinima = kKQuant ? 192 : 64;  // where the minima begin
  static constexpr int kHead = kKQuant ? 320 : B::kHasMinimum ? 128 : 64;
  static constexpr int kLow = kRecord * (B::kBits == 8 ? 16 : 8);
  static constexpr int kHigh = kRecord * (B::kBits == 5 ? 2 : B::kBits == 6 ? 4 : 0);
  static constexpr int kBytes = kHead + kLow + kHigh;
  static size_t bytes(int64_t k) { return size_t((k + kRecord - 1) / kRecord) * kBytes; }
};
constexpr int kPanelColumns = 16;

// Wᵀ in panels, for the product backward by data: Q8_0 with values of 7 bits, ±63, so that a pair of products fits into 16 bits. Without VNNI
// Q8_0's bytes go with their signs or as two nibbles: with signs they took 1.3 times as long at 512 rows (Zen 3).
struct BlockQ7 : BlockQ8_0 {
  static constexpr int kZero = 64, kTop = 127;
  void quants(uint8_t* q) const {
    for (int i = 0; i < 32; ++i) q[i] = uint8_t(qs[i] + kZero);
  }
  // n, a multiple of 32, values: scale = largest magnitude / 63, to the nearest integer, ties to even. A block with an infinity or NaN has NaN
  // for a scale.
  static void encode(const float* from, BlockQ7* to, int64_t n);
};

// The largest unsigned value that a panel of B's holds.
template <class B>
constexpr int panel_top() {
  if constexpr (requires { B::kTop; })
    return B::kTop;
  else
    return (1 << B::kBits) - 1;
}

constexpr int kActivationBlock = 32;
struct ActivationHead {
  float scale;
  float sum;  // scale · Σ, for minima
  // For zero points: −Σ of the block, of its first and of its second half.
  int32_t minus_all, minus_first, minus_second;
};
static_assert(sizeof(ActivationHead) == 20);
constexpr size_t activation_bytes(int64_t rows, int64_t k) {
  return size_t(k / kActivationBlock) * size_t(rows) * (sizeof(ActivationHead) + kActivationBlock);
}

// A format's panel with a byte for each value, and its scales as they were: what many rows read where decoding bits costs as much as rows do.
template <class B>
struct Wide : B {
  static constexpr int kBits = 8, kTop = (1 << B::kBits) - 1;
};

// The formats that have panels, in the order of the kernel tables; BlockQ7, which is no type of a file, comes last.
constexpr DType kPanelTypes[] = {DType::kQ8_0, DType::kQ4_0, DType::kQ4_1, DType::kQ5_0,
                                 DType::kQ5_1, DType::kQ4_K, DType::kQ5_K, DType::kQ6_K};
constexpr int kPanelTypeCount = 8, kTransposedFormat = kPanelTypeCount, kPanelFormats = kPanelTypeCount + 1;
constexpr int panel_format(DType dtype) {
  for (int i = 0; i < kPanelTypeCount; ++i)
    if (kPanelTypes[i] == dtype) return i;
  return -1;
}
// f(static_cast<Block*>(nullptr)) with the block type of a format.
template <class F>
void with_panel_block(int format, F&& f) {
  if (format == kTransposedFormat)
    f(static_cast<BlockQ7*>(nullptr));
  else
    with_block_type(kPanelTypes[format], f);
}

// One instruction set's kernels.
constexpr int kHighestTile = 12;
struct QuantisedKernels {
  // y[r][0 … 15] = a tile of `rows` activations times one panel; the height is the index of the kernel.
  using Tile = void (*)(const uint8_t* activations, const uint8_t* panel, int64_t k, float* y, size_t y_row_bytes);
  // A tile of `rows` rows of x from `x` on, in the layout above.
  using Quantise = void (*)(DType dtype, const void* x, size_t x_row_bytes, int rows, int64_t k, uint8_t* to);

  // A panel of the format as one of Wide.
  using Widen = void (*)(const uint8_t* panel, int64_t k, uint8_t* to);

  int highest_tile;
  Quantise quantise;
  Tile tiles[kPanelFormats][kHighestTile];  // [format][rows − 1]
  // From how many tiles on a panel is worth widening; 0: from none, and the rest is null.
  int wide_from[kPanelFormats] = {};
  Widen widen[kPanelFormats] = {};
  Tile wide_tiles[kPanelFormats][kHighestTile] = {};
};
extern const QuantisedKernels kQuantisedPortable, kQuantisedAvx2, kQuantisedAvx512, kQuantisedAvx512Bf16;

}  // namespace sedum
