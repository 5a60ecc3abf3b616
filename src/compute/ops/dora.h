#pragma once
// Weight-decomposed low-rank adaptation: a layer's weight is m ⊙ (W + sBA) / ‖W + sBA‖, the norm of each row taken as a constant when
// going back. Liu et al.: "DoRA: Weight-Decomposed Low-Rank Adaptation", 2024.
//
//   Tensor norms = adapted_norms(ctx, weight, squares, a, b, factor);
//   Variable z = lora_linear(ctx, x, weight, nullptr, a, b, factor);
//   Variable y = scale_columns(ctx, z, magnitude, norms, bias);

#include "compute/ops/linear.h"

namespace sedum::ops {

// Σ over a row of W² for each row: (N), in f32 (f64 of f64). W of any stored type; a row is decoded at a time.
Tensor row_squares(Context& ctx, const Weight& weight);

// ‖W + factor · B · A‖ of each row, (N), without forming the sum: ‖W‖² + 2s (W Aᵀ)·B + s² B (A Aᵀ) Bᵀ. In f32 at every precision.
Tensor adapted_norms(Context& ctx, const Weight& weight, const Tensor& squares, const Tensor& a, const Tensor& b,
                     float factor);

// y = z · magnitude / norms + bias, column by column: z (…, N), magnitude and norms (N), bias (N) or null.
Variable scale_columns(Context& ctx, const Variable& z, const Variable& magnitude, const Tensor& norms,
                       const Variable* bias);

}  // namespace sedum::ops
