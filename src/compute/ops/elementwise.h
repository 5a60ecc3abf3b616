#pragma once
// Operators on single values: sums, products, activation functions.

#include "compute/autograd/tape.h"

namespace sedum::ops {

Variable add(Context& ctx, const Variable& a, const Variable& b);       // same shapes
Variable multiply(Context& ctx, const Variable& a, const Variable& b);  // same shapes
Variable scale(Context& ctx, const Variable& x, float factor);
Variable silu(Context& ctx, const Variable& x);
Variable gelu(Context& ctx, const Variable& x);                           // x Φ(x), by erf
Variable gelu_tanh(Context& ctx, const Variable& x);                      // the same by GPT-2's formula: kernels/rows.h
Variable soft_cap(Context& ctx, const Variable& x, float cap);            // cap · tanh(x / cap)
Variable swiglu(Context& ctx, const Variable& gate, const Variable& up);  // silu(gate) · up, fused
Variable reshape(Context& ctx, const Variable& x, const Shape& shape);    // a view
// y (…, count) = the columns [begin, begin + count) of x (…, C), a copy.
Variable columns(Context& ctx, const Variable& x, int64_t begin, int64_t count);
Variable sum(Context& ctx, const Variable& x);  // of all values, a scalar; adds in double

}  // namespace sedum::ops
