#pragma once
// What kernels hold beside tensors: working memory of each thread, which grows to the greatest need and stays. In the shape-only mode
// operators say here what they would call, and the planner reads the sum.
//
//   WorkingMemory working(pool.size());
//   working.product(Compute::kBF16, Product::kNT, 1024, 896, 896, DType::kF32);
//   working.bytes();

#include <cstdint>
#include <span>

#include "compute/kernels/attention.h"
#include "compute/kernels/generic/products_table.h"

namespace sedum {

class WorkingMemory {
 public:
  explicit WorkingMemory(int threads) : threads_(threads) {}
  void product(Compute compute, Product product, int64_t m, int64_t n, int64_t k,
               DType result);  // C (m,n), sums over k
  void attention(const AttentionShape& shape, std::span<const AttentionSegment> segments, bool backward);
  uint64_t bytes() const;  // of all threads together

 private:
  int64_t threads_;
  size_t product_caller_ = 0, product_others_ = 0;  // of one thread
  AttentionScratch attention_;
};

}  // namespace sedum
