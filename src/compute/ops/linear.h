#pragma once
// The linear layer and its low-rank adaptation, over weights as they are stored.

#include <memory>

#include "compute/autograd/tape.h"

namespace sedum::ops {

// W (N,K): trainable, or frozen and then of any stored type. `packed`, if there is one, serves steps without a tape whose
// Context::compute is the packed matrix's own.
struct Weight {
  Variable stored;
  std::shared_ptr<const PackedMatrix> packed;
  int64_t out_features() const { return stored.shape()[0]; }
  int64_t in_features() const { return stored.shape()[1]; }
};

// y (…,N) = x (…,K) · Wᵀ + bias (N). bias may be null.
Variable linear(Context& ctx, const Variable& x, const Weight& weight, const Variable* bias = nullptr);

// y = x · Wᵀ + bias + factor · (x · Aᵀ) · Bᵀ with A (r,K), B (N,r): the sum of three linear() in one pass over y.
// Hu et al.: "LoRA: Low-Rank Adaptation of Large Language Models", 2021; factor is lora_alpha / r.
Variable lora_linear(Context& ctx, const Variable& x, const Weight& weight, const Variable* bias, const Variable& a,
                     const Variable& b, float factor);

}  // namespace sedum::ops
