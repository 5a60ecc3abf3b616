#pragma once
// A handle on numbers: type, shape, strides and a share in their storage. Copying a Tensor copies the handle.
//
//   Tensor x = Tensor::empty(arena, DType::kF32, {rows, cols});
//   float* p = x.data<float>();
//   Tensor head = x.slice(1, 0, 64);          // a view: the same storage
//   Tensor w = Tensor::external(DType::kQ4_0, {n, k}, mapped, owner);
//
// Contents of empty() are undefined. A tensor in an arena without memory (the shape-only mode) has everything but numbers:
// operators compute shapes and sizes on it and never touch data().

#include <cstddef>
#include <memory>

#include "base/arena.h"
#include "compute/dtype/dtype.h"
#include "compute/tensor/shape.h"

namespace sedum {

class Tensor {
 public:
  Tensor() = default;  // undefined
  static Tensor empty(Arena& arena, DType dtype, const Shape& shape);
  static Tensor zeros(Arena& arena, DType dtype, const Shape& shape);
  // Memory that somebody else owns; `owner` keeps it alive. Block types: the last size is a multiple of the block.
  static Tensor external(DType dtype, const Shape& shape, const void* data,
                         std::shared_ptr<const void> owner = nullptr);

  bool defined() const { return data_ != nullptr; }
  DType dtype() const { return dtype_; }
  const Shape& shape() const { return shape_; }
  int64_t size(int dimension) const { return shape_[dimension]; }
  int64_t stride(int dimension) const { return strides_[dimension]; }  // in values
  int64_t count() const { return shape_.count(); }
  size_t bytes() const;  // of the values, as a contiguous tensor stores them
  bool contiguous() const;

  const void* raw() const { return data_; }
  void* raw() { return data_; }
  template <class T>
  const T* data() const {
    check_type(dtype_of<T>);
    return static_cast<const T*>(data_);
  }
  template <class T>
  T* data() {
    check_type(dtype_of<T>);
    return static_cast<T*>(data_);
  }

  // Views. reshape needs a contiguous tensor and an equal count; ApiError otherwise.
  Tensor reshape(const Shape& shape) const;
  Tensor transpose(int a, int b) const;
  Tensor slice(int dimension, int64_t begin, int64_t end) const;

  bool shares_storage_with(const Tensor& other) const { return owner_ && owner_ == other.owner_; }

 private:
  void check_type(DType wanted) const;
  DType dtype_ = DType::kF32;
  Shape shape_, strides_;
  void* data_ = nullptr;
  std::shared_ptr<const void> owner_;
};

}  // namespace sedum
