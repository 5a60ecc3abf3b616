#include "quant/gptq.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <span>

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/random.h"
#include "compute/dtype/dtype.h"

namespace sedum {
namespace {

struct Layer {
  int64_t rows, cols, samples;
  std::vector<float> w, hessian;
};

// Inputs whose columns lean on each other and differ in size, as those of a model do.
Layer make_layer(int64_t rows, int64_t cols, int64_t samples = 300) {
  Layer l{rows, cols, samples, std::vector<float>(size_t(rows * cols)), std::vector<float>(size_t(cols * cols))};
  const Random random(11, Purpose::kTest);
  for (size_t i = 0; i < l.w.size(); ++i) l.w[i] = 0.05f * random.normal(i);
  std::vector<double> h(l.hessian.size()), x(static_cast<size_t>(cols));
  for (int64_t s = 0; s < samples; ++s) {
    const double shared = random.normal(uint64_t(1'000'000 + s));
    for (int64_t c = 0; c < cols; ++c)
      x[size_t(c)] = (random.normal(uint64_t(2'000'000 + s * cols + c)) + shared) * (c % 7 == 3 ? 4 : 1);
    for (int64_t i = 0; i < cols; ++i)
      for (int64_t j = 0; j < cols; ++j) h[size_t(i * cols + j)] += x[size_t(i)] * x[size_t(j)];
  }
  for (size_t i = 0; i < h.size(); ++i) l.hessian[i] = float(h[i]);
  return l;
}

// Σ over rows of (w − ŵ) H (w − ŵ)ᵀ: what GPTQ makes small.
double output_error(const Layer& l, const GroupQuantised& q) {
  double error = 0;
  std::vector<double> d(static_cast<size_t>(l.cols));
  for (int64_t r = 0; r < l.rows; ++r) {
    for (int64_t c = 0; c < l.cols; ++c) d[size_t(c)] = double(l.w[size_t(r * l.cols + c)]) - q.value(r, c);
    for (int64_t i = 0; i < l.cols; ++i)
      for (int64_t j = 0; j < l.cols; ++j) error += d[size_t(i)] * l.hessian[size_t(i * l.cols + j)] * d[size_t(j)];
  }
  return error;
}

// The naive twin: the paper's algorithm column by column in double, with the inverse Hessian itself. After a column is rounded its
// error goes to the others by the column of the inverse, and the column is eliminated from the inverse.
std::vector<uint8_t> naive_gptq(const Layer& l, const GptqOptions& o) {
  const int64_t n = l.cols;
  std::vector<int64_t> order(static_cast<size_t>(n));
  std::iota(order.begin(), order.end(), 0);
  if (o.desc_act)
    std::stable_sort(order.begin(), order.end(),
                     [&](int64_t a, int64_t b) { return l.hessian[size_t(a * n + a)] > l.hessian[size_t(b * n + b)]; });
  std::vector<double> a(size_t(n * 2 * n));
  double mean = 0;
  for (int64_t i = 0; i < n; ++i) mean += double(l.hessian[size_t(i * n + i)]) / double(n);
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = 0; j < n; ++j)
      a[size_t(i * 2 * n + j)] =
          l.hessian[size_t(order[size_t(i)] * n + order[size_t(j)])] + (i == j ? o.damp_percent * mean : 0);
    a[size_t(i * 2 * n + n + i)] = 1;
  }
  for (int64_t p = 0; p < n; ++p) {  // Gauss and Jordan
    const double pivot = a[size_t(p * 2 * n + p)];
    for (int64_t j = 0; j < 2 * n; ++j) a[size_t(p * 2 * n + j)] /= pivot;
    for (int64_t i = 0; i < n; ++i) {
      const double factor = a[size_t(i * 2 * n + p)];
      if (i != p)
        for (int64_t j = 0; j < 2 * n; ++j) a[size_t(i * 2 * n + j)] -= factor * a[size_t(p * 2 * n + j)];
    }
  }
  std::vector<double> inverse(size_t(n * n)), w(l.w.size());
  for (int64_t i = 0; i < n; ++i)
    for (int64_t j = 0; j < n; ++j) inverse[size_t(i * n + j)] = a[size_t(i * 2 * n + n + j)];
  for (int64_t r = 0; r < l.rows; ++r)
    for (int64_t i = 0; i < n; ++i) w[size_t(r * n + i)] = l.w[size_t(r * n + order[size_t(i)])];
  std::vector<uint8_t> q(l.w.size());
  const double top = (1 << o.bits) - 1;
  std::vector<double> scale(size_t(l.rows)), zero(size_t(l.rows));
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t r = 0; r < l.rows; ++r) {
      double* row = &w[size_t(r * n)];
      if (i % o.group_size == 0) {
        const int64_t end = std::min(n, i + o.group_size);
        double least = std::min(0.0, *std::min_element(row + i, row + end));
        double most = std::max(0.0, *std::max_element(row + i, row + end));
        if (o.symmetric) most = std::max(-least, most), least = -most;
        scale[size_t(r)] = f16_to_f32(f32_to_f16(float((most - least) / top)));
        zero[size_t(r)] = o.symmetric ? (top + 1) / 2 : std::nearbyint(-least / scale[size_t(r)]);
      }
      const double stored = std::clamp(std::nearbyint(row[i] / scale[size_t(r)]) + zero[size_t(r)], 0.0, top);
      q[size_t(r * n + order[size_t(i)])] = uint8_t(stored);
      const double error = (row[i] - scale[size_t(r)] * (stored - zero[size_t(r)])) / inverse[size_t(i * n + i)];
      for (int64_t j = i; j < n; ++j) row[j] -= error * inverse[size_t(i * n + j)];
    }
    const double pivot = inverse[size_t(i * n + i)];
    for (int64_t j = i + 1; j < n; ++j)
      for (int64_t k = i + 1; k < n; ++k)
        inverse[size_t(j * n + k)] -= inverse[size_t(j * n + i)] * inverse[size_t(i * n + k)] / pivot;
  }
  return q;
}

