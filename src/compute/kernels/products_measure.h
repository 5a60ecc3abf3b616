#pragma once
// Speed of the matrix products: operations per second, and what share that is of the peak measured beside it.
//
//   const ProductSpeed s = measure_product(pool, {Product::kNT, Compute::kBF16, DType::kQ4_0, DType::kBF16, 1024, 4096, 4096});
//   fmt::print("{:.0f} GFLOP/s, {:.0f} %", s.operations_per_second / 1e9, 100 * s.share);

#include <cstdint>

#include "compute/kernels/generic/products_table.h"

namespace sedum {

// A layer's own sizes, whichever product: tokens M, outputs N, inputs K. All three cost 2MNK operations.
struct ProductCase {
  Product product = Product::kNT;
  Compute compute = Compute::kBF16;
  DType weights = DType::kBF16;      // kTN: of the gradient
  DType activations = DType::kBF16;  // and the result of the others
  int64_t m = 0, n = 0, k = 0;
  bool packed = false;  // forward from pack()
};

struct ProductSpeed {
  double seconds = 0;  // median of one product
  double operations_per_second = 0;
  double share = 0;                    // of the peak
  double weight_bytes_per_second = 0;  // stored weights read: what bounds few rows
};

// At least `least_seconds` and five products, after one to warm up.
ProductSpeed measure_product(ThreadPool& pool, const ProductCase& what, double least_seconds = 0.3);

}  // namespace sedum
