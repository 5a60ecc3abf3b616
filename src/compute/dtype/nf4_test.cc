#include "compute/dtype/nf4.h"

#include <cmath>
#include <cstring>
#include <limits>
#include <string>

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/file.h"

namespace sedum {
namespace {

constexpr int64_t kRows = 210, kCols = 448;

std::string golden(const std::string& file) { return read_file(SEDUM_SOURCE_DIR "/tests/golden/dtype/nf4." + file); }

// The formula of tools/golden/dtype_nf4.py.
std::vector<float> golden_weights() {
  std::vector<float> w(size_t(kRows * kCols));
  uint32_t state = 12345;
  for (int64_t i = 0; i < kRows * kCols; ++i) {
    double sum = 0;
    for (int draw = 0; draw < 4; ++draw) {
      state = state * 1664525u + 1013904223u;
      sum += double(float(state >> 8) / 0x1p24f - 0.5f);
    }
    w[size_t(i)] = float(sum * std::exp2(double(i / kCols % 5) - 6));
  }
  for (int64_t i = 0; i < 64; ++i) w[size_t(7 * kCols + i)] = 0;
  w[size_t(9 * kCols + 3)] = 40;
  return w;
}

template <class T>
std::string bytes_of(const std::vector<T>& v) {
  return {reinterpret_cast<const char*>(v.data()), v.size() * sizeof(T)};
}

TEST(Nf4, QuantisesAsBitsandbytesDoes) {
  ThreadPool pool(2);
  const std::vector<float> w = golden_weights();
  const Nf4Quantised q = quantise_nf4(pool, w.data(), kRows * kCols);
  EXPECT_TRUE(bytes_of(q.packed) == golden("packed"));
  EXPECT_TRUE(bytes_of(q.scales) == golden("scales"));
  std::vector<float> nested = q.scales_scales;
  nested.push_back(q.offset);
  EXPECT_TRUE(bytes_of(nested) == golden("nested"));
  std::vector<BlockNF4> blocks(size_t(kRows * kCols / 64));
  nf4_blocks(pool, q, blocks.data());
  const std::string wanted = golden("decoded");
  std::vector<float> decoded(wanted.size() / 4);
  decode(kNF4, blocks.data(), decoded.data(), int64_t(decoded.size()));
  EXPECT_TRUE(bytes_of(decoded) == wanted);
  std::vector<BlockNF4> encoded(blocks.size());
  encode(kNF4, w.data(), encoded.data(), kRows * kCols);
  EXPECT_EQ(std::memcmp(encoded.data(), blocks.data(), blocks.size() * sizeof(BlockNF4)), 0);
}

// The naive twin: of all sixteen values the nearest one.
TEST(Nf4, EachValueBecomesTheNearest) {
  ThreadPool pool(1);
  std::vector<float> w(64);
  for (int i = 0; i < 64; ++i) w[size_t(i)] = float(i - 31) / 32;
  const Nf4Quantised q = quantise_nf4(pool, w.data(), 64);
  for (size_t i = 0; i < 64; ++i) {
    const size_t got = i % 2 ? q.packed[i / 2] & 15 : q.packed[i / 2] >> 4;
    for (const float other : kNf4Values) EXPECT_LE(std::abs(w[i] - kNf4Values[got]), std::abs(w[i] - other) + 1e-7f);
  }
}

TEST(Nf4, DynamicValuesAscendAndReachOne) {
  const auto& values = dynamic_values();
  for (size_t i = 1; i < 256; ++i) EXPECT_LT(values[i - 1], values[i]);
  EXPECT_EQ(values[127], 0);
  EXPECT_EQ(values[255], 1);
  for (size_t i = 0; i < 127; ++i) EXPECT_EQ(values[i], -values[254 - i]);
}

TEST(Nf4, TakesAnyValueAndNoPartOfABlock) {
  ThreadPool pool(1);
  for (const float value :
       {std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN(), 3e38f, 1e-45f, 0.0f}) {
    std::vector<float> w(128, value);
    EXPECT_EQ(quantise_nf4(pool, w.data(), 128).scales.size(), 2u);
  }
  std::vector<float> w(128);
  EXPECT_THROW(quantise_nf4(pool, w.data(), 100), ApiError);
  EXPECT_THROW(quantise_nf4(pool, w.data(), 0), ApiError);
}

}  // namespace
}  // namespace sedum
