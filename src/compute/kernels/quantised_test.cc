#include "compute/kernels/quantised.h"

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/random.h"
#include "compute/dtype/more_dtypes.h"
#include "compute/kernels/isa.h"
#include "compute/kernels/quantised_panel.h"
#include "compute/kernels/ref/quantised.h"

namespace sedum {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity(), kNan = std::numeric_limits<float>::quiet_NaN();

std::vector<float> gaussian(size_t n, uint32_t step) {
  const Random random(7, Purpose::kTest, step);
  std::vector<float> all(n);
  for (size_t i = 0; i < n; ++i) all[i] = random.normal(i) * (random.bits(i) % 97 == 0 ? 20.0f : 1.0f);
  return all;
}

// Weights of any bits: block scales of every size but neither infinite nor NaN, so that results can be compared as numbers.
struct Weights {
  DType dtype;
  int64_t rows, cols;
  std::vector<std::byte> bytes;

  Weights(DType type, int64_t n, int64_t k) : dtype(type), rows(n), cols(k), bytes(size_t(n) * row_bytes(type, k)) {
    const Random random(3, Purpose::kTest, uint32_t(type));
    for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = std::byte(random.bits(i));
    if (!info(type).quantised) {
      const std::vector<float> values = gaussian(size_t(n * k), 9);
      encode(type, values.data(), bytes.data(), n * k);
    }
    with_block_type(type, [&]<class B>(B*) {
      B* const blocks = reinterpret_cast<B*>(bytes.data());
      for (size_t i = 0; i < bytes.size() / sizeof(B); ++i) {
        blocks[i].d.set(0.01f * random.normal(i));
        if constexpr (requires(B b) { b.m; }) blocks[i].m.set(0.1f * random.normal(i + 1));
        if constexpr (requires(B b) { b.dmin; }) blocks[i].dmin.set(0.01f * random.normal(i + 2));
      }
    });
  }
  ConstMatrix matrix() const { return {dtype, bytes.data(), rows, cols, row_bytes(dtype, cols)}; }
};

ConstMatrix rows_of(const std::vector<float>& x, int64_t rows, int64_t cols) {
  return {DType::kF32, x.data(), rows, cols, size_t(cols) * 4};
}
MutableMatrix result_in(std::vector<float>& y, int64_t rows, int64_t cols) {
  y.resize(size_t(rows * cols));
  return {DType::kF32, y.data(), rows, cols, size_t(cols) * 4};
}

// How many results differ in their bits (any NaN equals any NaN).
int differences(const std::vector<float>& a, const std::vector<float>& b) {
  int count = a.size() != b.size();
  for (size_t i = 0; i < a.size() && i < b.size(); ++i)
    count += std::bit_cast<uint32_t>(a[i]) != std::bit_cast<uint32_t>(b[i]) && !(std::isnan(a[i]) && std::isnan(b[i]));
  return count;
}

class Int8Product : public testing::TestWithParam<DType> {};
INSTANTIATE_TEST_SUITE_P(All, Int8Product, testing::ValuesIn(kPanelTypes),
                         [](const auto& each) { return std::string(name(each.param)); });

TEST_P(Int8Product, EveryInstructionSetAndThreadCountGivesTheTwinsBits) {
  const int block = info(GetParam()).block;
  ThreadPool one(1), two(2), three(3);
  for (const int64_t k : {int64_t{block}, int64_t{3 * block}, int64_t{5 * 256}}) {
    for (const int64_t n : {1, 16, 37}) {
      const Weights w(GetParam(), n, k);
      const auto packed = pack_int8(two, w.matrix());
      ASSERT_TRUE(packed);
      for (const int64_t m : {1, 2, 5, 13, 29}) {
        const std::vector<float> x = gaussian(size_t(m * k), uint32_t(m));
        std::vector<float> wanted, got;
        ref::product_int8(rows_of(x, m, k), w.matrix(), result_in(wanted, m, n));
        for (const Isa each : available_isas()) {
          const ScopedIsa forced(each);
          for (ThreadPool* pool : {&one, &two, &three}) {
            got.assign(size_t(m * n), kNan);
            product_packed_int8(*pool, rows_of(x, m, k), *packed, result_in(got, m, n));
            ASSERT_EQ(differences(got, wanted), 0)
                << name(each) << " " << pool->size() << " threads, " << m << "," << n << "," << k;
          }
        }
      }
    }
  }
}

TEST_P(Int8Product, ManyColumnsTakeTheWayWithoutBarrierAndGiveTheSameBits) {
  const int64_t m = 40, n = 1040, k = 256;  // 520 columns for each of two threads, 65 for each of 16
  const Weights w(GetParam(), n, k);
  const std::vector<float> x = gaussian(size_t(m * k), 1);
  std::vector<float> wanted, got;
  ref::product_int8(rows_of(x, m, k), w.matrix(), result_in(wanted, m, n));
  for (const int threads : {2, 16}) {
    ThreadPool pool(threads);
    const auto packed = pack_int8(pool, w.matrix());
    product_packed_int8(pool, rows_of(x, m, k), *packed, result_in(got, m, n));
    EXPECT_EQ(differences(got, wanted), 0) << threads;
  }
}

TEST_P(Int8Product, RowBlocksBeyondTheCacheGiveTheSameBits) {
  const int64_t m = 300, n = 24, k = 2048;  // 300 rows · 2048 · 1.6 bytes: two blocks of rows
  const Weights w(GetParam(), n, k);
  ThreadPool pool(2);
  const auto packed = pack_int8(pool, w.matrix());
  const std::vector<float> x = gaussian(size_t(m * k), 1);
  std::vector<float> wanted, got;
  ref::product_int8(rows_of(x, m, k), w.matrix(), result_in(wanted, m, n));
  product_packed_int8(pool, rows_of(x, m, k), *packed, result_in(got, m, n));
  EXPECT_EQ(differences(got, wanted), 0);
}

TEST_P(Int8Product, ARowsBitsDoNotDependOnItsBatch) {
  const int64_t m = 29, n = 48, k = 512;
  const Weights w(GetParam(), n, k);
  ThreadPool pool(2);
  const auto packed = pack_int8(pool, w.matrix());
  const std::vector<float> x = gaussian(size_t(m * k), 1);
  std::vector<float> many, row;
  product_packed_int8(pool, rows_of(x, m, k), *packed, result_in(many, m, n));
  for (int64_t i = 0; i < m; ++i) {
    product_packed_int8(pool, {DType::kF32, &x[size_t(i * k)], 1, k, 0}, *packed, result_in(row, 1, n));
    EXPECT_EQ(std::memcmp(row.data(), &many[size_t(i * n)], size_t(n) * 4), 0) << i;
  }
}

TEST_P(Int8Product, ErrorIsTheRoundingOfActivations) {
  // Half a step of max / 127 for each activation, times Σ|w|; and the float chain: one rounding of the running sum for each block.
  const int64_t m = 4, n = 19, k = 1024;
  const Weights w(GetParam(), n, k);
  ThreadPool pool(2);
  const auto packed = pack_int8(pool, w.matrix());
  const std::vector<float> x = gaussian(size_t(m * k), 1);
  std::vector<float> got, row(static_cast<size_t>(k));
  product_packed_int8(pool, rows_of(x, m, k), *packed, result_in(got, m, n));
  for (int64_t j = 0; j < n; ++j) {
    decode(w.dtype, w.bytes.data() + size_t(j) * row_bytes(w.dtype, k), row.data(), k);
    for (int64_t i = 0; i < m; ++i) {
      double exact = 0, bound = 0, magnitude = 0;
      for (int64_t at = 0; at < k; at += 32) {
        double top = 0, weights = 0;
        for (int64_t l = at; l < at + 32; ++l) {
          exact += double(x[size_t(i * k + l)]) * row[size_t(l)];
          magnitude += std::abs(double(x[size_t(i * k + l)]) * row[size_t(l)]);
          top = std::max(top, std::abs(double(x[size_t(i * k + l)]))), weights += std::abs(row[size_t(l)]);
        }
        bound += top / 254 * weights;
      }
      // The minimum and the scaled integers cancel: their magnitudes, not the weight's, are rounded; 16 times covers q up to 15 steps.
      bound += 16 * (double(k) / 32 + 4) * 0x1p-24 * magnitude;
      EXPECT_LE(std::abs(got[size_t(i * n + j)] - exact), bound);
      EXPECT_GT(bound, 0);
    }
  }
}

TEST_P(Int8Product, PanelsKeepEveryBit) {
  const int block = info(GetParam()).block;
  const int64_t n = 21, k = 3 * block;
  ThreadPool pool(2);
  const Weights w(GetParam(), n, k);
  const auto packed = pack_int8(pool, w.matrix());
  std::vector<float> wanted(static_cast<size_t>(k)), got(static_cast<size_t>(k));
  for (int64_t row = 0; row < n; ++row) {
    decode(w.dtype, w.bytes.data() + size_t(row) * row_bytes(w.dtype, k), wanted.data(), k);
    unpack_int8_row(*packed, row, got.data());
    EXPECT_EQ(differences(got, wanted), 0) << row;
  }
  EXPECT_THROW(unpack_int8_row(*packed, n, got.data()), ApiError);
  EXPECT_THROW(unpack_int8_row(*packed, -1, got.data()), ApiError);
}

TEST_P(Int8Product, WhatIsNotFiniteStaysInItsRow) {
  const int64_t m = 14, n = 33, k = 256;
  const Weights w(GetParam(), n, k);
  ThreadPool pool(2);
  const auto packed = pack_int8(pool, w.matrix());
  std::vector<float> x = gaussian(size_t(m * k), 1), clean, got;
  for (const Isa each : available_isas()) {
    const ScopedIsa forced(each);
    product_packed_int8(pool, rows_of(x, m, k), *packed, result_in(clean, m, n));
    std::vector<float> spoilt = x;
    spoilt[size_t(2 * k + 31)] = kNan, spoilt[size_t(5 * k + 100)] = kInfinity,
                          spoilt[size_t(13 * k + 255)] = -kInfinity;
    product_packed_int8(pool, rows_of(spoilt, m, k), *packed, result_in(got, m, n));
    for (int64_t i = 0; i < m; ++i)
      for (int64_t j = 0; j < n; ++j) {
        if (i == 2 || i == 5 || i == 13)
          ASSERT_TRUE(std::isnan(got[size_t(i * n + j)])) << name(each);
        else
          ASSERT_EQ(got[size_t(i * n + j)], clean[size_t(i * n + j)]) << name(each);
      }
  }
}

TEST_P(Int8Product, ExtremeActivations) {
  const int64_t n = 17, k = 256;
  const Weights w(GetParam(), n, k);
  ThreadPool pool(2);
  const auto packed = pack_int8(pool, w.matrix());
  std::vector<std::vector<float>> rows(6, std::vector<float>(static_cast<size_t>(k)));
  for (size_t i = 0; i < size_t(k); ++i) {
    rows[0][i] = 0;
    rows[1][i] = i % 2 ? 1e-45f : -1e-40f;        // subnormal: counts as zero
    rows[2][i] = i % 32 == 7 ? -3.4e38f : 1e30f;  // the largest
    rows[3][i] = 127;                             // all at the end of the range: the largest integer sums
    rows[4][i] = -127;
    rows[5][i] = i % 32 ? (float(i % 64) - 31.5f) : 127;  // ties, to even
  }
  for (const auto& row : rows) {
    std::vector<float> wanted, got;
    ref::product_int8(rows_of(row, 1, k), w.matrix(), result_in(wanted, 1, n));
    for (const Isa each : available_isas()) {
      const ScopedIsa forced(each);
      product_packed_int8(pool, rows_of(row, 1, k), *packed, result_in(got, 1, n));
      EXPECT_EQ(differences(got, wanted), 0) << name(each) << " row " << &row - &rows[0];
    }
  }
}

// Formats that borrow another one's panels: the twin reads them as they are stored.
TEST(Int8, BorrowedPanelsHoldTheSameValues) {
  ThreadPool pool(2);
  for (const DType dtype : {kQ3_K, kIQ4_NL, kMXFP4}) {
    const int64_t n = 19, k = 768;
    Weights w(dtype, n, k);
    const Random random(4, Purpose::kTest);
    const size_t block = size_t(info(dtype).block_bytes);
    for (size_t at = 0; at < w.bytes.size(); at += block) {
      StoredHalf half;
      half.set(0.01f * random.normal(at));
      if (dtype == kMXFP4) w.bytes[at] = std::byte(110 + random.bits(at) % 20);
      if (dtype == kIQ4_NL) std::memcpy(&w.bytes[at], &half, 2);
      if (dtype == kQ3_K) std::memcpy(&w.bytes[at + block - 2], &half, 2);
    }
    const auto packed = pack_int8(pool, w.matrix());
    ASSERT_NE(packed, nullptr);
    const std::vector<float> x = gaussian(size_t(5 * k), 1);
    std::vector<float> wanted, got, row(k), stored(k);
    ref::product_int8(rows_of(x, 5, k), w.matrix(), result_in(wanted, 5, n));
    product_packed_int8(pool, rows_of(x, 5, k), *packed, result_in(got, 5, n));
    EXPECT_EQ(differences(got, wanted), 0) << name(dtype);
    unpack_int8_row(*packed, 7, row.data());
    decode(dtype, w.bytes.data() + 7 * row_bytes(dtype, k), stored.data(), k);
    EXPECT_EQ(differences(row, stored), 0) << name(dtype);
  }
  Weights huge(kMXFP4, 1, 32);
  huge.bytes[0] = std::byte{250};  // a scale of 2^122 is no f16
  EXPECT_EQ(pack_int8(pool, huge.matrix()), nullptr);
}

TEST(Int8, SaturatedBytesAreSummedExactly) {
  // All weights at the ends of their range against ±127: what 16-bit sums with saturation would get wrong.
  ThreadPool pool(1);
  for (const DType dtype : kPanelTypes) {
    for (const std::byte fill : {std::byte{0x00}, std::byte{0xff}, std::byte{0x80}, std::byte{0x7f}}) {
      Weights w(dtype, 16, 256);
      with_block_type(dtype, [&]<class B>(B*) {
        B* const blocks = reinterpret_cast<B*>(w.bytes.data());
        for (size_t i = 0; i < w.bytes.size() / sizeof(B); ++i) {
          std::memset(static_cast<void*>(&blocks[i]), int(fill), sizeof(B));
          blocks[i].d.set(1);
          if constexpr (requires(B b) { b.m; }) blocks[i].m.set(-1);
          if constexpr (requires(B b) { b.dmin; }) blocks[i].dmin.set(1);
        }
      });
      const auto packed = pack_int8(pool, w.matrix());
      for (const float value : {127.0f, -127.0f}) {
        const std::vector<float> x(256, value);
        std::vector<float> wanted, got;
        ref::product_int8(rows_of(x, 1, 256), w.matrix(), result_in(wanted, 1, 16));
        for (const Isa each : available_isas()) {
          const ScopedIsa forced(each);
          product_packed_int8(pool, rows_of(x, 1, 256), *packed, result_in(got, 1, 16));
          EXPECT_EQ(differences(got, wanted), 0) << name(dtype) << " " << name(each);
        }
      }
    }
  }
}

TEST(Int8, BrainFloatsInAndOutAndAccumulation) {
  const int64_t m = 7, n = 45, k = 96;
  const Weights w(DType::kQ5_1, n, k);
  ThreadPool pool(2);
  const auto packed = pack_int8(pool, w.matrix());
  const std::vector<float> values = gaussian(size_t(m * k), 1), start = gaussian(size_t(m * n), 2);
  std::vector<bf16> x, y_start;
  for (const float value : values) x.push_back(bf16(value));
  for (const float value : start) y_start.push_back(bf16(value));
  for (const bool bf16_in : {false, true})
    for (const bool bf16_out : {false, true})
      for (const bool accumulate : {false, true})
        for (const Isa each : available_isas()) {
          const ScopedIsa forced(each);
          const ConstMatrix in =
              bf16_in ? ConstMatrix{DType::kBF16, x.data(), m, k, size_t(k) * 2} : rows_of(values, m, k);
          std::vector<bf16> wanted16 = y_start, got16 = y_start;
          std::vector<float> wanted = start, got = start;
          const auto out = [&](std::vector<float>& full, std::vector<bf16>& half) {
            return bf16_out ? MutableMatrix{DType::kBF16, half.data(), m, n, size_t(n) * 2} : result_in(full, m, n);
          };
          ref::product_int8(in, w.matrix(), out(wanted, wanted16), accumulate);
          product_packed_int8(pool, in, *packed, out(got, got16), accumulate);
          EXPECT_EQ(differences(got, wanted), 0);
          EXPECT_EQ(std::memcmp(got16.data(), wanted16.data(), got16.size() * 2), 0);
        }
}

TEST(Int8, SeveralWeightsOfOneInput) {
  // Different formats and sizes share the quantised rows; stored rows wider than the matrix are skipped over.
  const int64_t m = 5, k = 512;
  ThreadPool pool(2);
  const std::vector<float> x = gaussian(size_t(m * (k + 3)), 1);
  const ConstMatrix in{DType::kF32, x.data(), m, k, size_t(k + 3) * 4};
  const Weights q(DType::kQ5_0, 70, k), v(DType::kQ8_0, 16, k), down(DType::kQ6_K, 33, k);
  const auto pq = pack_int8(pool, q.matrix()), pv = pack_int8(pool, v.matrix()), pdown = pack_int8(pool, down.matrix());
  std::vector<float> yq, yv, ydown(size_t(m * 33), 1.0f), wanted, added(size_t(m * 33), 1.0f);
  product_packed_int8(
      pool, in, {{*pq, result_in(yq, m, 70)}, {*pv, result_in(yv, m, 16)}, {*pdown, result_in(ydown, m, 33), true}});
  ref::product_int8(in, q.matrix(), result_in(wanted, m, 70));
  EXPECT_EQ(differences(yq, wanted), 0);
  ref::product_int8(in, v.matrix(), result_in(wanted, m, 16));
  EXPECT_EQ(differences(yv, wanted), 0);
  ref::product_int8(in, down.matrix(), result_in(added, m, 33), true);
  EXPECT_EQ(differences(ydown, added), 0);
}

TEST(Int8, PlainWeightsAreRoundedToBytes) {
  const int64_t m = 3, n = 18, k = 160;
  ThreadPool pool(2);
  const std::vector<float> x = gaussian(size_t(m * k), 1);
  for (const DType dtype : {DType::kF32, DType::kF16, DType::kBF16}) {
    const Weights w(dtype, n, k);
    const auto packed = pack_int8(pool, w.matrix());
    ASSERT_TRUE(packed);
    EXPECT_EQ(packed->bytes(), size_t(2 * 3 * 1088));  // two panels of three records
    std::vector<float> wanted, got;
    ref::product_int8(rows_of(x, m, k), w.matrix(), result_in(wanted, m, n));
    product_packed_int8(pool, rows_of(x, m, k), *packed, result_in(got, m, n));
    EXPECT_EQ(differences(got, wanted), 0) << name(dtype);
  }
}

// Wᵀ in panels is Wᵀ, decoded, transposed and rounded to 7 bits: to the bit, whatever W was stored in; 96 rows are one record and a half.
// Its product is that of Q8_0 with the same values, on every instruction set.
TEST(Int8, TransposedWeightsAreRoundedAlongTheOtherSide) {
  ThreadPool pool(2);
  for (const DType dtype : {DType::kF32, DType::kBF16, DType::kQ4_0, DType::kQ5_1, DType::kQ6_K}) {
    const int64_t n = 96, k = info(dtype).block == 256 ? 512 : 320;
    const Weights w(dtype, n, k);
    const auto packed = pack_int8_transposed(pool, w.matrix());
    ASSERT_TRUE(packed);
    ASSERT_EQ(packed->rows(), k);
    ASSERT_EQ(packed->cols(), n);
    std::vector<float> plain(size_t(n * k)), column(n), wanted(n), got(n);
    decode(dtype, w.bytes.data(), plain.data(), n * k);
    Weights rounded(DType::kQ8_0, k, n);
    for (int64_t c = 0; c < k; ++c) {
      for (int64_t r = 0; r < n; ++r) column[size_t(r)] = plain[size_t(r * k + c)];
      auto* const row = reinterpret_cast<BlockQ8_0*>(rounded.bytes.data() + size_t(c) * row_bytes(DType::kQ8_0, n));
      for (int64_t b = 0; b < n / 32; ++b) {
        float top = 0;
        for (int i = 0; i < 32; ++i) top = std::max(top, std::abs(column[size_t(32 * b + i)]));
        row[b].d.set(top / 63);
        for (int i = 0; i < 32; ++i) row[b].qs[i] = int8_t(std::nearbyint(column[size_t(32 * b + i)] * (63 / top)));
      }
      decode(DType::kQ8_0, row, wanted.data(), n);
      unpack_int8_row(*packed, c, got.data());
      EXPECT_EQ(differences(got, wanted), 0) << name(dtype) << " column " << c;
    }
    for (const int rows : {1, 2, 4, 13}) {
      const std::vector<float> x = gaussian(size_t(rows * n), 7);
      std::vector<float> product, twin;
      ref::product_int8(rows_of(x, rows, n), rounded.matrix(), result_in(twin, rows, k));
      for (const Isa each : available_isas()) {
        const ScopedIsa forced(each);
        product_packed_int8(pool, rows_of(x, rows, n), *packed, result_in(product, rows, k));
        EXPECT_EQ(differences(product, twin), 0) << name(dtype) << " " << name(each) << " " << rows << " rows";
      }
    }
  }
  const Weights odd(DType::kF32, 33, 64);
  EXPECT_FALSE(pack_int8_transposed(pool, odd.matrix()));
  const Weights even(DType::kF32, 64, 64);
  const auto planned = pack_int8_transposed(pool, even.matrix(), false);
  EXPECT_EQ(planned->bytes(), pack_int8_transposed(pool, even.matrix())->bytes());
}

TEST(Int8, SevenBitsOfTiesTinyAndSpoiltBlocks) {
  constexpr int kBlocks = 5;
  std::vector<float> x(kBlocks * 32, 0.0f);
  x[0] = 63, x[1] = 2.5f, x[2] = 3.5f, x[3] = -2.5f, x[4] = -63;  // a scale of 1: ties to even
  x[32 + 7] = 0x1p-110f;                                          // counts as zero
  x[64] = 1, x[64 + 1] = std::numeric_limits<float>::infinity();
  x[96] = 1, x[96 + 1] = kNan;
  BlockQ7 blocks[kBlocks];
  BlockQ7::encode(x.data(), blocks, kBlocks * 32);
  EXPECT_EQ(blocks[0].d.value(), 1);
  EXPECT_EQ(std::vector<int>(blocks[0].qs, blocks[0].qs + 6), (std::vector<int>{63, 2, 4, -2, -63, 0}));
  uint8_t q[32];
  blocks[0].quants(q);
  EXPECT_EQ(int(q[0]), BlockQ7::kTop);
  EXPECT_EQ(int(q[4]), 1);
  for (const int zero : {1, 4}) {
    EXPECT_EQ(blocks[zero].d.value(), 0);
    for (const int8_t value : blocks[zero].qs) EXPECT_EQ(int(value), 0);
  }
  EXPECT_TRUE(std::isnan(blocks[2].d.value()));
  EXPECT_TRUE(std::isnan(blocks[3].d.value()));
}

TEST(Int8, EmptySizesAndWhatHasNoPackedForm) {
  ThreadPool pool(2);
  std::vector<float> x(64, 1.0f), y(64, 5.0f);
  EXPECT_FALSE(pack_int8(pool, {DType::kF32, x.data(), 2, 31, 124}));
  EXPECT_FALSE(pack_int8(pool, {DType::kF64, x.data(), 1, 32, 256}));
  EXPECT_FALSE(pack_int8(pool, {DType::kI8, x.data(), 1, 32, 32}));
  const auto no_k = pack_int8(pool, {DType::kF32, x.data(), 20, 0, 0});
  product_packed_int8(pool, {DType::kF32, x.data(), 2, 0, 0}, *no_k, {DType::kF32, y.data(), 2, 20, 80});
  for (int i = 0; i < 40; ++i) EXPECT_EQ(y[size_t(i)], 0);
  const auto no_n = pack_int8(pool, {DType::kF32, x.data(), 0, 32, 128});
  product_packed_int8(pool, {DType::kF32, x.data(), 2, 32, 128}, *no_n, {DType::kF32, y.data(), 2, 0, 0});
  const auto w = pack_int8(pool, {DType::kF32, x.data(), 2, 32, 128});
  product_packed_int8(pool, {DType::kF32, x.data(), 0, 32, 128}, *w, {DType::kF32, y.data(), 0, 2, 8});
  EXPECT_THROW(product_packed_int8(pool, {DType::kF32, x.data(), 1, 64, 256}, *w, {DType::kF32, y.data(), 1, 2, 8}),
               ApiError);
  EXPECT_THROW(product_packed_int8(pool, {DType::kF32, x.data(), 1, 32, 128}, *w, {DType::kF32, y.data(), 1, 3, 12}),
               ApiError);
  EXPECT_THROW(product_packed_int8(pool, {DType::kF16, x.data(), 1, 32, 128}, *w, {DType::kF32, y.data(), 1, 2, 8}),
               ApiError);
}

TEST(Int8, MalformedScalesDoNoHarm) {
  // A file may hold anything: infinite and NaN scales give what the arithmetic gives, on every instruction set.
  ThreadPool pool(2);
  for (const DType dtype : kPanelTypes) {
    Weights w(dtype, 16, 256);
    const Random random(5, Purpose::kTest);
    for (size_t i = 0; i < w.bytes.size(); ++i) w.bytes[i] = std::byte(random.bits(i) | (i % 3 ? 0 : 0x7c));
    const auto packed = pack_int8(pool, w.matrix());
    const std::vector<float> x = gaussian(3 * 256, 1);
    std::vector<float> wanted, got;
    ref::product_int8(rows_of(x, 3, 256), w.matrix(), result_in(wanted, 3, 16));
    for (const Isa each : available_isas()) {
      const ScopedIsa forced(each);
      product_packed_int8(pool, rows_of(x, 3, 256), *packed, result_in(got, 3, 16));
      EXPECT_EQ(differences(got, wanted), 0) << name(dtype) << " " << name(each);
    }
  }
}

}  // namespace
}  // namespace sedum
