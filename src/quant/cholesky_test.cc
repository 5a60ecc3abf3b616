#include "quant/cholesky.h"

#include <cmath>

#include <gtest/gtest.h>

#include "base/random.h"

namespace sedum {
namespace {

// X Xᵀ / n + I / 10: the smallest eigenvalue is at least 0.1, the largest below 5.
std::vector<float> positive_definite(int64_t n) {
  const Random random(5, Purpose::kTest);
  std::vector<double> x(size_t(n * n));
  for (size_t i = 0; i < x.size(); ++i) x[i] = random.normal(i);
  std::vector<float> a(size_t(n * n));
  for (int64_t i = 0; i < n; ++i)
    for (int64_t j = 0; j < n; ++j) {
      double sum = i == j ? 0.1 : 0;
      for (int64_t k = 0; k < n; ++k) sum += x[size_t(i * n + k)] * x[size_t(j * n + k)] / double(n);
      a[size_t(i * n + j)] = float(sum);
    }
  return a;
}

TEST(Cholesky, FactorsAndInvertsAtBlockEdges) {
  for (const int64_t n : {1, 5, 64, 65, 150}) {
    const std::vector<float> a = positive_definite(n);
    std::vector<float> first;
    for (const int threads : {1, 2, 3}) {
      ThreadPool pool(threads);
      std::vector<float> l = a;
      ASSERT_TRUE(cholesky(pool, l.data(), n));
      // Backward error of Cholesky: n ε of the diagonal (Higham 2002, 10.3), which is below 5.
      for (int64_t i = 0; i < n; ++i)
        for (int64_t j = 0; j < n; ++j) {
          double sum = 0;
          for (int64_t k = 0; k <= std::min(i, j); ++k) sum += double(l[size_t(i * n + k)]) * l[size_t(j * n + k)];
          ASSERT_NEAR(sum, a[size_t(i * n + j)], double(n + 4) * 0x1p-23 * 5) << n << " at " << i << "," << j;
          if (j > i) {
            ASSERT_EQ(l[size_t(i * n + j)], 0);
          }
        }
      std::vector<float> inverse = l;
      invert_lower(pool, inverse.data(), n);
      // L⁻¹ L − I: n ε times the condition of L, at most √50.
      for (int64_t i = 0; i < n; ++i)
        for (int64_t j = 0; j <= i; ++j) {
          double sum = 0;
          for (int64_t k = j; k <= i; ++k) sum += double(inverse[size_t(i * n + k)]) * l[size_t(k * n + j)];
          ASSERT_NEAR(sum, i == j ? 1 : 0, double(n + 4) * 0x1p-23 * 8) << n << " at " << i << "," << j;
        }
      if (threads == 1) first = inverse;
      EXPECT_EQ(inverse, first) << threads << " threads";
    }
  }
}

TEST(Cholesky, SaysWhenThereIsNone) {
  ThreadPool pool(1);
  std::vector<float> indefinite = {1, 2, 2, 1}, broken = {NAN, 0, 0, 1};
  EXPECT_FALSE(cholesky(pool, indefinite.data(), 2));
  EXPECT_FALSE(cholesky(pool, broken.data(), 2));
}

}  // namespace
}  // namespace sedum
