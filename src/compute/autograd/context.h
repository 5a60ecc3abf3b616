#pragma once
// What an operator runs in: threads, memory, precision and, while training, the tape.

#include <cstdint>
#include <memory>
#include <vector>

#include "base/arena.h"
#include "base/thread_pool.h"
#include "compute/kernels/products.h"
#include "compute/tensor/tensor.h"

namespace sedum {

class Tape;
class WorkingMemory;

// Which training sample each row of a step belongs to, and its place in it: what random numbers are counted by, so that they do not
// depend on who shares the batch.
struct RowKeys {
  std::vector<uint32_t> sequence, position;
};

struct Context {
  ThreadPool* pool;
  Arena* arena;
  Tape* tape = nullptr;  // null: nothing is recorded
  Compute compute = Compute::kF32;
  uint64_t seed = 0;  // of dropout and its like: counted by (seed, purpose, step, index)
  uint32_t step = 0;
  std::shared_ptr<const RowKeys> rows = {};  // null: no dropout and no noise, as in evaluation
  WorkingMemory* working = nullptr;          // in the shape-only mode: told what kernels would hold

  bool runs() const { return arena->backed(); }  // false in the shape-only mode: sizes, no numbers
  Tensor empty(DType dtype, const Shape& shape) const { return Tensor::empty(*arena, dtype, shape); }
  Tensor zeros(DType dtype, const Shape& shape) const { return Tensor::zeros(*arena, dtype, shape); }
};

}  // namespace sedum