// f32 and double round differently where a value lies between two integers; each such place (some thousandths) moves its successors.
TEST(Gptq, AsTheNaiveTwin) {
  const Layer l = make_layer(24, 150);
  ThreadPool pool(2);
  for (const bool symmetric : {true, false})
    for (const bool desc_act : {false, true})
      for (const int64_t group : {32, 64, 128}) {
        const GptqOptions o{.bits = 4, .group_size = group, .symmetric = symmetric, .desc_act = desc_act};
        const HessianFactor factor(pool, l.hessian, l.cols, o);
        const GroupQuantised got = gptq(pool, l.w, l.rows, l.cols, factor, o);
        const std::vector<uint8_t> want = naive_gptq(l, o);
        int different = 0;
        for (size_t i = 0; i < want.size(); ++i) different += got.q[i] != want[i];
        EXPECT_LT(different, int(want.size()) / 100) << symmetric << desc_act << group;
      }
}

TEST(Gptq, BetterThanRoundingAndTheSameForAnyThreads) {
  const Layer l = make_layer(16, 200);
  for (const int bits : {2, 4, 8}) {
    const GptqOptions o{.bits = bits, .group_size = 64};
    ThreadPool one(1), three(3);
    const GroupQuantised a = gptq(one, l.w, l.rows, l.cols, HessianFactor(one, l.hessian, l.cols, o), o);
    const GroupQuantised b = gptq(three, l.w, l.rows, l.cols, HessianFactor(three, l.hessian, l.cols, o), o);
    EXPECT_EQ(a.q, b.q);
    EXPECT_EQ(a.scales, b.scales);
    const GroupQuantised nearest = round_to_nearest(one, l.w, l.rows, l.cols, o);
    EXPECT_LT(output_error(l, a), 0.7 * output_error(l, nearest)) << bits;
  }
}

