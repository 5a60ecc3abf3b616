#pragma once
// What the tests of these kernels share: inputs, and comparison against a twin in double.

#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "base/random.h"
#include "compute/dtype/dtype.h"
#include "compute/kernels/isa.h"

namespace sedum {

// The instruction sets that differ here: none of these kernels has anything of its own for AVX-512 with BF16.
inline std::vector<Isa> isas_to_test() {
  std::vector<Isa> all = available_isas();
  std::erase(all, Isa::kAvx512Bf16);
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

}  // namespace sedum
