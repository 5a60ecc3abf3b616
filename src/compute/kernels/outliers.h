#pragma once
// LLM.int8(): the few activations of great magnitude are multiplied in f32, the rest in int8.
//
//   product_packed_outliers(pool, x, 6.0f, *packed, stored, y);     // y (M,N) = x (M,K) · W (N,K)ᵀ
//
// Dettmers, Lewis, Belkada, Zettlemoyer 2022, "LLM.int8(): 8-bit Matrix Multiplication for Transformers at Scale", section 3.2. One value of
// sixty in a block of 32 leaves two steps for what lies around one; taken out, the others get all 127. The paper takes whole columns of x, those in
// which any row exceeds the threshold; here every row has its own, so that a row's bits do not depend on the rows beside it.
// What is computed, exactly (ref::product_int8_outliers): the int8 product of x with outliers at zero, then, in ascending k, f = fma(x_k, w_k, f)
// with the weights as they are stored.

#include <span>
#include <vector>

#include "compute/kernels/products.h"

namespace sedum {

struct Outlier {
  int64_t row;
  int64_t column;  // of x, that is k
  float value;
};

// Those above `threshold` in magnitude, by row, then column; `rest` gets the others, and zero in their places. Infinities and NaN stay
// where they are. rest is written only where there is an outlier at all. x and rest: f32.
std::vector<Outlier> take_outliers(ThreadPool& pool, ConstMatrix x, float threshold, MutableMatrix rest);

// y += outliers · Wᵀ. `stored` is what w was packed from: values that were rounded for the panels are read there.
void add_outliers(ThreadPool& pool, std::span<const Outlier> outliers, const PackedMatrix& w, ConstMatrix stored,
                  MutableMatrix y);

// x: f32 or bf16, y likewise; w from pack_int8.
void product_packed_outliers(ThreadPool& pool, ConstMatrix x, float threshold, const PackedMatrix& w,
                             ConstMatrix stored, MutableMatrix y, bool accumulate = false);

}  // namespace sedum
