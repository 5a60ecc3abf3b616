#pragma once
// What every operator begins with: shape checks that name the operator, and the choice of the scalar type.

#include <string>

#include "base/error.h"
#include "compute/autograd/tape.h"
#include "compute/kernels/working_memory.h"

namespace sedum::ops {

// Calls body with a value of the C++ type behind `dtype`; ApiError for one that activations cannot have.
template <class F>
void with_type(const char* op, DType dtype, F&& body) {
  switch (dtype) {
    case DType::kF32:
      return body(float{});
    case DType::kBF16:
      return body(bf16{});
    case DType::kF64:
      return body(double{});
    default:
      throw ApiError(op, std::string("no arithmetic on ") + name(dtype));
  }
}

// The same for statistics (losses, sums): f32 or f64.
template <class F>
void with_statistic(DType dtype, F&& body) {
  SEDUM_CHECK(dtype == DType::kF32 || dtype == DType::kF64);
  if (dtype == DType::kF64)
    body(double{});
  else
    body(float{});
}

inline void check(bool condition, const char* op, const std::string& problem) {
  if (!condition) throw ApiError(op, problem);
}

inline void check_same_shape(const char* op, const Variable& a, const Variable& b) {
  check(a.shape() == b.shape(), op, "shapes differ: " + a.shape().text() + " and " + b.shape().text());
  check(a.dtype() == b.dtype(), op, std::string("types differ: ") + name(a.dtype()) + " and " + name(b.dtype()));
}

inline void check_contiguous(const char* op, const Tensor& x) {
  check(x.contiguous(), op, "needs a contiguous tensor, got a view of " + x.shape().text());
}

// The gradient of a statistic-typed parameter (norm weights, biases): f32 beside f32 and bf16, f64 beside f64.
template <class T>
stat_t<T>* statistics(Tensor& t) {
  return t.data<stat_t<T>>();
}
template <class T>
const stat_t<T>* statistics(const Tensor& t) {
  return t.data<stat_t<T>>();
}

// (…, K) as a matrix of rows.
inline ConstMatrix matrix(const Tensor& t) {
  SEDUM_CHECK(t.defined() || t.count() == 0, "a weight of which only the packed form was kept");
  return {t.dtype(), t.raw(), t.shape().rows(), t.size(-1), row_bytes(t.dtype(), t.size(-1))};
}
inline MutableMatrix mutable_matrix(Tensor& t) {
  return {t.dtype(), t.raw(), t.shape().rows(), t.size(-1), row_bytes(t.dtype(), t.size(-1))};
}

// The products of kernels/products.h on tensors; in the shape-only mode only their working memory is noted.
inline void product_nt(Context& ctx, Compute compute, const Tensor& x, const Tensor& w, Tensor& y,
                       bool accumulate = false) {
  if (ctx.runs())
    sedum::product_nt(*ctx.pool, compute, matrix(x), matrix(w), mutable_matrix(y), accumulate);
  else if (ctx.working)
    ctx.working->product(compute, Product::kNT, y.shape().rows(), y.size(-1), x.size(-1), y.dtype());
}
inline void product_nn(Context& ctx, Compute compute, const Tensor& dy, const Tensor& w, Tensor& dx,
                       bool accumulate = false) {
  if (ctx.runs())
    sedum::product_nn(*ctx.pool, compute, matrix(dy), matrix(w), mutable_matrix(dx), accumulate);
  else if (ctx.working)
    ctx.working->product(compute, Product::kNN, dx.shape().rows(), dx.size(-1), dy.size(-1), dx.dtype());
}
inline void product_tn(Context& ctx, Compute compute, const Tensor& dy, const Tensor& x, Tensor& dw,
                       bool accumulate = false) {
  if (ctx.runs())
    sedum::product_tn(*ctx.pool, compute, matrix(dy), matrix(x), mutable_matrix(dw), accumulate);
  else if (ctx.working)
    ctx.working->product(compute, Product::kTN, dw.shape().rows(), dw.size(-1), x.shape().rows(), dw.dtype());
}

inline Shape with_last(Shape shape, int64_t size) {
  shape[-1] = size;
  return shape;
}

}  // namespace sedum::ops
