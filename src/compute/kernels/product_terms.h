#pragma once
// Several products with one left operand, in one parallel region: each thread packs its part of that operand once for all of them (packing a
// row costs what multiplying it with seven columns does). Every result has the bits of its product alone.
//
//   const ProductTerm terms[] = {{wq, q}, {wk, k}, {wv, v}};
//   products_nt(pool, Compute::kBF16, x, terms);            // q = x · wqᵀ, k = x · wkᵀ, v = x · wvᵀ
//
// And f16, a further way to multiply: operands rounded to f16 (beyond 65504: infinite), f32 sums, at the speed of f32.

#include <span>

#include "compute/kernels/products.h"

namespace sedum {

// A Compute that has no name among its first three: all functions of products.h take it but for int8's.
inline constexpr Compute kF16Products = Compute(3);

struct ProductTerm {
  ConstMatrix b;
  MutableMatrix c;
  bool accumulate = false;
};
// Sizes and types as in product_nt() and product_nn(), which are these with one term.
void products_nt(ThreadPool& pool, Compute compute, ConstMatrix x, std::span<const ProductTerm> terms);
void products_nn(ThreadPool& pool, Compute compute, ConstMatrix dy, std::span<const ProductTerm> terms);

}  // namespace sedum
