#pragma once
#include "compute/ops/embedding.h"
#include "compute/ops/linear.h"

namespace sedum::ops {

inline constexpr int32_t kIgnored = -100;  // a label that counts for nothing

// A scalar: factor · Σ −log softmax(logits)[label] over the rows whose label is not kIgnored. logits (R,V).
Variable cross_entropy(Context& ctx, const Variable& logits, const Ids& labels, float factor);

// The same of logits = hidden · Wᵀ without ever holding them: hidden (R,C), weight (V,C). Only rows with a label are multiplied, in
// chunks; the gradients are made in the forward pass, while a chunk's logits are in cache. losses, if not null, receives −log p
// of each row (0 where ignored). smoothing ε: the target is 1 − ε on the label and ε spread evenly over the vocabulary, as
// transformers' label_smoothing_factor has it (Szegedy et al. 2015).
Variable cross_entropy_head(Context& ctx, const Variable& hidden, const Weight& weight, const Ids& labels, float factor,
                            std::vector<float>* losses = nullptr, float smoothing = 0);

}  // namespace sedum::ops
