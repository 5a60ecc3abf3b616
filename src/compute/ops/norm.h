#pragma once
#include "compute/autograd/tape.h"

namespace sedum::ops {

// y = x / sqrt(mean(x²) + eps) · weight over the last size. x (…, C), weight (C) f32 (f64 beside f64).
Variable rms_norm(Context& ctx, const Variable& x, const Variable& weight, float eps);
// y = (x − mean) / sqrt(variance + eps) · weight + bias over the last size. weight, bias (C) as above.
Variable layer_norm(Context& ctx, const Variable& x, const Variable& weight, const Variable& bias, float eps);
// y = softmax(factor · x) over the last size.
Variable softmax(Context& ctx, const Variable& x, float factor = 1);

}  // namespace sedum::ops
