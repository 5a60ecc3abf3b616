#include "compute/kernels/working_memory.h"

#include <algorithm>

namespace sedum {

void WorkingMemory::product(Compute compute, Product product, int64_t m, int64_t n, int64_t k, DType result) {
  if (m == 0 || n == 0 || k == 0) return;
  const ProductScratch need = scratch_of(threads_, compute, product, m, n, k, result);
  product_caller_ = std::max(product_caller_, need.bytes);
  if (need.threads > 1) product_others_ = std::max(product_others_, need.bytes);
}

void WorkingMemory::attention(const AttentionShape& shape, std::span<const AttentionSegment> segments, bool backward) {
  const AttentionScratch need = attention_scratch(shape, segments, backward);
  attention_.bytes_each = std::max(attention_.bytes_each, need.bytes_each);
  attention_.bytes_once = std::max(attention_.bytes_once, need.bytes_once);
}

uint64_t WorkingMemory::bytes() const {
  const uint64_t others = uint64_t(threads_ - 1);
  return product_scratch_size(product_caller_) + others * product_scratch_size(product_others_) +
         uint64_t(threads_) * attention_.bytes_each + attention_.bytes_once;
}

}  // namespace sedum
