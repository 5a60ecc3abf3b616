#pragma once
// What the tests of these kernels share: inputs, and comparison against a twin in double.

#include <cmath>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "base/random.h"
#include "base/thread_pool.h"
#include "compute/dtype/dtype.h"
#include "compute/kernels/isa.h"

namespace sedum {

// The instruction sets that differ here: none of these kernels has anything of its own for AVX-512 with BF16 or AMX.
inline std::vector<Isa> isas_to_test() {
  std::vector<Isa> all = available_isas();
  std::erase(all, Isa::kAvx512Bf16), std::erase(all, Isa::kAmx);
  return all;
}

template <class T>
std::vector<T> test_values(int64_t n, uint32_t seed, double size = 1) {
  const Random random(seed, Purpose::kTest);
  std::vector<T> values(static_cast<size_t>(n));
  for (size_t i = 0; i < values.size(); ++i) values[i] = T(stat_t<T>(size * double(random.normal(i))));
  return values;
}

template <class T>
std::vector<double> widened(const std::vector<T>& values) {
  std::vector<double> wide;
  for (const T v : values) wide.push_back(double(static_cast<stat_t<T>>(v)));
  return wide;
}

// Rounding to T: half a unit in the last place, relative.
template <class T>
constexpr double kRounding = sizeof(T) == 2   ? 0x1p-8
                             : sizeof(T) == 4 ? 0x1p-24
                                              : 0x1p-53;

// |actual − expected| ≤ rounding to T + `slack` roundings of f32 of a value of the size given; NaN and infinities as expected.
template <class T>
void expect_near(const std::vector<T>& actual, const std::vector<double>& expected, double slack, double size,
                 const std::string& what) {
  ASSERT_EQ(actual.size(), expected.size()) << what;
  for (size_t i = 0; i < actual.size(); ++i) {
    const double a = double(static_cast<stat_t<T>>(actual[i])), e = expected[i];
    if (std::isnan(e) || std::isinf(e)) {
      ASSERT_TRUE(std::isnan(e) ? std::isnan(a) : a == e) << what << " at " << i << ": " << a << ", expected " << e;
      continue;
    }
    const double allowed = (sizeof(T) == 2 ? 1.01 * kRounding<T> * std::abs(e) + 0x1p-133 : 0) +
                           slack * 0x1p-24 * std::max(size, std::abs(e));
    ASSERT_LE(std::abs(a - e), allowed) << what << " at " << i << ": " << a << ", expected " << e;
  }
}

template <class T>
bool same_bits(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0);
}

struct RowsShape {
  int64_t rows, cols;
};
// One value, tails of both vector widths, a model's width, a row beyond the blocks of softmax and the grains of threads.
inline const std::vector<RowsShape> kShapes = {{1, 1},   {3, 7},    {2, 16},   {5, 33},
                                               {65, 64}, {17, 576}, {3, 5003}, {130, 100}};

// Runs `check` for f32 and bf16 on every instruction set.
template <class F>
void on_all(F&& check) {
  ThreadPool pool(2);
  for (const Isa isa : isas_to_test()) {
    const ScopedIsa forced(isa);
    for (const auto [rows, cols] : kShapes) {
      const std::string what = std::string(name(isa)) + ", " + std::to_string(rows) + " × " + std::to_string(cols);
      check(pool, float(), rows, cols, what + ", f32");
      check(pool, bf16(), rows, cols, what + ", bf16");
    }
  }
}

// Sums of n terms of size one in f32: 8 steps of a random walk and a few roundings.
inline double slack(int64_t n) { return 8 + 8 * std::sqrt(double(n)); }

// (f(x + h) − f(x − h)) / 2h of Σ y · dy against the twins' backward rules.
inline void expect_gradient(const std::function<std::vector<double>(const std::vector<double>&)>& f,
                            std::vector<double> x, const std::vector<double>& dy, const std::vector<double>& dx,
                            const char* what) {
  const auto objective = [&] {
    const auto y = f(x);
    double sum = 0;
    for (size_t i = 0; i < y.size(); ++i) sum += y[i] * dy[i];
    return sum;
  };
  for (size_t i = 0; i < x.size(); ++i) {
    const double before = x[i], h = 1e-5;
    x[i] = before + h;
    const double above = objective();
    x[i] = before - h;
    const double below = objective();
    x[i] = before;
    EXPECT_NEAR((above - below) / (2 * h), dx[i], 1e-8) << what << " " << i;
  }
}

}  // namespace sedum
