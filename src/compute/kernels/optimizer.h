#pragma once
// The optimizer's kernels: one pass over memory, in place.

#include <cstdint>

#include "base/thread_pool.h"
#include "compute/dtype/dtype.h"

namespace sedum {

// Doubles, because 1 − beta must be: 1 − 0.999f is 13 parts in a million from 0.001.
struct AdamWStep {
  double learning_rate, beta1, beta2, eps, weight_decay;
  double correction1, correction2;  // 1 − beta^t
  double gradient_scale;            // applied to every gradient first: clipping and the mean over tokens
};

// Loshchilov, Hutter: "Decoupled Weight Decay Regularization", 2019, in the order of torch.optim.AdamW:
// p −= lr·wd·p; m = β1·m + (1−β1)·g; v = β2·v + (1−β2)·g²; p −= lr/c1 · m / (sqrt(v)/sqrt(c2) + eps).
// shadow, if not null, receives the new parameters as bf16.
void adamw(ThreadPool& pool, const AdamWStep& step, int64_t n, const float* gradient, float* parameter, float* m,
           float* v, bf16* shadow = nullptr);

// Sum of squares in double: fixed blocks of 4,096 values, added in order, so that the thread count does not matter.
double sum_of_squares(ThreadPool& pool, const float* x, int64_t n);

}  // namespace sedum
