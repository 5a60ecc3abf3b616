#pragma once
// The naive twins of optimizer.h. β·m + (1−β)·g is written m + (1−β)·(g − m), as torch computes it.

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>

#include "base/random.h"
#include "compute/kernels/optimizer.h"

namespace sedum {
namespace ref {

template <class S>
void adamw(const AdamWStep& step, int64_t n, const S* gradient, S* parameter, S* m, S* v) {
  const S decay = S(step.decoupled ? 1 - step.learning_rate * step.weight_decay : 1),
          coupled = S(step.decoupled ? 0 : step.weight_decay);
  const S size = S(step.learning_rate / step.correction1), root2 = S(std::sqrt(step.correction2)), eps = S(step.eps),
          scale = S(step.gradient_scale);
  const S beta2 = S(step.beta2), rest1 = S(1 - step.beta1), rest2 = S(1 - step.beta2);
  for (int64_t i = 0; i < n; ++i) {
    const S g = scale * gradient[i] + coupled * parameter[i];
    m[i] = m[i] + rest1 * (g - m[i]);
    v[i] = beta2 * v[i] + rest2 * g * g;
    parameter[i] = parameter[i] * decay - size * m[i] / (std::sqrt(v[i]) / root2 + eps);
  }
}

template <class S>
void sgd(const SgdStep& step, int64_t n, const S* gradient, S* parameter, S* buffer) {
  const S rate = S(step.learning_rate), momentum = S(step.momentum), decay = S(step.weight_decay),
          scale = S(step.gradient_scale);
  for (int64_t i = 0; i < n; ++i) {
    S g = scale * gradient[i] + decay * parameter[i];
    if (buffer) {
      buffer[i] = momentum * buffer[i] + g;
      g = step.nesterov ? g + momentum * buffer[i] : buffer[i];
    }
    parameter[i] = parameter[i] - rate * g;
  }
}

template <class S>
void muon_momentum(double momentum, bool nesterov, double gradient_scale, int64_t n, const S* gradient, S* buffer,
                   S* x) {
  const S keep = S(momentum), rest = S(1 - momentum), scale = S(gradient_scale);
  for (int64_t i = 0; i < n; ++i) {
    const S g = scale * gradient[i];
    buffer[i] = buffer[i] + rest * (g - buffer[i]);
    x[i] = nesterov ? g + keep * (buffer[i] - g) : buffer[i];
  }
}

template <class S>
void decayed_step(double decay, double rate, int64_t n, const S* update, S* parameter) {
  for (int64_t i = 0; i < n; ++i) parameter[i] = parameter[i] * S(decay) - S(rate) * update[i];
}

template <class S>
void combine(S a, const S* x, S b, int64_t n, S* y) {
  for (int64_t i = 0; i < n; ++i) y[i] = a * x[i] + b * y[i];
}

// One row: adds its squares to the columns' sums, returns their sum.
template <class S>
double add_squares(const S* gradient, int64_t n, S* column_sums) {
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) {
    column_sums[i] += gradient[i] * gradient[i];
    sum += double(gradient[i]) * double(gradient[i]);
  }
  return sum;
}

template <class S>
double sum_of_factored_squares(const S* gradient, const S* c, int64_t n) {
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += double(gradient[i] * c[i]) * double(gradient[i] * c[i]);
  return sum;
}

template <class S>
void factored_step(double decay, double rate, int64_t n, const S* gradient, const S* c, S* parameter) {
  for (int64_t i = 0; i < n; ++i) parameter[i] = parameter[i] * S(decay) - S(rate) * (gradient[i] * c[i]);
}

template <class S>
double sum_of_squares(const S* x, int64_t n) {
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += double(x[i]) * x[i];
  return sum;
}

template <class S>
void clip_values(S* x, S most, int64_t n) {
  for (int64_t i = 0; i < n; ++i)
    if (std::abs(x[i]) > most) x[i] = std::copysign(most, x[i]);
}

inline void widen(const bf16* x, int64_t n, float* y) {
  for (int64_t i = 0; i < n; ++i) y[i] = float(x[i]);
}

// The 16 random bits of a value. A group of 128 values shares 16 Philox blocks: value i takes a half of a word of block i mod 16, so that
// sixteen (or eight) lanes compute as many blocks and need no shuffle.
inline uint32_t rounding_bits(StochasticRounding rounding, uint32_t stream, int64_t index) {
  const uint64_t block = uint64_t(index / 128 * 16 + index % 16);
  const auto half = size_t(index / 16 % 8);
  const uint32_t word =
      philox4x32({uint32_t(block), uint32_t(block >> 32) ^ stream << 8, rounding.step, uint32_t(Purpose::kRounding)},
                 {uint32_t(rounding.seed), uint32_t(rounding.seed >> 32)})[half / 2];
  return half % 2 ? word >> 16 : word & 0xffff;
}

inline void round_stochastically(const float* x, int64_t n, StochasticRounding rounding, uint32_t stream, int64_t first,
                                 bf16* y) {
  for (int64_t i = 0; i < n; ++i) {
    if (std::isnan(x[i])) {
      y[i] = bf16(x[i]);
      continue;
    }
    y[i].bits = uint16_t((std::bit_cast<uint32_t>(x[i]) + rounding_bits(rounding, stream, first + i)) >> 16);
  }
}

}  // namespace ref
}  // namespace sedum
