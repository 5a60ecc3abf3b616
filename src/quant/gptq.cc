#include "quant/gptq.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>

#include "base/error.h"
#include "compute/dtype/dtype.h"
#include "compute/kernels/products.h"
#include "quant/cholesky.h"

namespace sedum {
namespace {

constexpr int64_t kBlock = 128;  // columns between two updates of all that follows, as in the paper

struct Scale {
  float scale = 1;
  uint8_t zero = 0;
};

// The widest of the group's values, or a share of them, set the scale, which is stored as f16.
Scale scale_of(const float* w, int64_t n, const GptqOptions& options, float share = 1) {
  const float top = float((1 << options.bits) - 1);
  float least = 0, most = 0;
  for (int64_t i = 0; i < n; ++i) least = std::min(least, w[i]), most = std::max(most, w[i]);
  least *= share, most *= share;
  if (options.symmetric) most = std::max(-least, most), least = -most;
  const auto stored = [](float scale) { return scale > 0 && std::isfinite(scale) ? f16_to_f32(f32_to_f16(scale)) : 1; };
  const auto usable = [](float scale) { return scale > 0 && std::isfinite(scale) ? scale : 1; };
  float scale = usable(stored((most - least) / top));
  if (options.symmetric) return {scale, uint8_t((top + 1) / 2)};
  // Files hold the zero point less one, so that it is at least one: a group without negative values gives up its lowest step.
  if (least == 0) scale = usable(stored(most / (top - 1)));
  const float zero = std::clamp(std::nearbyint(-least / scale), 1.0f, top);
  return {scale, uint8_t(zero)};
}

uint8_t rounded(float w, const Scale& s, int bits) {
  const float top = float((1 << bits) - 1), q = std::nearbyint(w / s.scale) + float(s.zero);
  return q > 0 ? uint8_t(std::min(q, top)) : uint8_t{0};  // NaN gives 0
}

GroupQuantised empty_result(int64_t rows, int64_t cols, const GptqOptions& options) {
  if (options.bits != 2 && options.bits != 4 && options.bits != 8)
    throw ApiError("gptq", "2, 4 or 8 bits, not " + std::to_string(options.bits));
  if (options.group_size < 1) throw ApiError("gptq", "a group has at least one column");
  GroupQuantised r;
  r.rows = rows, r.cols = cols, r.bits = options.bits;
  r.groups = (cols + options.group_size - 1) / options.group_size;
  r.q.resize(size_t(rows * cols)), r.scales.resize(size_t(rows * r.groups)), r.zeros.resize(size_t(rows * r.groups));
  r.g_idx.resize(size_t(cols));
  return r;
}

void keep_scale(GroupQuantised& r, int64_t row, int64_t group, const Scale& s) {
  r.scales[size_t(row * r.groups + group)] = s.scale, r.zeros[size_t(row * r.groups + group)] = s.zero;
}

constexpr int kClips = 11;
float clip_share(int step) { return 1 - 0.05f * float(step); }

// d H dᵀ over n columns of a row and their block of H. One sum for each column: the same bits whatever the number of threads.
float group_error(const float* w, int64_t n, const Scale& s, int bits, const float* h, int64_t stride, float* d) {
  for (int64_t i = 0; i < n; ++i) d[i] = s.scale * float(int(rounded(w[i], s, bits)) - int(s.zero)) - w[i];
  float error = 0;
  for (int64_t i = 0; i < n; ++i) {
    float sum = 0;
    for (int64_t j = 0; j < n; ++j) sum += h[i * stride + j] * d[j];
    error += d[i] * sum;
  }
  return error;
}

// Rounds each group by what scale_for(its values, its first column, their number) gives.
template <class ScaleFor>
GroupQuantised rounded_groups(ThreadPool& pool, const std::vector<float>& w, int64_t rows, int64_t cols,
                              const GptqOptions& options, ScaleFor scale_for) {
  GroupQuantised r = empty_result(rows, cols, options);
  for (int64_t i = 0; i < cols; ++i) r.g_idx[size_t(i)] = int32_t(i / options.group_size);
  pool.parallel_for(rows, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row)
      for (int64_t g = 0; g < r.groups; ++g) {
        const int64_t from = g * options.group_size, to = std::min(cols, from + options.group_size);
        const Scale s = scale_for(&w[size_t(row * cols + from)], from, to - from);
        keep_scale(r, row, g, s);
        for (int64_t i = from; i < to; ++i)
          r.q[size_t(row * cols + i)] = rounded(w[size_t(row * cols + i)], s, options.bits);
      }
  });
  return r;
}

}  // namespace

std::vector<float> GroupQuantised::values(ThreadPool& pool) const {
  std::vector<float> all(size_t(rows * cols));
  values_to(pool, all.data());
  return all;
}

void GroupQuantised::values_to(ThreadPool& pool, float* to) const {
  pool.parallel_for(rows, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r)
      for (int64_t c = 0; c < cols; ++c) to[r * cols + c] = value(r, c);
  });
}

