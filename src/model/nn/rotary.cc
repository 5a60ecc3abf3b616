#include "model/nn/rotary.h"

#include <cmath>
#include <numbers>

namespace sedum {

std::vector<float> rotary_frequencies(const ModelConfig& config) {
  const RopeScaling& scaling = config.rope_scaling;
  const int64_t dim = config.rotary_dim(), half = dim / 2;
  std::vector<float> frequencies(static_cast<size_t>(half));
  for (int64_t i = 0; i < half; ++i) {
    // In f32 throughout, as the reference implementation: positions of some thousands make differences visible.
    float f = 1.0f / std::pow(config.rope_theta, float(2 * i) / float(dim));
    if (!scaling.frequency_divisors.empty())
      f /= scaling.frequency_divisors[size_t(i)];
    else if (scaling.type == RopeScaling::Type::kLinear)
      f /= scaling.factor;
    else if (scaling.type == RopeScaling::Type::kLlama3) {
      const float context = float(scaling.original_max_position_embeddings),
                  wavelength = 2 * std::numbers::pi_v<float> / f;
      if (wavelength > context / scaling.low_freq_factor)
        f /= scaling.factor;
      else if (wavelength > context / scaling.high_freq_factor) {
        const float smooth =
            (context / wavelength - scaling.low_freq_factor) / (scaling.high_freq_factor - scaling.low_freq_factor);
        f = (1 - smooth) * f / scaling.factor + smooth * f;
      }
    }
    frequencies[size_t(i)] = f;
  }
  return frequencies;
}

std::vector<float> rotary_divisors(const ModelConfig& config) {
  ModelConfig plain = config;
  plain.rope_scaling = {};
  std::vector<float> divisors = rotary_frequencies(plain);
  const std::vector<float> scaled = rotary_frequencies(config);
  for (size_t i = 0; i < divisors.size(); ++i) divisors[i] /= scaled[i];
  return divisors;
}

RotaryTables rotary_tables(Context& ctx, const std::vector<float>& frequencies, const std::vector<int32_t>& positions) {
  const int64_t rows = int64_t(positions.size()), half = int64_t(frequencies.size());
  RotaryTables tables{ctx.empty(DType::kF32, {rows, half}), ctx.empty(DType::kF32, {rows, half})};
  if (!ctx.runs()) return tables;
  float *cos = tables.cos.data<float>(), *sin = tables.sin.data<float>();
  ctx.pool->parallel_for(
      rows,
      [&](int64_t begin, int64_t end) {
        for (int64_t r = begin; r < end; ++r)
          for (int64_t i = 0; i < half; ++i) {
            const float angle = float(positions[size_t(r)]) * frequencies[size_t(i)];
            cos[r * half + i] = std::cos(angle), sin[r * half + i] = std::sin(angle);
          }
      },
      16);
  return tables;
}

}  // namespace sedum
