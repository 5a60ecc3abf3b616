#pragma once
// LLM.int8(): the few activations of great magnitude are multiplied in f32, the rest in int8.
//
//   auto packed = pack_int8(pool, stored);
//   keep_outliers(*packed, stored, 6.0f);                 // from now on
//   product_packed_int8(pool, x, *packed, y);             // y (M,N) = x (M,K) · W (N,K)ᵀ
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

// Lets products with `packed`, of pack_int8, do so; threshold 0: no more. `stored` is what it was packed from and outlives it: values that
// were rounded for the panels are read there.
void keep_outliers(PackedMatrix& packed, ConstMatrix stored, float threshold);

// What product_packed_int8 then calls. x: f32 or bf16, y likewise.
void product_packed_outliers(ThreadPool& pool, ConstMatrix x, const PackedMatrix& w, MutableMatrix y,
                             bool accumulate = false);

}  // namespace sedum
