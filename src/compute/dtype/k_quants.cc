// Encoding of the K-quants. A block of 256 has sub-blocks with integer scales (and minima) under one or two f16 factors. Three steps,
// each a least-squares fit: a scale and minimum for each sub-block over some trial steps; the factors that hold the largest of them;
// then, the integers fixed, the factors again. Each error counts with a weight: 1, or what an importance matrix says.

#include "compute/dtype/k_quants.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "base/error.h"
#include "compute/dtype/blocks.h"

namespace sedum {
namespace {

int nearest(float value, int least, int most) {
  if (!(value > float(least))) return least;  // NaN too
  return value < float(most) ? int(std::lrint(value)) : most;
}

// x ≈ scale · q − minimum with q in [0, top] and minimum ≥ 0.
struct Affine {
  float scale = 0, minimum = 0;
};

// The best (scale, minimum) for fixed q, in closed form; the minimum may not be negative.
Affine fit_affine(const float* x, const float* w, const uint8_t* q, int n, Affine before) {
  double s = 0, sq = 0, sqq = 0, sx = 0, sqx = 0;
  for (int i = 0; i < n; ++i) {
    const double wq = double(w[i]) * q[i];
    s += w[i], sq += wq, sqq += wq * q[i], sx += double(w[i]) * x[i], sqx += wq * x[i];
  }
  const double determinant = s * sqq - sq * sq;
  if (determinant <= 0) return before;
  const double scale = (s * sqx - sq * sx) / determinant, minimum = (sq * sqx - sqq * sx) / determinant;
  if (minimum >= 0) return {float(scale), float(minimum)};
  return {float(sqx / sqq), 0};
}

double round_affine(const float* x, const float* w, Affine a, int top, int n, uint8_t* q) {
  double error = 0;
  for (int i = 0; i < n; ++i) {
    q[i] = a.scale > 0 ? uint8_t(nearest((x[i] + a.minimum) / a.scale, 0, top)) : 0;
    const double e = double(a.scale) * q[i] - a.minimum - x[i];
    error += w[i] * e * e;
  }
  return error;
}

// Trial steps around range / top: a smaller one clips the ends and resolves the middle better. ±15 % in steps of 2 %: beyond that
// clipping always costs more than it gains for bell-shaped weights.
Affine search_affine(const float* x, const float* w, int top, int n) {
  const auto [least, most] = std::minmax_element(x, x + n);
  const float minimum = std::max(0.0f, -*least), range = *most + minimum;
  if (!(range > 0)) return {0, minimum};
  uint8_t q[32];
  Affine best{range / float(top), minimum};
  double best_error = round_affine(x, w, best, top, n, q);
  for (int trial = -8; trial <= 4; ++trial) {
    Affine a{range / float(top) * (1 + 0.02f * float(trial)), minimum};
    for (int round = 0; round < 2; ++round) {
      round_affine(x, w, a, top, n, q);
      a = fit_affine(x, w, q, n, a);
    }
    if (const double error = round_affine(x, w, a, top, n, q); error < best_error) best = a, best_error = error;
  }
  return best;
}

struct AffineIntegers {
  uint8_t scales[8], minima[8], q[256];
};

// Everything that follows from the block's two factors (as stored): integers and the error.
double round_block(const float* x, const float* w, const Affine* fits, float d, float dmin, int top,
                   AffineIntegers* to) {
  double error = 0;
  for (int b = 0; b < 8; ++b) {
    to->scales[b] = uint8_t(d > 0 ? nearest(fits[b].scale / d, 0, 63) : 0);
    to->minima[b] = uint8_t(dmin > 0 ? nearest(fits[b].minimum / dmin, 0, 63) : 0);
    error += round_affine(x + 32 * b, w + 32 * b, {d * float(to->scales[b]), dmin * float(to->minima[b])}, top, 32,
                          to->q + 32 * b);
  }
  return error;
}

// The best factors for fixed integers: x ≈ d · (scale q) − dmin · minimum.
Affine fit_factors(const float* x, const float* w, const AffineIntegers& integers, Affine before) {
  double pp = 0, pm = 0, mm = 0, px = 0, mx = 0;
  for (int i = 0; i < 256; ++i) {
    const double p = double(integers.scales[i / 32]) * integers.q[i], m = integers.minima[i / 32];
    const double wp = w[i] * p, wm = w[i] * m;
    pp += wp * p, pm += wp * m, mm += wm * m, px += wp * x[i], mx += wm * x[i];
  }
  const double determinant = pp * mm - pm * pm;
  if (determinant <= 0) return before;
  const double d = (px * mm - mx * pm) / determinant, dmin = (px * pm - mx * pp) / determinant;
  return d > 0 && dmin > 0 ? Affine{float(d), float(dmin)} : before;
}

template <class B, int kTop>
void encode_affine_block(const float* x, const float* w, B* block) {
  Affine fits[8];
  float scale = 0, minimum = 0;
  for (int b = 0; b < 8; ++b) {
    fits[b] = search_affine(x + 32 * b, w + 32 * b, kTop, 32);
    scale = std::max(scale, fits[b].scale), minimum = std::max(minimum, fits[b].minimum);
  }
  AffineIntegers integers, trial;
  block->d.set(scale / 63), block->dmin.set(minimum / 63);
  double error = round_block(x, w, fits, block->d.value(), block->dmin.value(), kTop, &integers);
  trial = integers;
  for (int round = 0; round < 3; ++round) {
    const Affine factors = fit_factors(x, w, trial, {block->d.value(), block->dmin.value()});
    StoredHalf d, dmin;
    d.set(factors.scale), dmin.set(factors.minimum);
    const double now = round_block(x, w, fits, d.value(), dmin.value(), kTop, &trial);
    if (!(now < error)) break;
    error = now, integers = trial, block->d = d, block->dmin = dmin;
  }
  block->scales.set(integers.scales, integers.minima);
  block->set_quants(integers.q);
}

// Q6_K: x ≈ scale · (q − 32), scales of either sign.
double round_symmetric(const float* x, const float* w, float scale, uint8_t* q) {
  double error = 0;
  for (int i = 0; i < 16; ++i) {
    const int value = scale != 0 ? nearest(x[i] / scale, -32, 31) : 0;
    q[i] = uint8_t(value + 32);
    const double e = double(scale) * value - x[i];
    error += w[i] * e * e;
  }
  return error;
}

float search_symmetric(const float* x, const float* w) {
  float top = 0;
  for (int i = 0; i < 16; ++i)
    if (std::abs(x[i]) > std::abs(top)) top = x[i];
  if (top == 0 || !std::isfinite(top)) return 0;
  uint8_t q[16];
  float best = top / -32;
  double best_error = round_symmetric(x, w, best, q);
  for (int trial = -6; trial <= 6; ++trial) {
    float scale = top / (-32 + 0.25f * float(trial));
    round_symmetric(x, w, scale, q);
    double qx = 0, qq = 0;
    for (int i = 0; i < 16; ++i) {
      const double wq = double(w[i]) * (q[i] - 32);
      qx += wq * x[i], qq += wq * (q[i] - 32);
    }
    if (qq > 0) scale = float(qx / qq);
    if (const double error = round_symmetric(x, w, scale, q); error < best_error) best = scale, best_error = error;
  }
  return best;
}

double round_q6(const float* x, const float* w, const float* fits, float d, int8_t* scales, uint8_t* q) {
  double error = 0;
  for (int b = 0; b < 16; ++b) {
    scales[b] = int8_t(d != 0 ? nearest(fits[b] / d, -128, 127) : 0);
    error += round_symmetric(x + 16 * b, w + 16 * b, d * float(scales[b]), q + 16 * b);
  }
  return error;
}

void encode_q6(const float* x, const float* w, BlockQ6_K* block) {
  float fits[16], top = 0;
  for (int b = 0; b < 16; ++b) {
    fits[b] = search_symmetric(x + 16 * b, w + 16 * b);
    if (std::abs(fits[b]) > std::abs(top)) top = fits[b];
  }
  uint8_t q[256], trial_q[256];
  int8_t trial_scales[16];
  block->d.set(top / -128);
  double error = round_q6(x, w, fits, block->d.value(), block->scales, q);
  std::copy_n(q, 256, trial_q), std::copy_n(block->scales, 16, trial_scales);
  for (int round = 0; round < 3; ++round) {
    double px = 0, pp = 0;
    for (int i = 0; i < 256; ++i) {
      const double p = double(trial_scales[i / 16]) * (trial_q[i] - 32);
      px += w[i] * p * x[i], pp += w[i] * p * p;
    }
    if (!(pp > 0)) break;
    StoredHalf d;
    d.set(float(px / pp));
    const double now = round_q6(x, w, fits, d.value(), trial_scales, trial_q);
    if (!(now < error)) break;
    error = now, block->d = d;
    std::copy_n(trial_q, 256, q), std::copy_n(trial_scales, 16, block->scales);
  }
  block->set_quants(q);
}

// As llama.cpp weighs: importance of the column times the size of the value, bounded below by the block's own.
void weigh(const float* x, const float* importance, float* w) {
  float sum = 0;
  for (int i = 0; i < 256; ++i) sum += x[i] * x[i];
  for (int i = 0; i < 256; ++i) w[i] = importance[i] * std::sqrt(sum / 128 + x[i] * x[i]);
  if (std::all_of(w, w + 256, [](float value) { return std::isfinite(value) && value >= 0; }) &&
      std::any_of(w, w + 256, [](float value) { return value > 0; }))
    return;
  std::fill_n(w, 256, 1.0f);
}

}  // namespace

void encode_k_quants(DType dtype, const float* from, void* to, int64_t n) {
  encode_k_quants(dtype, from, to, n, nullptr);
}

void encode_k_quants(DType dtype, const float* from, void* to, int64_t n, const float* importance) {
  float w[256];
  std::fill_n(w, 256, 1.0f);
  for (int64_t i = 0; i < n / 256; ++i, from += 256) {
    if (importance) weigh(from, importance + 256 * i, w);
    switch (dtype) {
      case DType::kQ4_K:
        encode_affine_block<BlockQ4_K, 15>(from, w, static_cast<BlockQ4_K*>(to) + i);
        break;
      case DType::kQ5_K:
        encode_affine_block<BlockQ5_K, 31>(from, w, static_cast<BlockQ5_K*>(to) + i);
        break;
      case DType::kQ6_K:
        encode_q6(from, w, static_cast<BlockQ6_K*>(to) + i);
        break;
      default:
        SEDUM_CHECK(false, name(dtype));
    }
  }
}

}  // namespace sedum
