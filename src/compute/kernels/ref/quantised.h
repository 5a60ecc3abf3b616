#pragma once
// The naive twin of the int8 product: its definition. It reads W as stored, knows no panels, and gives the bits that every kernel gives.

#include "compute/kernels/products.h"

namespace sedum::ref {

struct QuantisedBlock {
  float scale;  // NaN if any of the values is not finite; then q is zero
  int8_t q[32];
};
QuantisedBlock quantise_block(const float* x);

// y (M,N) = x (M,K) · W (N,K)ᵀ; K a multiple of 32. The types of pack_int8 and product_packed_int8.
void product_int8(ConstMatrix x, ConstMatrix w, MutableMatrix y, bool accumulate = false);
// The same with activations above `threshold` in magnitude multiplied in f32: see kernels/outliers.h.
void product_int8_outliers(ConstMatrix x, float threshold, ConstMatrix w, MutableMatrix y, bool accumulate = false);

}  // namespace sedum::ref
