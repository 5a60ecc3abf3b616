#pragma once
// The three matrix products of a linear layer, over any stored weight format.
//
//   product_nt(pool, Compute::kBF16, x, w, y);        // y (M,N) = x (M,K) · W (N,K)ᵀ      forward
//   product_nn(pool, Compute::kBF16, dy, w, dx);      // dx (M,K) = dy (M,N) · W (N,K)     backward by data
//   product_tn(pool, Compute::kBF16, dy, x, dw);      // dW (N,K) = dyᵀ (N,M) · x (M,K)    backward by weights
//   auto packed = pack(pool, Compute::kInt8, w);      // once, for a frozen W
//   product_packed(pool, x, *packed, y);              // y (M,N) = x · Wᵀ, one row or many
//
// One panel geometry: a line is 64 bytes, 16 columns × 1 f32, × 2 bf16 or × 4 int8. Each result is summed by one thread in an
// order that depends on K alone: the same bits for any number of threads and for any number of rows beside it.

#include <cstdint>
#include <memory>

#include "base/thread_pool.h"
#include "compute/dtype/dtype.h"

namespace sedum {

enum class Compute {
  kF32,   // exact: operands as f32, f32 sums. f64 operands are multiplied in f64, by the naive twin
  kBF16,  // operands rounded to bf16, f32 sums
  kInt8,  // activations quantised in blocks of 32, packed low-bit weights, int32 sums within a block
};
const char* name(Compute compute);

// A matrix stored by rows: `rows` × `cols` values of `dtype`, `row_bytes` apart.
struct ConstMatrix {
  DType dtype;
  const void* data;
  int64_t rows, cols;
  size_t row_bytes;
};
struct MutableMatrix {
  DType dtype;  // kF32 or kBF16 (f64 in the naive twin)
  void* data;
  int64_t rows, cols;
  size_t row_bytes;
};

// accumulate: add to what is there instead of overwriting it. Weights may be of any type that decode() reads, activations and
// gradients f32 or bf16 (all f64 for finite differences). compute is kF32 or kBF16. Empty sizes are allowed; K = 0 gives zeros.
void product_nt(ThreadPool& pool, Compute compute, ConstMatrix x, ConstMatrix w, MutableMatrix y,
                bool accumulate = false);
void product_nn(ThreadPool& pool, Compute compute, ConstMatrix dy, ConstMatrix w, MutableMatrix dx,
                bool accumulate = false);
void product_tn(ThreadPool& pool, Compute compute, ConstMatrix dy, ConstMatrix x, MutableMatrix dw,
                bool accumulate = false);

// W (N,K) repacked once into panels for the forward product. Quantised weights keep their bits.
class PackedMatrix {
 public:
  virtual ~PackedMatrix() = default;
  virtual int64_t rows() const = 0;  // N
  virtual int64_t cols() const = 0;  // K
  virtual size_t bytes() const = 0;
  virtual Compute compute() const = 0;
};
// kInt8 takes block formats (and f32, f16, bf16, which are rounded to Q8_0 first); returns null where this combination has no packed
// form (a K that is not a multiple of 32): the caller then uses product_nt.
std::unique_ptr<PackedMatrix> pack(ThreadPool& pool, Compute compute, ConstMatrix w);
void product_packed(ThreadPool& pool, ConstMatrix x, const PackedMatrix& w, MutableMatrix y, bool accumulate = false);

}  // namespace sedum
