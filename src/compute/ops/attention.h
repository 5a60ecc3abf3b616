#pragma once
#include <memory>
#include <vector>

#include "compute/autograd/tape.h"
#include "compute/kernels/attention.h"

namespace sedum::ops {

using Segments = std::shared_ptr<const std::vector<AttentionSegment>>;

// out (R, H·D): attention of q (R, H·D) over k, v (R', Hkv·D) by segments; see kernels/attention.h.
// dropout: the share of probabilities that are dropped, if the context has rows; site: see ops/dropout.h.
Variable attention(Context& ctx, const Variable& q, const Variable& k, const Variable& v, const AttentionShape& shape,
                   const Segments& segments, float dropout = 0, uint32_t site = 0);

// Rotary embedding by the tables cos, sin (R, half); x (R, heads·head_dim). See kernels/rows.h.
Variable rope(Context& ctx, const Variable& x, const Tensor& cos, const Tensor& sin, int64_t head_dim);

}  // namespace sedum::ops
