#pragma once
#include "model/nn/batch.h"

namespace sedum {

// Attention of a layer's rows over their own sequences: by the tape's operator where there is no past, else over what the state holds once
// this step's keys and values are stored. q (rows, H·D), k and v (rows, Hkv·D) → (rows, H·D).
// dropout: of the probabilities, while training.
Variable attend(Context& ctx, const Batch& batch, int64_t layer, const Variable& q, const Variable& k,
                const Variable& v, const AttentionShape& shape, float dropout = 0);

}  // namespace sedum
