#pragma once
// The naive twin of products.h: what the three products mean. Specification, oracle of the tests, and double for finite differences.

#include <cstdint>

#include "base/thread_pool.h"
#include "compute/kernels/generic/products_table.h"

namespace sedum {
namespace ref {

// Element (i, j) of an operand stands at data[i · row_stride + j · col_stride]: a transpose is two numbers exchanged.
template <class T>
struct Strided {
  const T* data;
  int64_t row_stride, col_stride;
  T at(int64_t i, int64_t j) const { return data[i * row_stride + j * col_stride]; }
};

// c (m,n) = a (m,k) · b (k,n) for rows [begin, end); summed in double, rounded once.
template <class T>
void multiply_rows(int64_t begin, int64_t end, int64_t n, int64_t k, Strided<T> a, Strided<T> b, double* c) {
  for (int64_t i = begin; i < end; ++i)
    for (int64_t j = 0; j < n; ++j) {
      double sum = 0;
      for (int64_t q = 0; q < k; ++q) sum += double(a.at(i, q)) * double(b.at(q, j));
      c[i * n + j] = sum;
    }
}

// Over any types that products.h allows, and f64 × f64 → f64. bf16 rounding of operands is the caller's affair.
void multiply(ThreadPool& pool, Product product, const ConstMatrix& a, const ConstMatrix& b, const MutableMatrix& c,
              bool accumulate);

}  // namespace ref
}  // namespace sedum
