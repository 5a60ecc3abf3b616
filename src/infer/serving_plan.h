#pragma once
// The memory that a model takes while it generates, before any is spent.
//
//   ServingPlan p = plan_serving(Checkpoint::open("model.gguf"), Compute::kInt8, DType::kI8, 4096, 8);
//   p.packed_bytes + p.cache_bytes     // what is held; the file's own pages are read once when it is packed

#include "compute/kernels/products.h"
#include "model/checkpoint/checkpoint.h"

namespace sedum {

struct ServingPlan {
  uint64_t file_bytes = 0;      // all tensors as they are stored
  uint64_t packed_bytes = 0;    // with Compute::kInt8; else products read the file's own
  int64_t token_bytes = 0;      // keys and values of one token, over all layers
  int64_t sequence_tokens = 0;  // that one sequence holds at most: its context, or less where all layers have a window
  uint64_t cache_bytes = 0;     // whole pages of `sequences` such
};

// kv_cache: kF32, kBF16 or kI8. context: 0 for the model's own, at most 32,768. Error for a context that the model does not have.
ServingPlan plan_serving(const Checkpoint& checkpoint, Compute compute, DType kv_cache, int64_t context,
                         int64_t sequences);

}  // namespace sedum
