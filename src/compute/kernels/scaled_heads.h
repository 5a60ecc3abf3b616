#pragma once
// One head's key or value in int8, as a page of KeysValues (attention.h) holds it: head_dim integers, then a bf16 scale for each block of
// kScaledValues of them (the last may be shorter). A value is its integer times its block's scale.
//
// scale = bf16(largest magnitude / 127), q = x / scale to the nearest, ties to even. What it gives depends on this one vector: pages can be
// shared, and a token stored early or late has the same bits. Scales by channel, as KIVI (Liu et al. 2024) has them for keys at 2 bits,
// depend on the tokens beside it; blocks within the head keep a channel of outliers from costing the others more than 32 places, which at
// 8 bits is enough (docs/inference.md has the figures).
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

// x (head_dim) into scaled_head_bytes(head_dim) bytes, 2-byte aligned. Of the instruction set in force; all give the same bits.
using QuantiseHead = void (*)(const float* x, int64_t head_dim, int8_t* row);
QuantiseHead quantise_head();

}  // namespace sedum
