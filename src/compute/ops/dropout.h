#pragma once
// Noise that training wants: dropout and NEFTune. Both do nothing where the context has no rows (Context::rows), as in evaluation.
//
//   constexpr uint32_t site = stream_of("model.layers.0.mlp");        // each place in a model has random numbers of its own
//   Variable y = dropout(ctx, x, 0.1f, site);

#include <memory>
#include <optional>

#include "compute/kernels/dropout.h"
#include "compute/ops/attention.h"

namespace sedum::ops {

// x / (1 − p) or 0, for each value by itself. x (R, …), R the context's rows. ApiError for p outside [0, 1).
Variable dropout(Context& ctx, const Variable& x, float p, uint32_t site);

// x + uniform noise within ±alpha / √(L·C), L the length of the row's sequence: x (R, C), the embeddings. Jain et al.: "NEFTune: Noisy
// Embeddings Improve Instruction Finetuning", 2023.
Variable neftune(Context& ctx, const Variable& x, float alpha, const Segments& segments);

// The kernel's dropout with the rows it points to.
struct CountedDropout {
  Dropout dropout;
  std::shared_ptr<const RowKeys> rows;
};
// None for p = 0 and where the context has no rows, or no memory behind it.
std::optional<CountedDropout> counted_dropout(const Context& ctx, float p, uint32_t site, int64_t rows);

}  // namespace sedum::ops