TEST(Gptq, RoundingIsToTheNearest) {
  const Layer l = make_layer(3, 96);
  ThreadPool pool(1);
  for (const bool symmetric : {true, false}) {
    const GroupQuantised q = round_to_nearest(pool, l.w, l.rows, l.cols, {.group_size = 32, .symmetric = symmetric});
    for (int64_t r = 0; r < l.rows; ++r)
      for (int64_t c = 0; c < l.cols; ++c) {
        const float scale = q.scales[size_t(r * q.groups + c / 32)];
        // Symmetric: the largest value may lie half a step beyond the end of the range. The scale is rounded to f16.
        EXPECT_NEAR(q.value(r, c), l.w[size_t(r * l.cols + c)], scale * 0.51f);
      }
  }
}

TEST(Gptq, ColumnsThatAreNeverUsedAndOddInputs) {
  Layer l = make_layer(8, 40);
  for (int64_t i = 0; i < l.cols; ++i) l.hessian[size_t(5 * l.cols + i)] = l.hessian[size_t(i * l.cols + 5)] = 0;
  ThreadPool pool(1);
  const GptqOptions o{.group_size = 32, .desc_act = true};
  const GroupQuantised q = gptq(pool, l.w, l.rows, l.cols, HessianFactor(pool, l.hessian, l.cols, o), o);
  for (int64_t r = 0; r < l.rows; ++r) EXPECT_EQ(q.value(r, 5), 0);
  EXPECT_EQ(q.groups, 2);
  std::vector<float> broken(size_t(l.cols * l.cols), NAN);
  EXPECT_THROW(HessianFactor(pool, broken, l.cols, o), Error);
  EXPECT_THROW(round_to_nearest(pool, l.w, l.rows, l.cols, {.bits = 3}), ApiError);
}

// The weights with each group's values cut to a share of its range.
std::vector<float> cut_to(const Layer& l, int64_t group_size, float share) {
  std::vector<float> w = l.w;
  for (size_t from = 0; from < w.size(); from += size_t(group_size)) {
    const std::span<float> group(&w[from], size_t(group_size));
    const float most = std::max(0.0f, std::ranges::max(group)), least = std::min(0.0f, std::ranges::min(group));
    for (float& v : group) v = std::clamp(v, least * share, most * share);
  }
  return w;
}

// Against all eleven ranges, the weights cut to each before they are rounded; one weight of each row is far from the others.
TEST(RoundClipped, TakesTheRangeThatChangesTheOutputsLeast) {
  Layer l = make_layer(16, 96);
  for (int64_t r = 0; r < l.rows; ++r) l.w[size_t(r * l.cols + (r * 5) % l.cols)] *= 4;
  ThreadPool one(1), two(2);
  for (const int bits : {2, 4}) {
    const GptqOptions o{.bits = bits, .group_size = 32, .symmetric = false};
    const GroupQuantised q = round_clipped(one, l.w, l.rows, l.cols, l.hessian, o);
    EXPECT_EQ(round_clipped(two, l.w, l.rows, l.cols, l.hessian, o).q, q.q);
    const auto error_of = [&](const GroupQuantised& each, int64_t row, size_t from) {
      std::vector<double> d;
      for (size_t c = from; c < from + 32; ++c)
        d.push_back(double(each.value(row, int64_t(c))) - l.w[size_t(row) * 96 + c]);
      double error = 0;
      for (size_t i = 0; i < 32; ++i)
        for (size_t j = 0; j < 32; ++j) error += d[i] * l.hessian[(from + i) * 96 + from + j] * d[j];
      return error;
    };
    int narrower = 0;
    for (int step = 0; step <= 10; ++step) {
      const std::vector<float> cut = cut_to(l, 32, 1 - 0.05f * float(step));
      const GroupQuantised other = round_to_nearest(one, cut, l.rows, l.cols, o);
      for (int64_t r = 0; r < l.rows; ++r)
        for (size_t g = 0; g < 3; ++g) {
          EXPECT_LE(error_of(q, r, g * 32), (1 + 1e-4) * error_of(other, r, g * 32)) << r << " " << g << " " << step;
          const size_t at = size_t(r) * 3 + g;
          narrower += step == 0 && q.scales[at] < other.scales[at];
        }
      if (step == 0) {
        EXPECT_LT(output_error(l, q), output_error(l, other));
      }
    }
    EXPECT_GT(narrower, l.rows);
  }
}

}  // namespace
}  // namespace sedum
