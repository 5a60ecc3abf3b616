#pragma once
// Optimizer kernels over the vector vocabulary: the fast twins of ref/optimizer.h.

namespace sedum {
namespace SEDUM_ISA_NAMESPACE {
namespace optimizer {

inline void adamw(const AdamWStep& step, int64_t n, const float* gradient, float* parameter, float* m, float* v) {
  const Vec decay = broadcast(float(step.decoupled ? 1 - step.learning_rate * step.weight_decay : 1));
  const Vec coupled = broadcast(float(step.decoupled ? 0 : step.weight_decay));
  const Vec size = broadcast(float(step.learning_rate / step.correction1)),
            root2 = broadcast(float(__builtin_sqrt(step.correction2)));
  const Vec eps = broadcast(float(step.eps)), scale = broadcast(float(step.gradient_scale)),
            beta2 = broadcast(float(step.beta2));
  const Vec rest1 = broadcast(float(1 - step.beta1)), rest2 = broadcast(float(1 - step.beta2));
  for_vectors(n, [&](int64_t i, auto part) {
    const Vec p0 = load(parameter + i, part), m0 = load(m + i, part);
    const Vec g = fma(coupled, p0, scale * load(gradient + i, part));
    const Vec m1 = fma(rest1, g - m0, m0), v1 = fma(beta2, load(v + i, part), rest2 * g * g);
    store(m + i, m1, part);
    store(v + i, v1, part);
    store(parameter + i, p0 * decay - size * m1 / (square_root(v1) / root2 + eps), part);
  });
}

inline void sgd(const SgdStep& step, int64_t n, const float* gradient, float* parameter, float* buffer) {
  const Vec rate = broadcast(float(step.learning_rate)), momentum = broadcast(float(step.momentum)),
            decay = broadcast(float(step.weight_decay)), scale = broadcast(float(step.gradient_scale));
  for_vectors(n, [&](int64_t i, auto part) {
    const Vec p = load(parameter + i, part);
    Vec g = fma(decay, p, scale * load(gradient + i, part));
    if (buffer) {
      const Vec moved = fma(momentum, load(buffer + i, part), g);
      store(buffer + i, moved, part);
      g = step.nesterov ? fma(momentum, moved, g) : moved;
    }
    store(parameter + i, fnma(rate, g, p), part);
  });
}

inline void muon_momentum(double momentum, bool nesterov, double gradient_scale, int64_t n, const float* gradient,
                          float* buffer, float* x) {
  const Vec keep = broadcast(float(momentum)), rest = broadcast(float(1 - momentum)),
            scale = broadcast(float(gradient_scale));
  for_vectors(n, [&](int64_t i, auto part) {
    const Vec g = scale * load(gradient + i, part), b0 = load(buffer + i, part), b1 = fma(rest, g - b0, b0);
    store(buffer + i, b1, part);
    store(x + i, nesterov ? fma(keep, b1 - g, g) : b1, part);
  });
}

inline void decayed_step(double decay, double rate, int64_t n, const float* update, float* parameter) {
  const Vec keep = broadcast(float(decay)), size = broadcast(float(rate));
  for_vectors(n, [&](int64_t i, auto part) {
    store(parameter + i, fnma(size, load(update + i, part), load(parameter + i, part) * keep), part);
  });
}

inline void combine(float a, const float* x, float b, int64_t n, float* y) {
  const Vec of_x = broadcast(a), of_y = broadcast(b);
  for_vectors(
      n, [&](int64_t i, auto part) { store(y + i, fma(of_x, load(x + i, part), of_y * load(y + i, part)), part); });
}

inline double add_squares(const float* gradient, int64_t n, float* column_sums) {
  DoubleVec sum = double_zero();
  for_vectors(n, [&](int64_t i, auto part) {
    const Vec g = load(gradient + i, part);
    store(column_sums + i, fma(g, g, load(column_sums + i, part)), part);
    sum = sedum::SEDUM_ISA_NAMESPACE::add_squares(g, sum);
  });
  return reduce_add(sum);
}

inline double sum_of_factored_squares(const float* gradient, const float* c, int64_t n) {
  DoubleVec sum = double_zero();
  for_vectors(n, [&](int64_t i, auto part) {
    sum = sedum::SEDUM_ISA_NAMESPACE::add_squares(load(gradient + i, part) * load(c + i, part), sum);
  });
  return reduce_add(sum);
}

inline void factored_step(double decay, double rate, int64_t n, const float* gradient, const float* c,
                          float* parameter) {
  const Vec keep = broadcast(float(decay)), size = broadcast(float(rate));
  for_vectors(n, [&](int64_t i, auto part) {
    store(parameter + i, fnma(size, load(gradient + i, part) * load(c + i, part), load(parameter + i, part) * keep),
          part);
  });
}

inline double sum_of_squares(const float* x, int64_t n) {
  DoubleVec sum = double_zero();
  for_vectors(n, [&](int64_t i, auto part) { sum = sedum::SEDUM_ISA_NAMESPACE::add_squares(load(x + i, part), sum); });
  return reduce_add(sum);
}

inline void clip_values(float* x, float most, int64_t n) {
  const Vec high = broadcast(most), low = broadcast(-most);
  for_vectors(n, [&](int64_t i, auto part) { store(x + i, max(low, min(high, load(x + i, part))), part); });
}

inline void widen(const bf16* x, int64_t n, float* y) {
  for_vectors(n, [&](int64_t i, auto part) { store(y + i, load(x + i, part), part); });
}

// c = philox4x32(c, key) in each lane.
SEDUM_INLINE void philox(UInt (&c)[4], uint32_t key0, uint32_t key1) {
  const Wide multiplier0 = Wide{} + 0xD2511F53u, multiplier1 = Wide{} + 0xCD9E8D57u, low = Wide{} + 0xffffffffu;
#pragma GCC unroll 10
  for (int round = 0; round < 10; ++round) {
    const Wide even0 = multiply_even(Wide(c[0]), multiplier0), odd0 = multiply_even(Wide(c[0]) >> 32, multiplier0);
    const Wide even2 = multiply_even(Wide(c[2]), multiplier1), odd2 = multiply_even(Wide(c[2]) >> 32, multiplier1);
    const UInt low0 = UInt((even0 & low) | (odd0 << 32)), high0 = UInt((even0 >> 32) | (odd0 & ~low));
    const UInt low2 = UInt((even2 & low) | (odd2 << 32)), high2 = UInt((even2 >> 32) | (odd2 & ~low));
    c[0] = high2 ^ c[1] ^ key0, c[2] = high0 ^ c[3] ^ key1;
    c[1] = low2, c[3] = low0;
    key0 += 0x9E3779B9, key1 += 0xBB67AE85;
  }
}

SEDUM_INLINE Vec rounded(Vec x, UInt random) {
  const UInt bits = UInt(x), magnitude = bits & 0x7fffffffu;
  const UInt up = (bits + random) & 0xffff0000u, nan = UInt(magnitude > 0x7f800000u);
  return Vec((bits & nan) | (up & ~nan));  // storing as bf16 is exact then, and quietens NaN
}

// A group of 128 values, as ref::rounding_bits counts.
SEDUM_INLINE void round_group(const float* x, StochasticRounding rounding, uint32_t stream, int64_t group, bf16* y) {
  UInt lane;
  for (int i = 0; i < kLanes; ++i) lane[i] = uint32_t(i);
#pragma GCC unroll 2
  for (int begin = 0; begin < 16; begin += kLanes) {
    const uint64_t block = uint64_t(group * 16 + begin);
    UInt c[4] = {lane + uint32_t(block), UInt{} + (uint32_t(block >> 32) ^ stream << 8), UInt{} + rounding.step,
                 UInt{} + uint32_t(Purpose::kRounding)};
    philox(c, uint32_t(rounding.seed), uint32_t(rounding.seed >> 32));
#pragma GCC unroll 8
    for (int v = 0; v < 8; ++v) {
      const UInt random = v % 2 ? c[v / 2] >> 16 : c[v / 2] & 0xffffu;
      store(y + 16 * v + begin, rounded(load(x + 16 * v + begin), random));
    }
  }
}

inline void round_stochastically(const float* x, int64_t n, StochasticRounding rounding, uint32_t stream, int64_t first,
                                 bf16* y) {
  int64_t i = 0;
  for (; i + 128 <= n; i += 128) round_group(x + i, rounding, stream, (first + i) / 128, y + i);
  if (i == n) return;
  float rest[128] = {};
  bf16 result[128];
  __builtin_memcpy(rest, x + i, size_t(n - i) * sizeof(float));
  round_group(rest, rounding, stream, (first + i) / 128, result);
  __builtin_memcpy(static_cast<void*>(y + i), result, size_t(n - i) * sizeof(bf16));
}

}  // namespace optimizer
}  // namespace SEDUM_ISA_NAMESPACE
}  // namespace sedum
