#pragma once
// The naive twins of optimizer.h. β·m + (1−β)·g is written m + (1−β)·(g − m), as torch computes it.

#include <cmath>
#include <cstdint>

#include "compute/kernels/optimizer.h"

namespace sedum {
namespace ref {

template <class S>
void adamw(const AdamWStep& step, int64_t n, const S* gradient, S* parameter, S* m, S* v, bf16* shadow) {
  const S decay = S(1 - step.learning_rate * step.weight_decay), size = S(step.learning_rate / step.correction1);
  const S root2 = S(std::sqrt(step.correction2)), eps = S(step.eps), scale = S(step.gradient_scale);
  const S beta2 = S(step.beta2), rest1 = S(1 - step.beta1), rest2 = S(1 - step.beta2);
  for (int64_t i = 0; i < n; ++i) {
    const S g = scale * gradient[i];
    m[i] = m[i] + rest1 * (g - m[i]);
    v[i] = beta2 * v[i] + rest2 * g * g;
    parameter[i] = parameter[i] * decay - size * m[i] / (std::sqrt(v[i]) / root2 + eps);
    if (shadow) shadow[i] = bf16(float(parameter[i]));
  }
}

template <class S>
double sum_of_squares(const S* x, int64_t n) {
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += double(x[i]) * x[i];
  return sum;
}

}  // namespace ref
}  // namespace sedum
