#pragma once
// The activation functions of encoders, and the choice of one by the name that config.json has.

#include <string>

#include "compute/autograd/tape.h"

namespace sedum::ops {

Variable relu(Context& ctx, const Variable& x);  // its gradient at 0 is 0, as PyTorch's
Variable tanh(Context& ctx, const Variable& x);
// "gelu" (by erf), "gelu_new" and "gelu_pytorch_tanh" (the formula), "relu", "silu"; ApiError for another.
Variable activation(Context& ctx, const std::string& name, const Variable& x);

}  // namespace sedum::ops
