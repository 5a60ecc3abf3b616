#pragma once
#include <vector>

#include "compute/autograd/context.h"
#include "model/config.h"
#include "model/nn/batch.h"

namespace sedum {

// Rotary embedding's angular frequencies (rotary_dim / 2), scaled as the config says: linear divides positions; Llama 3 leaves high
// frequencies, divides low ones by the factor and blends between ("The Llama 3 Herd of Models", 2024, and its reference code); YaRN does so by
// turns within the trained context (Peng et al. 2023); LongRoPE divides each by a number that was searched for, other ones in sequences
// beyond the trained context (Ding et al. 2024): `beyond`.
std::vector<float> rotary_frequencies(const ModelConfig& config, bool beyond = false);
// The same scaling as divisors of the unscaled frequencies: the form in which GGUF holds it.
std::vector<float> rotary_divisors(const ModelConfig& config);

// All that the tables of a step need.
struct Rotary {
  Rotary() = default;
  explicit Rotary(const ModelConfig& config);
  std::vector<float> frequencies;
  std::vector<float> beyond = {};  // in sequences longer than `trained`; empty: the same
  int64_t trained = 0;
  float attention_factor = 1;
  bool operator==(const Rotary&) const = default;
};

// cos and sin of position · frequency, times the attention factor: (rows, rotary_dim / 2), f32. How long a sequence is for LongRoPE: what the
// batch's context_length says, else what its segment shows.
struct RotaryTables {
  Tensor cos, sin;
};
RotaryTables rotary_tables(Context& ctx, const Rotary& rotary, const Batch& batch);

}  // namespace sedum
