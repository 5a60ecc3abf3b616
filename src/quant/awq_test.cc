#include "quant/awq.h"

#include <cmath>

#include <gtest/gtest.h>

#include "base/random.h"

namespace sedum {
namespace {

// Inputs of which every eighth column is twenty times as large as the others.
struct Data {
  int64_t cols = 96;
  std::vector<AwqWeights> weights;
  std::vector<float> hessian, magnitudes;
  Data() : hessian(size_t(cols * cols)), magnitudes(size_t(cols)) {
    const Random random(21, Purpose::kTest);
    for (const int64_t rows : {24, 8}) {
      weights.push_back({std::vector<float>(size_t(rows * cols)), rows});
      for (size_t i = 0; i < weights.back().w.size(); ++i)
        weights.back().w[i] = 0.05f * random.normal(uint64_t(rows) * 100'000 + i);
    }
    const int64_t samples = 200;
    std::vector<double> x(static_cast<size_t>(cols));
    for (int64_t s = 0; s < samples; ++s) {
      for (int64_t c = 0; c < cols; ++c)
        x[size_t(c)] = random.normal(uint64_t(10'000'000 + s * cols + c)) * (c % 8 == 5 ? 20 : 1);
      for (int64_t i = 0; i < cols; ++i) {
        magnitudes[size_t(i)] += float(std::abs(x[size_t(i)]) / double(samples));
        for (int64_t j = 0; j < cols; ++j) hessian[size_t(i * cols + j)] += float(x[size_t(i)] * x[size_t(j)]);
      }
    }
  }
};

// The naive twin of the error: scaled, rounded, scaled back, and the quadratic forms of error and output by three loops.
double naive_error(const Data& d, const std::vector<float>& s, const GptqOptions& o) {
  ThreadPool pool(1);
  double error = 0;
  for (const AwqWeights& layer : d.weights) {
    std::vector<float> scaled = layer.w;
    for (size_t i = 0; i < scaled.size(); ++i) scaled[i] *= s[i % size_t(d.cols)];
    const GroupQuantised q = round_to_nearest(pool, scaled, layer.rows, d.cols, o);
    double lost = 0, size = 0;
    for (int64_t r = 0; r < layer.rows; ++r)
      for (int64_t i = 0; i < d.cols; ++i)
        for (int64_t j = 0; j < d.cols; ++j) {
          const auto off = [&](int64_t c) {
            return double(q.value(r, c)) / s[size_t(c)] - layer.w[size_t(r * d.cols + c)];
          };
          const double h = d.hessian[size_t(i * d.cols + j)];
          lost += off(i) * h * off(j);
          size += double(layer.w[size_t(r * d.cols + i)]) * h * layer.w[size_t(r * d.cols + j)];
        }
    error += lost / size;
  }
  return error;
}

TEST(Awq, ScalesWhatMeetsLargeActivations) {
  const Data d;
  const GptqOptions o{.bits = 4, .group_size = 32};
  ThreadPool one(1), two(2);
  const AwqScales a = awq_scales(one, d.weights, d.cols, d.hessian, d.magnitudes, o);
  EXPECT_GT(a.alpha, 0);
  EXPECT_LT(a.error, 0.6 * a.error_without);
  EXPECT_GT(a.s[5], a.s[6]);
  EXPECT_EQ(awq_scales(two, d.weights, d.cols, d.hessian, d.magnitudes, o).s, a.s);
  EXPECT_NEAR(a.error, naive_error(d, a.s, o), 1e-4 * a.error);
  EXPECT_NEAR(a.error_without, naive_error(d, std::vector<float>(size_t(d.cols), 1.0f), o), 1e-4 * a.error_without);
}

TEST(Awq, NothingIsGainedWhereAllColumnsAreAlike) {
  Data d;
  std::fill(d.magnitudes.begin(), d.magnitudes.end(), 3.0f);
  ThreadPool pool(1);
  const AwqScales a = awq_scales(pool, d.weights, d.cols, d.hessian, d.magnitudes, {.bits = 4, .group_size = 32});
  for (const float s : a.s) EXPECT_NEAR(s, 1, 1e-6);
}

}  // namespace
}  // namespace sedum
