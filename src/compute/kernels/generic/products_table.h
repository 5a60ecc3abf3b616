#pragma once
// What one instruction set offers for the products of products.h. Filled by isa/*_products.cc, chosen in products.cc; what reaches
// these functions was checked, and no size is zero.

#include <cstdint>

#include "base/thread_pool.h"
#include "compute/kernels/product_terms.h"

namespace sedum {

enum class Product { kNT, kNN, kTN };  // which of the three: it says along which side of each operand the sum runs

// Working memory of a product: `bytes` of product_scratch() touched on each of the threads that take part, the caller being the first.
struct ProductScratch {
  int64_t threads;
  size_t bytes;
};

constexpr int kMostTerms = 8;

struct ProductKernels {
  // 1 to kMostTerms products with one left operand.
  void (*multiply)(ThreadPool& pool, Compute compute, Product product, const ConstMatrix& a, const ProductTerm* terms,
                   int count);
  // Panels of W (N,K) for the forward product: their size and the packing.
  size_t (*packed_bytes)(Compute compute, int64_t rows, int64_t cols);
  void (*pack)(ThreadPool& pool, Compute compute, const ConstMatrix& w, void* panels);
  void (*multiply_packed)(ThreadPool& pool, Compute compute, const ConstMatrix& x, const void* panels,
                          const MutableMatrix& y, bool accumulate);
  // For multiply(): C (m,n), sums over k. Of several terms: n is the sum of theirs, each rounded up to 32.
  ProductScratch (*scratch)(int64_t threads, Compute compute, Product product, int64_t m, int64_t n, int64_t k,
                            DType result);
};

ProductScratch scratch_of(int64_t threads, Compute compute, Product product, int64_t m, int64_t n, int64_t k,
                          DType result);

extern const ProductKernels kPortableProducts, kAvx2Products, kAvx512Products, kAvx512Bf16Products, kAmxProducts;

// This thread's working memory, at least `bytes`, 64-byte aligned, in huge pages where granted. It grows to the largest product so far
// and stays until the thread ends: after the first call of a size nothing is allocated. The next call may move it.
std::byte* product_scratch(size_t bytes);
size_t product_scratch_size(size_t bytes);  // what it holds when that much was asked for

}  // namespace sedum
