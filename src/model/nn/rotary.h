#pragma once
#include <vector>

#include "compute/autograd/context.h"
#include "model/config.h"

namespace sedum {

// Rotary embedding's angular frequencies (head_dim / 2), scaled as the config says: linear divides positions; Llama 3 leaves high
// frequencies, divides low ones by the factor and blends between ("The Llama 3 Herd of Models", 2024, and its reference code).
std::vector<float> rotary_frequencies(const ModelConfig& config);
// The same scaling as divisors of the unscaled frequencies: the form in which GGUF holds it.
std::vector<float> rotary_divisors(const ModelConfig& config);

// cos and sin of position · frequency, (rows, head_dim / 2), f32.
struct RotaryTables {
  Tensor cos, sin;
};
RotaryTables rotary_tables(Context& ctx, const std::vector<float>& frequencies, const std::vector<int32_t>& positions);

}  // namespace sedum
