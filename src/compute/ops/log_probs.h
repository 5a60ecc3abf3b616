#pragma once
// Log-probabilities of tokens, and a student's distance from its teacher, without ever holding the logits.

#include "compute/ops/loss.h"

namespace sedum::ops {

// log softmax(hidden · Wᵀ)[label] of each row that has a label, in order: (count). hidden (R,C), weight (V,C), labels (R), kIgnored where
// there is none. For losses whose weight of a token is known only when all are (DPO, ORPO, KTO): with a frozen head the rows'
// gradients are made in the forward pass and scaled later; a trained head's chunks are computed again in the backward pass.
Variable token_log_probs(Context& ctx, const Variable& hidden, const Weight& weight, const Ids& labels);

// A scalar: factor · Σ over the rows with a label of alpha · T² · KL(teacher ‖ student) + (1 − alpha) · −log p(label), where KL is between
// the softmaxes of logits / T. Hinton et al.: "Distilling the Knowledge in a Neural Network", 2015. The teacher gets no gradient.
struct Teacher {
  const Variable& hidden;  // (R, its own width)
  const Weight& weight;    // (V, its own width)
};
struct DistillationLoss {
  float alpha = 0.5f, temperature = 2;
};
// kl, cross_entropy, if not null: the two sums (KL without T²), for the log.
Variable distillation_head(Context& ctx, const Variable& hidden, const Weight& weight, const Teacher& teacher,
                           const Ids& labels, const DistillationLoss& loss, float factor, double* kl = nullptr,
                           double* cross_entropy = nullptr);

}  // namespace sedum::ops
