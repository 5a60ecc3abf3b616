#include "compute/kernels/machine.h"

#include <cmath>
#include <tuple>

#include <gtest/gtest.h>

#include "base/error.h"
#include "compute/kernels/products_measure.h"

namespace sedum {
namespace {

// How fast is no test's business: that every figure is one that can be divided by is.
void expect_speed(double per_second, const char* what) {
  EXPECT_TRUE(std::isfinite(per_second)) << what;
  EXPECT_GT(per_second, 0) << what;
}

TEST(Machine, EveryInstructionSetHasPeaks) {
  ThreadPool pool(2);
  for (const Isa each : available_isas())
    for (const Compute compute : {Compute::kF32, Compute::kBF16, Compute::kInt8})
      expect_speed(measure_peak(pool, each, compute), name(each));
}

TEST(Machine, BandwidthIsOfAnySizeThatThreadsCanShare) {
  for (const int threads : {1, 3}) {
    ThreadPool pool(threads);
    expect_speed(measure_read_bandwidth(pool, 1 << 20), "1 MiB");
    expect_speed(measure_read_bandwidth(pool, 5000), "no multiple of a step");
  }
}

TEST(ProductSpeed, HoldsOfEveryProduct) {
  ThreadPool pool(2);
  const int64_t m = 3, n = 64, k = 96;
  for (const auto& [product, compute, weights, packed] : {std::tuple{Product::kNT, Compute::kF32, DType::kF32, false},
                                                          {Product::kNT, Compute::kBF16, DType::kQ4_0, false},
                                                          {Product::kNN, Compute::kBF16, DType::kBF16, false},
                                                          {Product::kTN, Compute::kBF16, DType::kBF16, false},
                                                          {Product::kNT, Compute::kBF16, DType::kBF16, true},
                                                          {Product::kNT, Compute::kInt8, DType::kQ8_0, true}}) {
    const DType activations = compute == Compute::kBF16 ? DType::kBF16 : DType::kF32;
    const ProductSpeed speed = measure_product(pool, {product, compute, weights, activations, m, n, k, packed}, 0);
    expect_speed(speed.seconds, "seconds");
    expect_speed(speed.share, "share");
    EXPECT_DOUBLE_EQ(speed.operations_per_second, 2.0 * m * n * k / speed.seconds);
    if (product == Product::kTN)
      EXPECT_EQ(speed.weight_bytes_per_second, 0);  // it reads none
    else if (!packed)
      EXPECT_DOUBLE_EQ(speed.weight_bytes_per_second, double(n) * double(row_bytes(weights, k)) / speed.seconds);
    else
      expect_speed(speed.weight_bytes_per_second, "packed weights");
  }
}

TEST(ProductSpeed, RefusesWhatIsNoProduct) {
  ThreadPool pool(1);
  const auto measure = [&](Compute compute, DType weights, int64_t k, bool packed) {
    measure_product(pool, {Product::kNT, compute, weights, DType::kF32, 1, 32, k, packed}, 0);
  };
  EXPECT_THROW(measure(Compute::kF32, DType::kQ4_0, 33, false), ApiError);  // half a block
  EXPECT_THROW(measure(Compute::kInt8, DType::kF32, 33, true), ApiError);   // no packed form
  EXPECT_THROW(measure(Compute::kInt8, DType::kQ8_0, 32, false), ApiError);
}

}  // namespace
}  // namespace sedum
