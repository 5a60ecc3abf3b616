#include "compute/tensor/tensor.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/error.h"

namespace sedum {
namespace {

Shape contiguous_strides(const Shape& shape) {
  Shape strides = shape;
  int64_t step = 1;
  for (int i = shape.rank() - 1; i >= 0; --i) strides[i] = step, step *= std::max<int64_t>(shape[i], 1);
  return strides;
}

size_t stored_bytes(DType dtype, const Shape& shape) {
  return shape.rank() == 0 ? row_bytes(dtype, 1) : size_t(shape.rows()) * row_bytes(dtype, shape[-1]);
}

struct ArenaBlock {
  Arena* arena;
  void* data;
  size_t bytes;
  ~ArenaBlock() { arena->release(data, bytes); }
};

}  // namespace

Tensor Tensor::empty(Arena& arena, DType dtype, const Shape& shape) {
  Tensor t;
  t.dtype_ = dtype, t.shape_ = shape, t.strides_ = contiguous_strides(shape);
  const size_t bytes = stored_bytes(dtype, shape);
  t.data_ = arena.allocate(bytes);
  t.owner_ = std::make_shared<const ArenaBlock>(&arena, t.data_, bytes);
  return t;
}

Tensor Tensor::zeros(Arena& arena, DType dtype, const Shape& shape) {
  Tensor t = empty(arena, dtype, shape);
  if (arena.backed()) std::memset(t.data_, 0, t.bytes());
  return t;
}

Tensor Tensor::external(DType dtype, const Shape& shape, const void* data, std::shared_ptr<const void> owner) {
  stored_bytes(dtype, shape);  // checks the block
  Tensor t;
  t.dtype_ = dtype, t.shape_ = shape, t.strides_ = contiguous_strides(shape);
  t.data_ = const_cast<void*>(data);
  t.owner_ = std::move(owner);
  return t;
}

size_t Tensor::bytes() const { return stored_bytes(dtype_, shape_); }

bool Tensor::contiguous() const {
  int64_t step = 1;
  for (int i = shape_.rank() - 1; i >= 0; --i) {
    if (shape_[i] != 1 && strides_[i] != step) return false;
    step *= std::max<int64_t>(shape_[i], 1);
  }
  return true;
}

void Tensor::check_type(DType wanted) const {
  if (dtype_ != wanted)
    throw ApiError("tensor", std::string("data of ") + name(dtype_) + shape_.text() + " asked for as " + name(wanted));
}

Tensor Tensor::reshape(const Shape& shape) const {
  if (!contiguous()) throw ApiError("reshape", "the tensor " + shape_.text() + " is a view that is not contiguous");
  if (shape.count() != count()) throw ApiError("reshape", shape_.text() + " has not as many values as " + shape.text());
  if (info(dtype_).block > 1 && shape[-1] % info(dtype_).block)
    throw ApiError("reshape", "rows of " + shape.text() + " would cut a block");
  Tensor t = *this;
  t.shape_ = shape, t.strides_ = contiguous_strides(shape);
  return t;
}

Tensor Tensor::transpose(int a, int b) const {
  const int rank = shape_.rank();
  if (a < 0) a += rank;
  if (b < 0) b += rank;
  if (a < 0 || b < 0 || a >= rank || b >= rank) throw ApiError("transpose", "no such dimension in " + shape_.text());
  if (info(dtype_).block > 1) throw ApiError("transpose", std::string("a view cannot turn blocks of ") + name(dtype_));
  Tensor t = *this;
  std::swap(t.shape_[a], t.shape_[b]);
  std::swap(t.strides_[a], t.strides_[b]);
  return t;
}

Tensor Tensor::slice(int dimension, int64_t begin, int64_t end) const {
  const int rank = shape_.rank();
  if (dimension < 0) dimension += rank;
  if (dimension < 0 || dimension >= rank || begin < 0 || begin > end || end > shape_[dimension])
    throw ApiError("slice", std::to_string(begin) + ":" + std::to_string(end) + " of dimension " +
                                std::to_string(dimension) + " of " + shape_.text());
  const DTypeInfo& type = info(dtype_);
  const int64_t values = begin * strides_[dimension];
  if (type.block > 1 && (values % type.block || (dimension == rank - 1 && end != shape_[dimension])))
    throw ApiError("slice", std::string("would cut a block of ") + type.name);
  Tensor t = *this;
  t.shape_[dimension] = end - begin;
  t.data_ = static_cast<char*>(data_) + values / type.block * type.block_bytes;
  return t;
}

}  // namespace sedum