HessianFactor::HessianFactor(ThreadPool& pool, std::vector<float> h, int64_t cols, const GptqOptions& options)
    : cols_(cols), order_(size_t(cols)), dead_(size_t(cols)) {
  if (int64_t(h.size()) != cols * cols) throw ApiError("HessianFactor", "the Hessian is no square of the columns");
  const auto diagonal = [&](int64_t i) -> float& { return h[size_t(i * cols + i)]; };
  std::iota(order_.begin(), order_.end(), 0);
  if (options.desc_act)
    std::stable_sort(order_.begin(), order_.end(), [&](int32_t a, int32_t b) { return diagonal(a) > diagonal(b); });
  double mean = 0;
  for (int64_t i = 0; i < cols; ++i) {
    dead_[size_t(i)] = diagonal(order_[size_t(i)]) == 0;
    if (dead_[size_t(i)]) diagonal(order_[size_t(i)]) = 1;
  }
  for (int64_t i = 0; i < cols; ++i) mean += diagonal(i) / double(cols);
  double damp = options.damp_percent * mean;
  upper_.resize(h.size());
  for (int trial = 0;; ++trial, damp *= 10) {
    // Reversed: what U needs first stands last.
    pool.parallel_for(cols, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const float* row = &h[size_t(int64_t(order_[size_t(cols - 1 - i)]) * cols)];
        for (int64_t j = 0; j < cols; ++j) upper_[size_t(i * cols + j)] = row[order_[size_t(cols - 1 - j)]];
        upper_[size_t(i * cols + i)] += float(damp);
      }
    });
    if (cholesky(pool, upper_.data(), cols)) break;
    if (trial == 2)
      throw Error("the calibration rows give a matrix that cannot be factored, of " + std::to_string(cols) + " columns",
                  "give more calibration rows, or check the model for values that are not finite");
  }
  invert_lower(pool, upper_.data(), cols);
  // U[i][j] = N[K−1−i][K−1−j]: reversing both is reversing all that lies in a row after the other.
  const int64_t size = cols * cols;
  pool.parallel_for(size / 2, [&](int64_t begin, int64_t end) {
    std::swap_ranges(upper_.begin() + begin, upper_.begin() + end, upper_.rbegin() + begin);
  });
}

GroupQuantised gptq(ThreadPool& pool, const std::vector<float>& w, int64_t rows, int64_t cols,
                    const HessianFactor& factor, const GptqOptions& options) {
  if (factor.cols() != cols || int64_t(w.size()) != rows * cols) throw ApiError("gptq", "sizes do not fit");
  GroupQuantised r = empty_result(rows, cols, options);
  const std::vector<int32_t>& order = factor.order();
  for (int64_t i = 0; i < cols; ++i) r.g_idx[size_t(order[size_t(i)])] = int32_t(i / options.group_size);
  std::vector<float> left(w.size()), negative_errors(size_t(rows * kBlock));  // `left` in the order of rounding
  pool.parallel_for(rows, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row)
      for (int64_t i = 0; i < cols; ++i)
        left[size_t(row * cols + i)] = factor.dead(i) ? 0 : w[size_t(row * cols + order[size_t(i)])];
  });
  for (int64_t b = 0; b < cols; b += kBlock) {
    const int64_t end_of_block = std::min(cols, b + kBlock), width = end_of_block - b;
    pool.parallel_for(rows, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        float* const v = &left[size_t(row * cols)];
        float* const errors = &negative_errors[size_t(row * width)];
        Scale s{r.scales[size_t(row * r.groups + b / options.group_size)],
                r.zeros[size_t(row * r.groups + b / options.group_size)]};
        for (int64_t i = b; i < end_of_block; ++i) {
          if (i % options.group_size == 0) {
            s = scale_of(v + i, std::min(options.group_size, cols - i), options);
            keep_scale(r, row, i / options.group_size, s);
          }
          const uint8_t q = rounded(v[i], s, options.bits);
          r.q[size_t(row * cols + order[size_t(i)])] = q;
          const float* const u = factor.upper() + i * cols;
          const float error = (s.scale * float(int(q) - int(s.zero)) - v[i]) / u[i];
          errors[i - b] = error;
          for (int64_t j = i + 1; j < end_of_block; ++j) v[j] += error * u[j];
        }
      }
    });
    if (end_of_block == cols) break;
    product_nn(pool, Compute::kF32, {DType::kF32, negative_errors.data(), rows, width, size_t(width) * 4},
               {DType::kF32, factor.upper() + b * cols + end_of_block, width, cols - end_of_block, size_t(cols) * 4},
               {DType::kF32, &left[size_t(end_of_block)], rows, cols - end_of_block, size_t(cols) * 4}, true);
  }
  return r;
}

GroupQuantised round_to_nearest(ThreadPool& pool, const std::vector<float>& w, int64_t rows, int64_t cols,
                                const GptqOptions& options) {
  return rounded_groups(pool, w, rows, cols, options,
                        [&](const float* group, int64_t, int64_t n) { return scale_of(group, n, options); });
}

GroupQuantised round_clipped(ThreadPool& pool, const std::vector<float>& w, int64_t rows, int64_t cols,
                             const std::vector<float>& hessian, const GptqOptions& options) {
  if (int64_t(hessian.size()) != cols * cols || int64_t(w.size()) != rows * cols)
    throw ApiError("round_clipped", "sizes do not fit");
  return rounded_groups(pool, w, rows, cols, options, [&](const float* group, int64_t from, int64_t n) {
    std::vector<float> d(static_cast<size_t>(n));
    Scale best;
    float least = 0;
    for (int step = 0; step < kClips; ++step) {
      const Scale s = scale_of(group, n, options, clip_share(step));
      const float error = group_error(group, n, s, options.bits, &hessian[size_t(from * cols + from)], cols, d.data());
      if (step == 0 || error < least) best = s, least = error;
    }
    return best;
  });
}

}  // namespace sedum
