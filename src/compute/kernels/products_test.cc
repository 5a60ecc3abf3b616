#include "compute/kernels/products.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <deque>
#include <iterator>
#include <limits>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <sys/mman.h>

#include "base/error.h"
#include "compute/dtype/more_dtypes.h"
#include "compute/kernels/isa.h"
#include "compute/kernels/product_terms.h"
#include "compute/kernels/ref/products.h"

namespace sedum {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr DType kStored[] = {DType::kF32,  DType::kF16,  DType::kBF16, DType::kQ8_0, DType::kQ4_0, DType::kQ4_1,
                             DType::kQ5_0, DType::kQ5_1, DType::kQ4_K, DType::kQ5_K, DType::kQ6_K, kNF4};
constexpr DType kReadOnly[] = {kQ2_K, kQ3_K, kIQ4_NL, kIQ4_XS, kMXFP4};

std::vector<DType> every_stored() {
  std::vector<DType> all;
  for (const DType type : kStored) all.push_back(type);
  for (const DType type : kReadOnly) all.push_back(type);
  return all;
}

// A matrix whose last byte is the last before a page that must not be touched: reading beyond a row's end is a crash.
class Guarded {
 public:
  Guarded(DType dtype, int64_t rows, int64_t cols, size_t gap = 0)
      : dtype_(dtype), rows_(rows), cols_(cols), row_bytes_(row_bytes(dtype, cols) + gap) {
    const size_t bytes = rows > 0 ? row_bytes_ * size_t(rows) - gap : 0;
    size_ = (bytes + 4095) / 4096 * 4096 + 4096;
    map_ = static_cast<std::byte*>(mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    mprotect(map_ + size_ - 4096, 4096, PROT_NONE);
    data_ = map_ + size_ - 4096 - bytes;
  }
  ~Guarded() { munmap(map_, size_); }
  Guarded(const Guarded&) = delete;

  void set(const std::vector<float>& values) {
    if (std::find(std::begin(kReadOnly), std::end(kReadOnly), dtype_) != std::end(kReadOnly)) return set_bytes();
    for (int64_t i = 0; i < rows_; ++i)
      encode(dtype_, values.data() + i * cols_, data_ + size_t(i) * row_bytes_, cols_);
  }
  // Any bits, but scales that are f16 in [1/64, 1/8), or 2^-8 … 2^-1 for MXFP4.
  void set_bytes() {
    std::mt19937 g(5);
    const int block = info(dtype_).block_bytes;
    for (int64_t i = 0; i < rows_; ++i)
      for (int64_t b = 0; b < cols_ / info(dtype_).block; ++b) {
        std::byte* const at = data_ + size_t(i) * row_bytes_ + size_t(b * block);
        for (int j = 0; j < block; ++j) at[j] = std::byte(g() >> 9);
        const auto half = [&](int byte) { at[byte] = std::byte(0x24 + g() % 12); };
        if (dtype_ == kMXFP4) at[0] = std::byte(120 + g() % 8);
        if (dtype_ == kQ2_K) half(81), half(83);
        if (dtype_ == kQ3_K) half(109);
        if (dtype_ == kIQ4_NL || dtype_ == kIQ4_XS) half(1);
      }
  }
  std::vector<float> get() const {
    std::vector<float> values(size_t(rows_ * cols_));
    for (int64_t i = 0; i < rows_; ++i)
      decode(dtype_, data_ + size_t(i) * row_bytes_, values.data() + i * cols_, cols_);
    return values;
  }
  ConstMatrix in() const { return {dtype_, data_, rows_, cols_, row_bytes_}; }
  MutableMatrix out() { return {dtype_, data_, rows_, cols_, row_bytes_}; }
  ConstMatrix row(int64_t i) const { return {dtype_, data_ + size_t(i) * row_bytes_, 1, cols_, row_bytes_}; }

 private:
  DType dtype_;
  int64_t rows_, cols_;
  size_t row_bytes_, size_;
  std::byte *map_, *data_;
};

std::vector<float> random_values(int64_t n, uint32_t seed) {
  std::mt19937 g(seed);
  std::vector<float> v(static_cast<size_t>(n));
  for (float& x : v) x = float(int(g() >> 8) - (1 << 23)) / float(1 << 23);
  return v;
}

struct Case {
  Product product;
  Compute compute;
  DType a, b, c;
  int64_t m, n, k;
  bool accumulate;
};

std::string describe(const Case& t) {
  const char* const products[] = {"nt", "nn", "tn"};
  return std::string(name(isa())) + " " + products[int(t.product)] + " " + name(t.compute) + " " + name(t.a) + " x " +
         name(t.b) + " to " + name(t.c) + " " + std::to_string(t.m) + "," + std::to_string(t.n) + "," +
         std::to_string(t.k) + (t.accumulate ? " +=" : "");
}

void run(ThreadPool& pool, const Case& t, const ConstMatrix& a, const ConstMatrix& b, const MutableMatrix& c) {
  if (t.product == Product::kNT) product_nt(pool, t.compute, a, b, c, t.accumulate);
  if (t.product == Product::kNN) product_nn(pool, t.compute, a, b, c, t.accumulate);
  if (t.product == Product::kTN) product_tn(pool, t.compute, a, b, c, t.accumulate);
}

struct Operands {
  explicit Operands(const Case& t, size_t gap = 0)
      : a(t.a, t.product == Product::kTN ? t.k : t.m, t.product == Product::kTN ? t.m : t.k, gap),
        b(t.b, t.product == Product::kNT ? t.n : t.k, t.product == Product::kNT ? t.k : t.n,
          t.b == DType::kF32 ? gap : 0),
        c(t.c, t.m, t.n, gap) {
    a.set(random_values(t.m * t.k, 1)), b.set(random_values(t.n * t.k, 2)), c.set(random_values(t.m * t.n, 3));
  }
  Guarded a, b, c;
};

// The naive twin over the decoded operands, which bf16 mode rounds; then |error| ≤ K ε Σ|a b| for one chain of K multiply-adds
// (Higham 2002, 3.1) and half a unit of the result's last place, plus what the hardware flushes to zero.
void expect_as_twin(const Case& t, const Operands& o, const std::vector<float>& before, const std::vector<float>& got) {
  std::vector<float> a = o.a.get(), b = o.b.get();
  if (t.compute == Compute::kBF16)
    for (auto* v : {&a, &b})
      for (float& x : *v) x = float(bf16(x));
  if (t.compute == kF16Products)
    for (auto* v : {&a, &b})
      for (float& x : *v) x = f16_to_f32(f32_to_f16(x));
  const ref::Strided<float> as =
      t.product == Product::kTN ? ref::Strided<float>{a.data(), 1, t.m} : ref::Strided<float>{a.data(), t.k, 1};
  const ref::Strided<float> bs =
      t.product == Product::kNT ? ref::Strided<float>{b.data(), 1, t.k} : ref::Strided<float>{b.data(), t.n, 1};
  std::vector<double> sums(size_t(t.m * t.n));
  ref::multiply_rows(0, t.m, t.n, t.k, as, bs, sums.data());
  const double last = t.c == DType::kF32 ? 0x1p-24 : 0x1p-8;
  int bad = 0;
  for (int64_t i = 0; i < t.m; ++i)
    for (int64_t j = 0; j < t.n; ++j) {
      const double old = t.accumulate ? before[size_t(i * t.n + j)] : 0, want = sums[size_t(i * t.n + j)] + old;
      double size = std::abs(old);
      for (int64_t q = 0; q < t.k; ++q) size += std::abs(double(as.at(i, q)) * bs.at(q, j));
      const double limit = double(t.k + 1) * 0x1p-24 * size + last * std::abs(want) + double(t.k) * 0x1p-125;
      const double value = got[size_t(i * t.n + j)];
      if (!(std::abs(value - want) <= limit) && ++bad <= 3)
        ADD_FAILURE() << describe(t) << " at " << i << "," << j << ": " << value << ", twin " << want << ", limit "
                      << limit;
    }
  EXPECT_EQ(bad, 0) << describe(t);
}

void check(ThreadPool& pool, const Case& t, size_t gap = 0) {
  Operands o(t, gap);
  const std::vector<float> before = o.c.get();
  run(pool, t, o.a.in(), o.b.in(), o.c.out());
  expect_as_twin(t, o, before, o.c.get());
}

template <class F>
void on_every_isa(F f) {
  for (const Isa each : available_isas()) {
    const ScopedIsa forced(each);
    f();
  }
}

TEST(Products, EveryFormatAsItsTwin) {
  ThreadPool pool(1);
  on_every_isa([&] {
    for (const Compute compute : {Compute::kF32, Compute::kBF16})
      for (const DType w : every_stored())
        for (const auto& [m, x] :
             {std::pair{1, DType::kF32}, {5, DType::kBF16}, {37, DType::kBF16}, {37, DType::kF32}}) {
          check(pool, {Product::kNT, compute, x, w, DType::kF32, m, 53, 512, false});
          check(pool, {Product::kNN, compute, x, w, DType::kF32, m, 256, 45, m == 5});
        }
  });
}

TEST(Products, OddShapesAsTheirTwins) {
  ThreadPool one(1), two(2);
  const int64_t shapes[][3] = {
      {1, 1, 1},    {2, 1, 3},     {1, 33, 31},  {3, 5, 7},      {14, 32, 33},   {15, 31, 2},
      {29, 70, 77}, {113, 67, 65}, {7, 1100, 3}, {16, 40, 1700}, {170, 70, 1700}};  // the last in passes
  on_every_isa([&] {
    for (const auto& [m, n, k] : shapes)
      for (const Product product : {Product::kNT, Product::kNN, Product::kTN})
        for (const Compute compute : {Compute::kF32, Compute::kBF16, kF16Products})
          for (int i = 0; i < 8; ++i) {
            const auto type = [&](int bit) { return i >> bit & 1 ? DType::kBF16 : DType::kF32; };
            check(i % 7 == 0 ? two : one,
                  {product, compute, type(0), type(1), type(2), m, n, k, std::popcount(unsigned(i)) % 2 == 0},
                  size_t(i % 3 * 8));
          }
  });
}

// One-hot rows pick single weights: they must be those of decode(), to the bit.
TEST(Products, ExactModeMultipliesExactValues) {
  ThreadPool pool(1);
  on_every_isa([&] {
    for (const DType w : every_stored()) {
      const Case t{Product::kNN, Compute::kF32, DType::kF32, w, DType::kF32, 9, 256, 9, false};
      Operands o(t);
      std::vector<float> identity(81);
      for (size_t i = 0; i < 9; ++i) identity[i * 10] = 1;
      o.a.set(identity);
      run(pool, t, o.a.in(), o.b.in(), o.c.out());
      EXPECT_EQ(o.c.get(), o.b.get()) << describe(t);
      const Case forward{Product::kNT, Compute::kF32, DType::kF32, w, DType::kF32, 256, 9, 256, false};
      Operands f(forward);
      std::vector<float> wide(256 * 256), want(256 * 9);
      for (size_t i = 0; i < 256; ++i) wide[i * 257] = 1;
      f.a.set(wide);
      run(pool, forward, f.a.in(), f.b.in(), f.c.out());
      const std::vector<float> values = f.b.get();
      for (size_t i = 0; i < 256; ++i)
        for (size_t j = 0; j < 9; ++j) want[i * 9 + j] = values[j * 256 + i];
      EXPECT_EQ(f.c.get(), want) << describe(forward);
    }
  });
}

TEST(Products, SameBitsForAnyThreadsAndRows) {
  ThreadPool one(1), two(2), three(3);
  on_every_isa([&] {
    for (const Compute compute : {Compute::kF32, Compute::kBF16})
      for (const DType w : {DType::kF32, DType::kBF16, DType::kQ4_K, DType::kQ6_K})
        for (const Product product : {Product::kNT, Product::kNN}) {
          const DType y = w == DType::kF32 || w == DType::kQ6_K ? DType::kF32 : DType::kBF16;
          const bool nt = product == Product::kNT;
          const Case t{product, compute, DType::kF32, w, y, 47, nt ? 70 : 256, nt ? 1792 : 900, true};
          Operands o(t);
          const std::vector<float> before = o.c.get();
          run(one, t, o.a.in(), o.b.in(), o.c.out());
          const std::vector<float> want = o.c.get();
          for (ThreadPool* pool : {&two, &three}) {
            o.c.set(before);
            run(*pool, t, o.a.in(), o.b.in(), o.c.out());
            EXPECT_EQ(o.c.get(), want) << describe(t) << " threads " << pool->size();
          }
          for (const int64_t row : {0, 17, 46}) {
            Guarded alone(y, 1, t.n);
            const auto at = [&](const std::vector<float>& v) { return v.begin() + row * t.n; };
            alone.set({at(before), at(before) + t.n});
            run(two, t, o.a.row(row), o.b.in(), alone.out());
            EXPECT_EQ(alone.get(), std::vector<float>(at(want), at(want) + t.n)) << describe(t) << " row " << row;
          }
          if (!nt) continue;
          const auto packed = pack(three, compute, o.b.in());
          o.c.set(before);
          product_packed(two, o.a.in(), *packed, o.c.out(), true);
          EXPECT_EQ(o.c.get(), want) << describe(t) << " packed";
        }
  });
}

// Terms of all kinds and widths beside each other, more than go together at once: each result as of its product alone.
TEST(Products, SeveralAtOnceHaveTheBitsOfEachAlone) {
  ThreadPool one(1), three(3);
  const std::pair<DType, int64_t> kinds[] = {{DType::kF32, 70}, {DType::kF32, 16}, {DType::kQ4_0, 32},
                                             {DType::kBF16, 1}, {DType::kF32, 0},  {DType::kQ4_K, 256},
                                             {kNF4, 64},        {DType::kF16, 33}, {DType::kF32, 200},
                                             {DType::kF32, 5},  {DType::kF32, 31}};
  on_every_isa([&] {
    for (const Product product : {Product::kNT, Product::kNN})
      for (const Compute compute : {Compute::kF32, Compute::kBF16, kF16Products})
        for (const int64_t m : {1, 47, 1100}) {  // the last in two blocks of rows
          if (m == 1100 && (product == Product::kNN || compute != Compute::kF32)) continue;
          const int64_t k = m == 1100 ? 256 : 1792;
          std::deque<Operands> all;
          for (const auto& [w, n] : kinds)
            all.emplace_back(
                Case{product, compute, DType::kF32, w, n % 3 ? DType::kF32 : DType::kBF16, m, n, k, n % 2 == 0});
          std::vector<std::vector<float>> before, want;
          std::vector<ProductTerm> terms;
          for (size_t i = 0; i < all.size(); ++i) {
            const auto& [w, n] = kinds[i];
            before.push_back(all[i].c.get());
            run(one, {product, compute, DType::kF32, w, DType::kF32, m, n, k, n % 2 == 0}, all[0].a.in(), all[i].b.in(),
                all[i].c.out());
            want.push_back(all[i].c.get());
            all[i].c.set(before.back());
            terms.push_back({all[i].b.in(), all[i].c.out(), n % 2 == 0});
          }
          if (product == Product::kNT)
            products_nt(three, compute, all[0].a.in(), terms);
          else
            products_nn(three, compute, all[0].a.in(), terms);
          for (size_t i = 0; i < all.size(); ++i)
            EXPECT_EQ(all[i].c.get(), want[i]) << name(isa()) << " term " << i << " rows " << m;
        }
  });
}

TEST(Products, WideResultsInSeveralRowBlocks) {
  ThreadPool pool(2);
  on_every_isa([&] {
    check(pool, {Product::kTN, Compute::kBF16, DType::kBF16, DType::kF32, DType::kBF16, 2200, 35, 18, true});
    check(pool, {Product::kTN, Compute::kF32, DType::kF32, DType::kF32, DType::kF32, 2200, 35, 18, false});
  });
}

TEST(Products, PackedAsTwin) {
  ThreadPool pool(2);
  on_every_isa([&] {
    for (const Compute compute : {Compute::kF32, Compute::kBF16, kF16Products})
      for (const DType w : {DType::kF32, DType::kBF16, DType::kF16, DType::kQ4_0})
        for (const auto& [m, n, k] : {std::array<int64_t, 3>{1, 33, 64}, {30, 70, 1760}, {300, 5, 32}}) {
          const Case t{Product::kNT, compute, DType::kBF16, w, DType::kF32, m, n, k, false};
          Operands o(t);
          const auto packed = pack(pool, compute, o.b.in());
          EXPECT_EQ(packed->rows(), n);
          EXPECT_EQ(packed->cols(), k);
          EXPECT_EQ(packed->compute(), compute);
          EXPECT_GE(packed->bytes(), size_t(n * k) * (compute == Compute::kBF16 ? 2 : 4));
          product_packed(pool, o.a.in(), *packed, o.c.out());
          expect_as_twin(t, o, {}, o.c.get());
        }
  });
}

TEST(Products, PackedOutlivesTheInstructionSetThatPackedIt) {
  ThreadPool pool(1);
  const Case t{Product::kNT, Compute::kBF16, DType::kF32, DType::kF32, DType::kF32, 9, 40, 70, false};
  Operands o(t);
  const auto packed = pack(pool, t.compute, o.b.in());
  const ScopedIsa forced(Isa::kPortable);
  product_packed(pool, o.a.in(), *packed, o.c.out());
  expect_as_twin(t, o, {}, o.c.get());
}

// A value that is not finite reaches the results that depend on it, and no other.
TEST(Products, SpecialValues) {
  ThreadPool pool(2);
  on_every_isa([&] {
    for (const Product product : {Product::kNT, Product::kNN, Product::kTN})
      for (const Compute compute : {Compute::kF32, Compute::kBF16, kF16Products})
        for (const DType type : {DType::kF32, DType::kBF16})
          for (const float special : {kNan, kInf, -kInf}) {
            const Case t{product, compute, type, type, DType::kF32, 17, 37, 43, false};
            Operands o(t);
            std::vector<float> a = o.a.get(), b(size_t(t.n * t.k), 1.0f);
            const int64_t row = 16, q = 42;  // in the tails
            a[size_t(product == Product::kTN ? q * t.m + row : row * t.k + q)] = special;
            o.a.set(a), o.b.set(b);
            run(pool, t, o.a.in(), o.b.in(), o.c.out());
            const std::vector<float> c = o.c.get();
            for (int64_t i = 0; i < t.m * t.n; ++i) {
              const float got = c[size_t(i)];
              if (i / t.n != row)
                ASSERT_TRUE(std::isfinite(got)) << describe(t);
              else if (std::isnan(special))
                ASSERT_TRUE(std::isnan(got)) << describe(t);
              else
                ASSERT_EQ(got, special) << describe(t);
            }
          }
  });
}

TEST(Products, InfiniteScalesDecodeAsTheCodecSays) {
  ThreadPool pool(1);
  on_every_isa([&] {
    for (const DType w : {DType::kQ8_0, DType::kQ4_0, DType::kQ5_0}) {
      const Case t{Product::kNN, Compute::kF32, DType::kF32, w, DType::kF32, 1, 32, 1, false};
      Operands o(t);
      o.a.set({1});
      const uint16_t infinity = 0x7c00;
      std::memcpy(const_cast<void*>(o.b.in().data), &infinity, 2);
      run(pool, t, o.a.in(), o.b.in(), o.c.out());
      const std::vector<float> got = o.c.get(), want = o.b.get();
      for (size_t i = 0; i < 32; ++i) EXPECT_TRUE(got[i] == want[i] || (std::isnan(got[i]) && std::isnan(want[i])));
    }
  });
}

TEST(Products, EmptySizes) {
  ThreadPool pool(2);
  on_every_isa([&] {
    for (const Product product : {Product::kNT, Product::kNN, Product::kTN})
      for (const auto& [m, n, k] : {std::array<int64_t, 3>{0, 5, 4}, {5, 0, 4}, {5, 4, 0}, {0, 0, 0}})
        for (const bool accumulate : {false, true}) {
          const Case t{product, Compute::kBF16, DType::kF32, DType::kF32, DType::kBF16, m, n, k, accumulate};
          Operands o(t);
          const std::vector<float> before = o.c.get();
          run(pool, t, o.a.in(), o.b.in(), o.c.out());
          EXPECT_EQ(o.c.get(), accumulate ? before : std::vector<float>(before.size())) << describe(t);
        }
  });
}

TEST(Products, DoublesByTheTwin) {
  ThreadPool pool(2);
  const double x[] = {1, 2, 3, 4, 5, 6}, w[] = {1, 1e-12, 0, -1, 0, 0.5};
  double y[] = {10, 10, 10, 10};
  product_nt(pool, Compute::kF32, {DType::kF64, x, 2, 3, 24}, {DType::kF64, w, 2, 3, 24}, {DType::kF64, y, 2, 2, 16},
             true);
  EXPECT_EQ(y[0], 11 + 2e-12);
  EXPECT_EQ(y[1], 10.5);
  EXPECT_NEAR(y[2], 14 + 5e-12, 4e-15);
  EXPECT_EQ(y[3], 9);
}

TEST(Products, MisuseIsNamed) {
  ThreadPool pool(1);
  const float x[12] = {};
  float y[12];
  const ConstMatrix a{DType::kF32, x, 3, 4, 16}, short_k{DType::kF32, x, 3, 2, 8};
  const MutableMatrix c{DType::kF32, y, 3, 3, 12}, wrong{DType::kF32, y, 3, 4, 16}, integers{DType::kI32, y, 3, 3, 12};
  EXPECT_THROW(product_nt(pool, Compute::kF32, a, short_k, c), ApiError);
  EXPECT_THROW(product_nt(pool, Compute::kF32, a, a, wrong), ApiError);
  EXPECT_THROW(product_nt(pool, Compute::kF32, a, a, integers), ApiError);
  EXPECT_THROW(product_nt(pool, Compute::kInt8, a, a, c), ApiError);
  EXPECT_THROW(products_nt(pool, Compute::kF32, a, std::vector<ProductTerm>{{a, c}, {a, wrong}}), ApiError);
}

}  // namespace
}  // namespace sedum
