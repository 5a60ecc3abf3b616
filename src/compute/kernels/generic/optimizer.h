#pragma once
// Optimizer kernels over the vector vocabulary: the fast twins of ref/optimizer.h.

namespace sedum {
namespace SEDUM_ISA_NAMESPACE {
namespace optimizer {

inline void adamw(const AdamWStep& step, int64_t n, const float* gradient, float* parameter, float* m, float* v,
                  bf16* shadow) {
  const Vec decay = broadcast(float(1 - step.learning_rate * step.weight_decay));
  const Vec size = broadcast(float(step.learning_rate / step.correction1)),
            root2 = broadcast(float(__builtin_sqrt(step.correction2)));
  const Vec eps = broadcast(float(step.eps)), scale = broadcast(float(step.gradient_scale)),
            beta2 = broadcast(float(step.beta2));
  const Vec rest1 = broadcast(float(1 - step.beta1)), rest2 = broadcast(float(1 - step.beta2));
  for_vectors(n, [&](int64_t i, auto part) {
    const Vec g = scale * load(gradient + i, part), m0 = load(m + i, part);
    const Vec m1 = fma(rest1, g - m0, m0), v1 = fma(beta2, load(v + i, part), rest2 * g * g);
    const Vec p = load(parameter + i, part) * decay - size * m1 / (square_root(v1) / root2 + eps);
    store(m + i, m1, part);
    store(v + i, v1, part);
    store(parameter + i, p, part);
    if (shadow) store(shadow + i, p, part);
  });
}

inline double sum_of_squares(const float* x, int64_t n) {
  DoubleVec sum = double_zero();
  for_vectors(n, [&](int64_t i, auto part) { sum = add_squares(load(x + i, part), sum); });
  return reduce_add(sum);
}

}  // namespace optimizer
}  // namespace SEDUM_ISA_NAMESPACE
}  // namespace sedum
