#include "model/nn/rotary.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace sedum {

namespace {

// Llama 3: low frequencies are divided by the factor, high ones stay, those between are blended.
float llama3_scaled(float f, const RopeScaling& s) {
  const float context = float(s.original_max_position_embeddings), wavelength = 2 * std::numbers::pi_v<float> / f;
  if (wavelength > context / s.low_freq_factor) return f / s.factor;
  if (wavelength <= context / s.high_freq_factor) return f;
  const float smooth = (context / wavelength - s.low_freq_factor) / (s.high_freq_factor - s.low_freq_factor);
  return (1 - smooth) * f / s.factor + smooth * f;
}

// YaRN: dimensions before `low` keep their frequency, those from `high` on are divided by the factor.
struct YarnRange {
  double low, high;
};
YarnRange yarn_range(const RopeScaling& s, int64_t dim, float theta) {
  const auto dimension = [&](float turns) {
    return double(dim) * std::log(double(s.original_max_position_embeddings) / (double(turns) * 2 * std::numbers::pi)) /
           (2 * std::log(double(theta)));
  };
  double low = dimension(s.beta_fast), high = dimension(s.beta_slow);
  if (s.truncate) low = std::floor(low), high = std::ceil(high);
  low = std::max(low, 0.0), high = std::min(high, double(dim - 1));
  return {low, low == high ? high + 0.001 : high};
}

float yarn_scaled(float power, int64_t i, const RopeScaling& s, const YarnRange& range) {
  const float ramp = std::clamp(float((double(i) - range.low) / (range.high - range.low)), 0.0f, 1.0f), kept = 1 - ramp;
  return 1.0f / (s.factor * power) * (1 - kept) + 1.0f / power * kept;
}

}  // namespace

std::vector<float> rotary_frequencies(const ModelConfig& config, bool beyond) {
  const RopeScaling& scaling = config.rope_scaling;
  const int64_t dim = config.rotary_dim(), half = dim / 2;
  std::vector<float> frequencies(static_cast<size_t>(half));
  const YarnRange range =
      scaling.type == RopeScaling::Type::kYarn ? yarn_range(scaling, dim, config.rope_theta) : YarnRange{};
  for (int64_t i = 0; i < half; ++i) {
    // In f32 throughout, as the reference implementation: positions of some thousands make differences visible.
    const float power = std::pow(config.rope_theta, float(2 * i) / float(dim));
    float f = 1.0f / power;
    if (!scaling.frequency_divisors.empty())
      f /= scaling.frequency_divisors[size_t(i)];
    else if (scaling.type == RopeScaling::Type::kLinear)
      f /= scaling.factor;
    else if (scaling.type == RopeScaling::Type::kLlama3)
      f = llama3_scaled(f, scaling);
    else if (scaling.type == RopeScaling::Type::kYarn)
      f = yarn_scaled(power, i, scaling, range);
    else if (scaling.type == RopeScaling::Type::kLongRope)
      f = 1.0f / ((beyond ? scaling.long_factor : scaling.short_factor)[size_t(i)] * power);
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

Rotary::Rotary(const ModelConfig& config) : frequencies(rotary_frequencies(config)) {
  const RopeScaling& s = config.rope_scaling;
  if (s.type == RopeScaling::Type::kYarn || s.type == RopeScaling::Type::kLongRope)
    attention_factor = s.attention_factor;
  if (s.type == RopeScaling::Type::kLongRope)
    beyond = rotary_frequencies(config, true), trained = s.original_max_position_embeddings;
}

namespace {

// Which rows belong to sequences longer than the trained context.
std::vector<char> rows_beyond(const Rotary& rotary, const Batch& batch) {
  std::vector<char> rows(batch.positions.size(), char(batch.context_length > rotary.trained));
  if (batch.context_length > 0 || !batch.segments) return rows;
  for (const AttentionSegment& s : *batch.segments) {
    const auto begin = batch.positions.begin() + s.query_begin, end = begin + s.query_count;
    const bool longer = begin != end && *std::max_element(begin, end) >= rotary.trained;
    std::fill_n(rows.begin() + s.query_begin, s.query_count, char(longer));
  }
  return rows;
}

}  // namespace

RotaryTables rotary_tables(Context& ctx, const Rotary& rotary, const Batch& batch) {
  const int64_t rows = int64_t(batch.positions.size()), half = int64_t(rotary.frequencies.size());
  RotaryTables tables{ctx.empty(DType::kF32, {rows, half}), ctx.empty(DType::kF32, {rows, half})};
  if (!ctx.runs()) return tables;
  float *cos = tables.cos.data<float>(), *sin = tables.sin.data<float>();
  const std::vector<char> beyond = rotary.beyond.empty() ? std::vector<char>(size_t(rows)) : rows_beyond(rotary, batch);
  const float factor = rotary.attention_factor;
  ctx.pool->parallel_for(
      rows,
      [&](int64_t begin, int64_t end) {
        for (int64_t r = begin; r < end; ++r) {
          const std::vector<float>& frequencies = beyond[size_t(r)] ? rotary.beyond : rotary.frequencies;
          for (int64_t i = 0; i < half; ++i) {
            const float angle = float(batch.positions[size_t(r)]) * frequencies[size_t(i)];
            cos[r * half + i] = std::cos(angle) * factor, sin[r * half + i] = std::sin(angle) * factor;
          }
        }
      },
      16);
  return tables;
}

}  // namespace sedum
