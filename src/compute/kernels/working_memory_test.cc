#include "compute/kernels/working_memory.h"

#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "base/arena.h"
#include "compute/kernels/isa.h"

namespace sedum {
namespace {

// Anonymous memory that stays behind after `work` on threads that have never computed before.
template <class F>
int64_t held_by(F&& work) {
  int64_t held = 0;
  std::thread([&] {
    ThreadPool pool(2);
    pool.run([](int) {});
    const uint64_t before = memory_use().anonymous;
    work(pool);
    held = int64_t(memory_use().anonymous) - int64_t(before);
  }).join();
  return held;
}

struct Case {
  Product product;
  Compute compute;
  int64_t m, n, k;
};

// Two threads, each with its last huge page paid for whole, or not where the kernel grants none.
constexpr int64_t kSlack = int64_t{5} << 20;

TEST(WorkingMemory, OfProductsIsWhatStaysBehind) {
  for (const auto& [product, compute, m, n, k] :
       {Case{Product::kNT, Compute::kBF16, 1024, 896, 4864}, Case{Product::kNN, Compute::kBF16, 55, 896, 40000},
        Case{Product::kTN, Compute::kF32, 2000, 500, 1000}, Case{Product::kNT, Compute::kF32, 3, 400, 5000}}) {
    const bool a_along = product != Product::kTN, b_along = product == Product::kNT;
    const std::vector<float> a(size_t(m * k), 1), b(size_t(n * k), 1);
    std::vector<float> c(size_t(m * n), 1);
    const ConstMatrix am{DType::kF32, a.data(), a_along ? m : k, a_along ? k : m, size_t(a_along ? k : m) * 4};
    const ConstMatrix bm{DType::kF32, b.data(), b_along ? n : k, b_along ? k : n, size_t(b_along ? k : n) * 4};
    const MutableMatrix cm{DType::kF32, c.data(), m, n, size_t(n) * 4};
    const int64_t held = held_by([&, chosen = product, precision = compute](ThreadPool& pool) {
      if (chosen == Product::kNT) product_nt(pool, precision, am, bm, cm);
      if (chosen == Product::kNN) product_nn(pool, precision, am, bm, cm);
      if (chosen == Product::kTN) product_tn(pool, precision, am, bm, cm);
    });
    WorkingMemory working(2);
    working.product(compute, product, m, n, k, DType::kF32);
    EXPECT_NEAR(double(working.bytes()), double(held), double(kSlack)) << m << " " << n << " " << k;
  }
}

TEST(WorkingMemory, GrowsToTheGreatestNeed) {
  WorkingMemory working(2);
  EXPECT_EQ(working.bytes(), 0u);
  working.product(Compute::kBF16, Product::kNT, 0, 896, 896, DType::kF32);
  EXPECT_EQ(working.bytes(), 0u);
  working.product(Compute::kBF16, Product::kNT, 1024, 4864, 4864, DType::kF32);
  const uint64_t large = working.bytes();
  EXPECT_GT(large, 0u);
  working.product(Compute::kBF16, Product::kNT, 4, 32, 32, DType::kF32);
  EXPECT_EQ(working.bytes(), large);
}

TEST(WorkingMemory, OfAttention) {
  if (isa() == Isa::kPortable) GTEST_SKIP() << "the naive twins hold nothing";
  const AttentionShape shape{.num_heads = 14, .num_key_value_heads = 2, .head_dim = 64};
  const std::vector<AttentionSegment> segments{{0, 256, 0, 256}, {256, 700, 256, 700}};
  WorkingMemory forward(2), both(2);
  forward.attention(shape, segments, false);
  both.attention(shape, segments, false);
  both.attention(shape, segments, true);
  EXPECT_GT(forward.bytes(), 0u);
  EXPECT_GE(both.bytes(), forward.bytes() + 2 * 14 * 956 * 64 * 4);  // dk and dv of each query head, in f32
}

}  // namespace
}  // namespace sedum
