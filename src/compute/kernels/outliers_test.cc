#include "compute/kernels/outliers.h"

#include <cmath>
#include <cstring>
#include <limits>

#include <gtest/gtest.h>

#include "base/random.h"
#include "compute/kernels/isa.h"
#include "compute/kernels/quantised.h"
#include "compute/kernels/ref/quantised.h"

namespace sedum {
namespace {

constexpr float kThreshold = 6;

// Rows of a normal distribution, and in some columns values of some dozens: what a transformer's residual stream looks like.
std::vector<float> activations(int64_t rows, int64_t cols) {
  const Random random(11, Purpose::kTest);
  std::vector<float> x(size_t(rows * cols));
  for (size_t i = 0; i < x.size(); ++i) {
    x[i] = random.normal(i);
    if (i % size_t(cols) % 61 == 7 && i / size_t(cols) % 3 != 1) x[i] *= 40;
  }
  return x;
}

struct Weights {
  Weights(DType type, int64_t n, int64_t k) : dtype(type), rows(n), cols(k), bytes(size_t(n) * row_bytes(type, k)) {
    const Random random(12, Purpose::kTest);
    std::vector<float> values(size_t(n * k));
    for (size_t i = 0; i < values.size(); ++i) values[i] = 0.05f * random.normal(i);
    encode(type, values.data(), bytes.data(), n * k);
  }
  ConstMatrix matrix() const { return {dtype, bytes.data(), rows, cols, row_bytes(dtype, cols)}; }
  DType dtype;
  int64_t rows, cols;
  std::vector<std::byte> bytes;
};

ConstMatrix in(const std::vector<float>& x, int64_t rows) {
  return {DType::kF32, x.data(), rows, int64_t(x.size()) / rows, x.size() / size_t(rows) * 4};
}
MutableMatrix out(std::vector<float>& y, int64_t rows, int64_t cols) {
  y.resize(size_t(rows * cols));
  return {DType::kF32, y.data(), rows, cols, size_t(cols) * 4};
}

TEST(Outliers, EveryInstructionSetAndThreadCountGivesTheTwinsBits) {
  ThreadPool one(1), three(3);
  for (const DType dtype : {DType::kQ8_0, DType::kQ4_0, DType::kQ5_1, DType::kQ6_K, DType::kF32, DType::kBF16}) {
    const int64_t m = 7, n = 37, k = 512;
    const Weights w(dtype, n, k);
    const auto packed = pack_int8(one, w.matrix());
    const std::vector<float> x = activations(m, k);
    std::vector<float> wanted, got, plain;
    ref::product_int8_outliers(in(x, m), kThreshold, w.matrix(), out(wanted, m, n));
    for (const Isa each : available_isas()) {
      const ScopedIsa forced(each);
      for (ThreadPool* pool : {&one, &three}) {
        keep_outliers(*packed, w.matrix(), kThreshold);
        product_packed_int8(*pool, in(x, m), *packed, out(got, m, n));
        EXPECT_EQ(std::memcmp(got.data(), wanted.data(), got.size() * 4), 0) << name(dtype) << " " << name(each);
      }
    }
    // Without outliers it is the int8 product.
    ref::product_int8(in(x, m), w.matrix(), out(plain, m, n));
    keep_outliers(*packed, w.matrix(), 1e9f);
    product_packed_int8(three, in(x, m), *packed, out(got, m, n));
    EXPECT_EQ(std::memcmp(got.data(), plain.data(), got.size() * 4), 0) << name(dtype);
  }
}

TEST(Outliers, ARowsBitsDoNotDependOnItsBatch) {
  ThreadPool pool(2);
  const int64_t m = 9, n = 48, k = 256;
  const Weights w(DType::kQ5_0, n, k);
  const auto packed = pack_int8(pool, w.matrix());
  const std::vector<float> x = activations(m, k);
  std::vector<float> many, row;
  keep_outliers(*packed, w.matrix(), kThreshold);
  product_packed_int8(pool, in(x, m), *packed, out(many, m, n));
  for (int64_t i = 0; i < m; ++i) {
    product_packed_int8(pool, {DType::kF32, &x[size_t(i * k)], 1, k, 0}, *packed, out(row, 1, n));
    EXPECT_EQ(std::memcmp(row.data(), &many[size_t(i * n)], size_t(n) * 4), 0) << i;
  }
}

// Half a step of what is left in the block, for each activation; with outliers in the block the step is that of the outlier.
TEST(Outliers, TheErrorIsThatOfWhatIsLeft) {
  ThreadPool pool(2);
  const int64_t m = 6, n = 24, k = 1024;
  const Weights w(DType::kQ8_0, n, k);
  const auto packed = pack_int8(pool, w.matrix());
  const std::vector<float> x = activations(m, k);
  std::vector<float> with, without, row(k);
  product_packed_int8(pool, in(x, m), *packed, out(without, m, n));
  keep_outliers(*packed, w.matrix(), kThreshold);
  product_packed_int8(pool, in(x, m), *packed, out(with, m, n));
  double squares_with = 0, squares_without = 0;
  for (int64_t j = 0; j < n; ++j) {
    decode(w.dtype, w.bytes.data() + size_t(j) * row_bytes(w.dtype, k), row.data(), k);
    for (int64_t i = 0; i < m; ++i) {
      double exact = 0, bound = 0, magnitude = 0;
      for (int64_t at = 0; at < k; at += 32) {
        double top = 0, weights = 0;
        for (int64_t l = at; l < at + 32; ++l) {
          const double v = x[size_t(i * k + l)];
          exact += v * row[size_t(l)], magnitude += std::abs(v * row[size_t(l)]), weights += std::abs(row[size_t(l)]);
          if (std::abs(v) <= kThreshold) top = std::max(top, std::abs(v));
        }
        bound += top / 254 * weights;
      }
      bound += double(k) * 0x1p-24 * magnitude;  // float sums
      const double error = with[size_t(i * n + j)] - exact, other = without[size_t(i * n + j)] - exact;
      EXPECT_LE(std::abs(error), bound);
      squares_with += error * error, squares_without += other * other;
    }
  }
  EXPECT_LT(squares_with, 0.1 * squares_without);
}

TEST(Outliers, BrainFloatsAccumulationAndWhatIsNotFinite) {
  ThreadPool pool(2);
  const int64_t m = 3, n = 20, k = 64;
  const Weights w(DType::kQ4_1, n, k);
  const auto packed = pack_int8(pool, w.matrix());
  std::vector<float> x = activations(m, k);
  std::vector<bf16> x16, y16(size_t(m * n), bf16(1.0f)), wanted16 = y16;
  for (const float v : x) x16.push_back(bf16(v));
  const ConstMatrix in16{DType::kBF16, x16.data(), m, k, size_t(k) * 2};
  keep_outliers(*packed, w.matrix(), kThreshold);
  product_packed_int8(pool, in16, *packed, {DType::kBF16, y16.data(), m, n, size_t(n) * 2}, true);
  ref::product_int8_outliers(in16, kThreshold, w.matrix(), {DType::kBF16, wanted16.data(), m, n, size_t(n) * 2}, true);
  EXPECT_EQ(std::memcmp(y16.data(), wanted16.data(), y16.size() * 2), 0);

  x[5] = std::numeric_limits<float>::infinity(), x[size_t(k + 3)] = std::numeric_limits<float>::quiet_NaN();
  std::vector<float> y;
  product_packed_int8(pool, in(x, m), *packed, out(y, m, n));
  for (int64_t j = 0; j < n; ++j) {
    EXPECT_TRUE(std::isnan(y[size_t(j)]));
    EXPECT_TRUE(std::isnan(y[size_t(n + j)]));
    EXPECT_TRUE(std::isfinite(y[size_t(2 * n + j)]));
  }
}

}  // namespace
}  // namespace sedum
