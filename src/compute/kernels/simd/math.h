#pragma once
// Loops and functions over the vocabulary of SEDUM_ISA_NAMESPACE (avx2 or avx512), whose header comes first.

namespace sedum {
namespace SEDUM_ISA_NAMESPACE {

// body(i, part) for every vector of n values: i a multiple of kLanes, part Whole{} or the last Part.
template <class F>
SEDUM_INLINE void for_vectors(int64_t n, F&& body) {
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) body(i, Whole{});
  if (i < n) body(i, Part{int(n - i)});
}

// A fold over n values by step(accumulator, i, part) in four accumulators, which hide the latency of additions.
template <class F>
SEDUM_INLINE void fold(int64_t n, Vec (&sums)[4], F&& step) {
  int64_t i = 0;
  for (; i + 4 * kLanes <= n; i += 4 * kLanes) {
#pragma GCC unroll 4
    for (int k = 0; k < 4; ++k) sums[k] = step(sums[k], i + k * kLanes, Whole{});
  }
  for (; i + kLanes <= n; i += kLanes) sums[0] = step(sums[0], i, Whole{});
  if (i < n) sums[1] = step(sums[1], i, Part{int(n - i)});
}
template <class F>
SEDUM_INLINE float fold_sum(int64_t n, F&& step) {
  Vec sums[4] = {zero(), zero(), zero(), zero()};
  fold(n, sums, step);
  return reduce_add((sums[0] + sums[1]) + (sums[2] + sums[3]));
}

constexpr float kInfinity = __builtin_inff();

// e^x to 1.2 ulp: e^x = 2^n · e^r, n = round(x / ln 2), |r| ≤ ln 2 / 2, e^r = 1 + r + r² Q(r) with Q of degree 4 by weighted least
// squares towards the minimax (relative error 3.7e-9). Error in units of 2^-24: r in two steps 0.5, r + r² Q 0.25, the sum 1, Q 0.1.
// −∞ gives 0, e^0 is exactly 1, overflow ∞, results below 2^-126 round once, NaN stays.
SEDUM_INLINE Vec exp(Vec x) {
  x = max(broadcast(-105.0f), min(broadcast(89.5f), x));  // the operand that may be NaN comes last
  const Vec n = round(x * broadcast(0x1.715476p+0f));
  const Vec r = fnma(n, broadcast(-0x1.05c610p-29f), fnma(n, broadcast(0x1.62e430p-1f), x));
  Vec q = broadcast(0x1.6a23ccp-10f);
  q = fma(q, r, broadcast(0x1.123a20p-7f));
  q = fma(q, r, broadcast(0x1.5558f2p-5f));
  q = fma(q, r, broadcast(0x1.555492p-3f));
  q = fma(q, r, broadcast(0x1.fffffcp-2f));
  return times_power_of_two(fma(r * r, q, r) + broadcast(1.0f), n);
}

SEDUM_INLINE Vec sigmoid(Vec x) { return broadcast(1.0f) / (broadcast(1.0f) + exp(zero() - x)); }

// tanh to 3 ulp: x + x³ P(x²) below 0.625 (relative error 8.8e-9), 1 − 2 / (e^2x + 1) above, where nothing cancels.
SEDUM_INLINE Vec tanh(Vec x) {
  const Vec a = absolute(x), square = x * x;
  Vec p = broadcast(-0x1.75e136p-8f);
  p = fma(p, square, broadcast(0x1.522680p-6f));
  p = fma(p, square, broadcast(-0x1.b83c56p-5f));
  p = fma(p, square, broadcast(0x1.110726p-3f));
  p = fma(p, square, broadcast(-0x1.555532p-2f));
  const Vec large = broadcast(1.0f) - broadcast(2.0f) / (exp(a + a) + broadcast(1.0f));
  return select(less(a, broadcast(0.625f)), fma(p * square, x, x), with_sign_of(large, x));
}

// erf to 2 ulp: x + x P(x²) below 0.9 (relative error 1.2e-8), 1 − e^(−x R(x)) above (3.1e-9), both by least squares towards the minimax.
// Beyond 4 it is 1 in f32.
SEDUM_INLINE Vec erf(Vec x) {
  const Vec a = min(broadcast(4.0f), absolute(x)), square = a * a;  // NaN comes through min's second operand
  Vec p = broadcast(-0x1.3f4fc0p-11f);
  p = fma(p, square, broadcast(0x1.4876e2p-8f));
  p = fma(p, square, broadcast(-0x1.b6bee8p-6f));
  p = fma(p, square, broadcast(0x1.ce1dd2p-4f));
  p = fma(p, square, broadcast(-0x1.8126fap-2f));
  p = fma(p, square, broadcast(0x1.06eba6p-3f));
  Vec r = broadcast(-0x1.c209eep-13f);
  r = fma(r, a, broadcast(0x1.a60c80p-9f));
  r = fma(r, a, broadcast(-0x1.774ae2p-6f));
  r = fma(r, a, broadcast(0x1.af4146p-4f));
  r = fma(r, a, broadcast(0x1.457a64p-1f));
  r = fma(r, a, broadcast(0x1.20e6b0p+0f));
  const Vec large = broadcast(1.0f) - exp(zero() - a * r);
  return select(less(a, broadcast(0.9f)), fma(p, x, x), with_sign_of(large, x));
}

}  // namespace SEDUM_ISA_NAMESPACE
}  // namespace sedum
