#pragma once
// One head's key or value in int8, as a page of KeysValues (attention.h) holds it: head_dim integers, then a bf16 scale for each block of
// kScaledValues of them (the last may be shorter). A value is its integer times its block's scale.
//
// scale = bf16(largest magnitude / 127), q = x / scale to the nearest, ties to even. What it gives depends on this one vector: pages can be
// shared, and a token stored early or late has the same bits.
//
// Keys have channels of outliers, a hundred times the others in Qwen2.5, whose scale would take the other 31 values' digits. Scales by
// channel, as KIVI (Liu et al. 2024) has them for keys, depend on the tokens beside it. So keys are turned before they are rounded, and
// queries likewise: a Walsh–Hadamard transform of each block (QuaRot, Ashkboos et al. 2024) spreads an outlier over 32 values and leaves
// q·k as it was, since H·H = 32. Values have no such channels and stay as they are. docs/inference.md has the figures.
//
// |error| is at most 0.504 scale (bf16 rounds the scale by up to 2^-9). A block with an infinity or NaN reads as NaN; below 1e-30 it is
// zero.

#include <cstddef>
#include <cstdint>

#include "compute/dtype/dtype.h"

namespace sedum {

constexpr int kScaledValues = 32;
constexpr int64_t scales_of(int64_t head_dim) { return (head_dim + kScaledValues - 1) / kScaledValues; }
// Where the scales begin, and the whole.
constexpr int64_t scales_at(int64_t head_dim) { return (head_dim + 1) / 2 * 2; }
constexpr int64_t scaled_head_bytes(int64_t head_dim) {
  return scales_at(head_dim) + scales_of(head_dim) * int64_t(sizeof(bf16));
}
inline const bf16* scales_in(const int8_t* row, int64_t head_dim) {
  return reinterpret_cast<const bf16*>(row + scales_at(head_dim));
}

// y = H x for each whole block of kScaledValues, in place; a rest stays as it is. Sums and differences alone: the same bits everywhere.
template <class S>
void turn_blocks(S* x, int64_t head_dim) {
  for (; head_dim >= kScaledValues; head_dim -= kScaledValues, x += kScaledValues)
    for (int half = 1; half < kScaledValues; half *= 2)
      for (int begin = 0; begin < kScaledValues; begin += 2 * half)
        for (int i = begin; i < begin + half; ++i) {
          const S a = x[i], b = x[i + half];
          x[i] = a + b, x[i + half] = a - b;
        }
}
// A query that meets turned keys: H x / 32, so that products are those of before. The division is exact.
template <class S>
void turn_query(S* x, int64_t head_dim) {
  turn_blocks(x, head_dim);
  for (int64_t d = 0; d < head_dim / kScaledValues * kScaledValues; ++d) x[d] *= S(1) / kScaledValues;
}

// x (head_dim) into scaled_head_bytes(head_dim) bytes, 2-byte aligned. Of the instruction set in force; all give the same bits.
using QuantiseHead = void (*)(const float* x, int64_t head_dim, int8_t* row);
QuantiseHead quantise_head();

}  // namespace sedum
