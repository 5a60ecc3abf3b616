#pragma once
// The linear layer and its low-rank adaptation, over weights as they are stored.

#include <memory>
#include <span>
#include <vector>

#include "compute/autograd/tape.h"

namespace sedum::ops {

// W (N,K): trainable, or frozen and then of any stored type. A frozen one may have packed forms, which serve steps whose
// Context::compute is theirs: `packed` the forward product, `packed_transposed` (Wᵀ) the backward one.
struct Weight {
  Variable stored;
  std::shared_ptr<const PackedMatrix> packed = nullptr, packed_transposed = nullptr;
  float soft_cap = 0;  // of a model's head: logits become cap · tanh(logit / cap); 0: none. See head_logits()
  int64_t out_features() const { return stored.shape()[0]; }
  int64_t in_features() const { return stored.shape()[1]; }
};

// y (…,N) = x (…,K) · Wᵀ + bias (N). bias may be null.
Variable linear(Context& ctx, const Variable& x, const Weight& weight, const Variable* bias = nullptr);

// The logits of a head: linear(), capped where the head says so.
Variable head_logits(Context& ctx, const Variable& x, const Weight& head);

// linear() of one x by several weights, without a tape: packed weights share the quantised x and one parallel region.
struct LinearTerm {
  const Weight* weight;
  const Variable* bias;
};
std::vector<Variable> linear_group(Context& ctx, const Variable& x, std::span<const LinearTerm> terms);

// y = x · Wᵀ + bias + factor · (x · Aᵀ) · Bᵀ with A (r,K), B (N,r): the sum of three linear() in one pass over y.
// Hu et al.: "LoRA: Low-Rank Adaptation of Large Language Models", 2021; factor is lora_alpha / r. low: what the adapter sees in place
// of x, that is x with dropout; null: x.
Variable lora_linear(Context& ctx, const Variable& x, const Weight& weight, const Variable* bias, const Variable& a,
                     const Variable& b, float factor, const Variable* low = nullptr);

// y += factor · (x · Aᵀ) · Bᵀ, without a tape.
void add_low_rank(Context& ctx, const Variable& x, const Variable& a, const Variable& b, float factor, Tensor& y);

}  // namespace sedum::ops
