#pragma once
// The naive twins of rows.h: what each kernel means, in the fewest lines. Specification, oracle of the tests, the portable
// fallback, and double for finite differences.
//
// Each works on all rows or columns it is given; rows.cc hands every thread its part. Sums run in double whatever T is, so that
// a twin's error is that of its last rounding.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

#include "compute/dtype/dtype.h"

namespace sedum {
namespace ref {

template <class T>
stat_t<T> get(T x) {
  return static_cast<stat_t<T>>(x);
}

template <class T>
void rms_norm_forward(const T* x, const stat_t<T>* weight, float eps, int64_t rows, int64_t cols, T* y,
                      stat_t<T>* inverse_rms) {
  using S = stat_t<T>;
  for (int64_t r = 0; r < rows; ++r, x += cols, y += cols) {
    double squares = 0;
    for (int64_t c = 0; c < cols; ++c) squares += double(get(x[c])) * get(x[c]);
    const S inverse = S(1 / std::sqrt(squares / cols + eps));
    for (int64_t c = 0; c < cols; ++c) y[c] = T(get(x[c]) * inverse * weight[c]);
    if (inverse_rms) inverse_rms[r] = inverse;
  }
}

// With n = x · inverse the normalised row and g = dy · weight: dx = inverse · (g − n · mean(g · n)). The second term is what
// the norm itself owes to x; it makes dx orthogonal to x (but for eps).
template <class T>
void rms_norm_backward(const T* dy, const T* x, const stat_t<T>* weight, const stat_t<T>* inverse_rms, int64_t rows,
                       int64_t cols, T* dx) {
  using S = stat_t<T>;
  for (int64_t r = 0; r < rows; ++r, dy += cols, x += cols, dx += cols) {
    const S inverse = inverse_rms[r];
    double sum = 0;
    for (int64_t c = 0; c < cols; ++c) sum += double(get(dy[c])) * weight[c] * get(x[c]);
    const S factor = S(sum * inverse * inverse / cols);
    for (int64_t c = 0; c < cols; ++c) dx[c] = T(inverse * (get(dy[c]) * weight[c] - get(x[c]) * factor));
  }
}

// dweight[c] += Σ_rows dy · x · inverse, for the columns [begin, end).
template <class T>
void rms_norm_backward_weight(const T* dy, const T* x, const stat_t<T>* inverse_rms, int64_t rows, int64_t cols,
                              int64_t begin, int64_t end, stat_t<T>* dweight) {
  for (int64_t c = begin; c < end; ++c) {
    double sum = 0;
    for (int64_t r = 0; r < rows; ++r) sum += double(get(dy[r * cols + c])) * (get(x[r * cols + c]) * inverse_rms[r]);
    dweight[c] += stat_t<T>(sum);
  }
}

template <class T>
void layer_norm_forward(const T* x, const stat_t<T>* weight, const stat_t<T>* bias, float eps, int64_t rows,
                        int64_t cols, T* y, stat_t<T>* means, stat_t<T>* inverse_deviations) {
  using S = stat_t<T>;
  for (int64_t r = 0; r < rows; ++r, x += cols, y += cols) {
    double sum = 0, squares = 0;
    for (int64_t c = 0; c < cols; ++c) sum += double(get(x[c]));
    const S mean = S(sum / cols);
    for (int64_t c = 0; c < cols; ++c) squares += double(get(x[c]) - mean) * double(get(x[c]) - mean);
    const S inverse = S(1 / std::sqrt(squares / cols + eps));
    for (int64_t c = 0; c < cols; ++c) y[c] = T((get(x[c]) - mean) * inverse * weight[c] + bias[c]);
    if (means) means[r] = mean, inverse_deviations[r] = inverse;
  }
}

// With n = (x − mean) · inverse and g = dy · weight: dx = inverse · (g − mean(g) − n · mean(g · n)): what every value owes to the mean and to
// the deviation is taken off.
template <class T>
void layer_norm_backward(const T* dy, const T* x, const stat_t<T>* weight, const stat_t<T>* means,
                         const stat_t<T>* inverse_deviations, int64_t rows, int64_t cols, T* dx) {
  using S = stat_t<T>;
  for (int64_t r = 0; r < rows; ++r, dy += cols, x += cols, dx += cols) {
    const S mean = means[r], inverse = inverse_deviations[r];
    double sum = 0, along = 0;
    for (int64_t c = 0; c < cols; ++c) {
      const double g = double(get(dy[c])) * double(weight[c]);
      sum += g, along += g * double((get(x[c]) - mean) * inverse);
    }
    const S shift = S(sum / cols), factor = S(along / cols);
    for (int64_t c = 0; c < cols; ++c)
      dx[c] = T(inverse * (get(dy[c]) * weight[c] - shift - (get(x[c]) - mean) * inverse * factor));
  }
}

// dweight[c] += Σ_rows dy · n, for the columns [begin, end). dbias is add_column_sums of dy.
template <class T>
void layer_norm_backward_weight(const T* dy, const T* x, const stat_t<T>* means, const stat_t<T>* inverse_deviations,
                                int64_t rows, int64_t cols, int64_t begin, int64_t end, stat_t<T>* dweight) {
  for (int64_t c = begin; c < end; ++c) {
    double sum = 0;
    for (int64_t r = 0; r < rows; ++r)
      sum += double(get(dy[r * cols + c])) * double((get(x[r * cols + c]) - means[r]) * inverse_deviations[r]);
    dweight[c] += stat_t<T>(sum);
  }
}

// The greatest value of a row, NaN ignored (it comes back through the sum of exponentials).
template <class T>
stat_t<T> row_max(const T* x, int64_t cols) {
  stat_t<T> max = -std::numeric_limits<stat_t<T>>::infinity();
  for (int64_t c = 0; c < cols; ++c) max = max < get(x[c]) ? get(x[c]) : max;
  return max;
}

template <class T>
void softmax_forward(const T* x, float scale, int64_t rows, int64_t cols, T* y) {
  using S = stat_t<T>;
  for (int64_t r = 0; r < rows; ++r, x += cols, y += cols) {
    S max = -std::numeric_limits<S>::infinity();
    for (int64_t c = 0; c < cols; ++c) max = max < scale * get(x[c]) ? scale * get(x[c]) : max;
    double sum = 0;
    for (int64_t c = 0; c < cols; ++c) sum += std::exp(scale * get(x[c]) - max);
    const S inverse = S(1 / sum);
    for (int64_t c = 0; c < cols; ++c) y[c] = T(std::exp(scale * get(x[c]) - max) * inverse);
  }
}

// dx = scale · y · (dy − Σ dy · y): softmax only sees differences, so the gradient of a row sums to zero.
template <class T>
void softmax_backward(const T* dy, const T* y, float scale, int64_t rows, int64_t cols, T* dx) {
  using S = stat_t<T>;
  for (int64_t r = 0; r < rows; ++r, dy += cols, y += cols, dx += cols) {
    double sum = 0;
    for (int64_t c = 0; c < cols; ++c) sum += double(get(dy[c])) * get(y[c]);
    for (int64_t c = 0; c < cols; ++c) dx[c] = T(scale * (get(y[c]) * (get(dy[c]) - S(sum))));
  }
}

// A rotation of the pairs (c, half + c) by an angle that grows with the position: products of two rotated vectors then depend on
// the distance of their positions alone.
template <class T>
void rope(const T* x, const stat_t<T>* cos, const stat_t<T>* sin, int64_t rows, int64_t heads, int64_t head_dim,
          int64_t half, float sign, T* y) {
  using S = stat_t<T>;
  for (int64_t r = 0; r < rows; ++r, cos += half, sin += half) {
    for (int64_t h = 0; h < heads; ++h, x += head_dim, y += head_dim) {
      for (int64_t c = 0; c < half; ++c) {
        const S x1 = get(x[c]), x2 = get(x[half + c]), s = sign * sin[c];
        y[c] = T(x1 * cos[c] - x2 * s);
        y[half + c] = T(x2 * cos[c] + x1 * s);
      }
      for (int64_t c = 2 * half; c < head_dim; ++c) y[c] = x[c];
    }
  }
}

template <class S>
S sigmoid(S x) {
  return 1 / (1 + std::exp(-x));
}
template <class S>
S silu(S x) {
  return x / (1 + std::exp(-x));
}
// d silu / dx = σ · (1 + x · (1 − σ)).
template <class S>
S silu_slope(S x) {
  const S s = sigmoid(x);
  return s * (1 + x * (1 - s));
}

template <class T>
void silu_forward(const T* x, int64_t n, T* y) {
  for (int64_t i = 0; i < n; ++i) y[i] = T(silu(get(x[i])));
}
template <class T>
void silu_backward(const T* dy, const T* x, int64_t n, T* dx) {
  for (int64_t i = 0; i < n; ++i) dx[i] = T(get(dy[i]) * silu_slope(get(x[i])));
}

// The share of a normal variable's values below x, and the slope of x · share: share + x · density.
template <class S>
S normal_share(S x) {
  return S(0.5) * (1 + std::erf(x * S(0.70710678118654752)));
}
template <class T>
void gelu_forward(const T* x, int64_t n, T* y) {
  for (int64_t i = 0; i < n; ++i) y[i] = T(get(x[i]) * normal_share(get(x[i])));
}
template <class T>
void gelu_backward(const T* dy, const T* x, int64_t n, T* dx) {
  using S = stat_t<T>;
  for (int64_t i = 0; i < n; ++i) {
    const S v = get(x[i]), density = S(0.39894228040143268) * std::exp(S(-0.5) * v * v);
    dx[i] = T(get(dy[i]) * (normal_share(v) + v * density));
  }
}

// 1 + tanh(u) with u = √(2/π) (x + 0.044715 x³).
template <class S>
S gelu_tanh(S x) {
  return std::tanh(S(0.79788456080286536) * x * (1 + S(0.044715) * x * x));
}
template <class T>
void gelu_tanh_forward(const T* x, int64_t n, T* y) {
  using S = stat_t<T>;
  for (int64_t i = 0; i < n; ++i) y[i] = T(S(0.5) * get(x[i]) * (1 + gelu_tanh(get(x[i]))));
}
template <class T>
void gelu_tanh_backward(const T* dy, const T* x, int64_t n, T* dx) {
  using S = stat_t<T>;
  for (int64_t i = 0; i < n; ++i) {
    const S v = get(x[i]), t = gelu_tanh(v);
    const S near = std::clamp(v, S(-1e4), S(1e4));  // beyond, 1 − t² is 0, and must not meet an overflow
    const S du = S(0.79788456080286536) * (1 + S(3 * 0.044715) * near * near);
    dx[i] = T(get(dy[i]) * (S(0.5) * (1 + t) + S(0.5) * near * (1 - t * t) * du));
  }
}

template <class T>
void soft_cap_forward(const T* x, float cap, int64_t n, T* y) {
  using S = stat_t<T>;
  for (int64_t i = 0; i < n; ++i) y[i] = T(S(cap) * std::tanh(get(x[i]) / S(cap)));
}
template <class T>
void soft_cap_backward(const T* dy, const T* y, float cap, int64_t n, T* dx) {
  using S = stat_t<T>;
  for (int64_t i = 0; i < n; ++i) {
    const S t = get(y[i]) / S(cap);
    dx[i] = T(get(dy[i]) * (1 - t * t));
  }
}

template <class T>
void swiglu_forward(const T* gate, const T* up, int64_t n, T* y) {
  for (int64_t i = 0; i < n; ++i) y[i] = T(silu(get(gate[i])) * get(up[i]));
}
template <class T>
void swiglu_backward(const T* dy, const T* gate, const T* up, int64_t n, T* dgate, T* dup) {
  using S = stat_t<T>;
  for (int64_t i = 0; i < n; ++i) {
    const S d = get(dy[i]), g = get(gate[i]), u = get(up[i]);
    dgate[i] = T(d * u * silu_slope(g));
    dup[i] = T(d * silu(g));
  }
}

// dtable[ids[r]] += dy[r], the columns [begin, end) only: an id may occur in many rows, so rows can't be cut.
template <class T>
void embedding_backward(const T* dy, const int32_t* ids, int64_t rows, int64_t cols, int64_t begin, int64_t end,
                        stat_t<T>* dtable) {
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t c = begin; c < end; ++c) dtable[ids[r] * cols + c] += get(dy[r * cols + c]);
}

constexpr int32_t kIgnoredLabel = -100;

// loss = log Σ exp(x) − x[label], with the maximum taken out so that nothing overflows; its gradient is softmax(x) − one-hot(label).
template <class T>
void cross_entropy(T* logits, const int32_t* labels, float scale, int64_t rows, int64_t cols, stat_t<T>* losses,
                   bool keep_logits) {
  using S = stat_t<T>;
  for (int64_t r = 0; r < rows; ++r, logits += cols) {
    if (labels[r] == kIgnoredLabel) {
      losses[r] = 0;
      for (int64_t c = 0; c < cols && !keep_logits; ++c) logits[c] = T(S(0));
      continue;
    }
    const S max = row_max(logits, cols);
    double sum = 0;
    for (int64_t c = 0; c < cols; ++c) sum += std::exp(get(logits[c]) - max);
    losses[r] = S(std::log(sum) + (max - get(logits[labels[r]])));
    if (keep_logits) continue;
    const S inverse = S(1 / sum);
    for (int64_t c = 0; c < cols; ++c)
      logits[c] = T(scale * (std::exp(get(logits[c]) - max) * inverse - S(c == labels[r] ? 1 : 0)));
  }
}

template <class T>
void add(const T* a, const T* b, int64_t n, T* y) {
  for (int64_t i = 0; i < n; ++i) y[i] = T(get(a[i]) + get(b[i]));
}
template <class T>
void multiply(const T* a, const T* b, int64_t n, T* y) {
  for (int64_t i = 0; i < n; ++i) y[i] = T(get(a[i]) * get(b[i]));
}
template <class T>
void scale(const T* a, float s, int64_t n, T* y) {
  for (int64_t i = 0; i < n; ++i) y[i] = T(s * get(a[i]));
}
template <class T>
void add_row_vector(const T* x, const stat_t<T>* vector, int64_t rows, int64_t cols, T* y) {
  for (int64_t r = 0; r < rows; ++r, x += cols, y += cols)
    for (int64_t c = 0; c < cols; ++c) y[c] = T(get(x[c]) + vector[c]);
}
template <class T>
void add_column_sums(const T* x, int64_t rows, int64_t cols, int64_t begin, int64_t end, stat_t<T>* sums) {
  for (int64_t c = begin; c < end; ++c) {
    double sum = 0;
    for (int64_t r = 0; r < rows; ++r) sum += get(x[r * cols + c]);
    sums[c] += stat_t<T>(sum);
  }
}

}  // namespace ref
}  // namespace sedum
