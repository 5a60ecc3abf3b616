#include "model/nn/rotary.h"

#include <cmath>
#include <numbers>

#include <gtest/gtest.h>

#include "model/runtime_model.h"

namespace sedum {
namespace {

ModelConfig config(int64_t head_dim, float theta) {
  ModelConfig c;
  c.head_dim = head_dim, c.rope_theta = theta;
  return c;
}

TEST(Rotary, Frequencies) {
  const auto f = rotary_frequencies(config(8, 10000));
  ASSERT_EQ(f.size(), 4u);
  for (int i = 0; i < 4; ++i) EXPECT_NEAR(f[size_t(i)], std::pow(10.0, -i), 1e-6 * std::pow(10.0, -i));
}

TEST(Rotary, LinearScalingDivides) {
  ModelConfig c = config(8, 10000);
  const auto plain = rotary_frequencies(c);
  c.rope_scaling.type = RopeScaling::Type::kLinear, c.rope_scaling.factor = 4;
  const auto scaled = rotary_frequencies(c);
  for (size_t i = 0; i < plain.size(); ++i) EXPECT_FLOAT_EQ(scaled[i], plain[i] / 4);
}

// High frequencies stay, low ones are divided, and between them it grows steadily.
TEST(Rotary, Llama3Scaling) {
  ModelConfig c = config(128, 500000);
  const auto plain = rotary_frequencies(c);
  c.rope_scaling = {.type = RopeScaling::Type::kLlama3,
                    .factor = 8,
                    .low_freq_factor = 1,
                    .high_freq_factor = 4,
                    .original_max_position_embeddings = 8192};
  const auto scaled = rotary_frequencies(c);
  int kept = 0, divided = 0;
  double before = 1;
  for (size_t i = 0; i < plain.size(); ++i) {
    const double wavelength = 2 * std::numbers::pi / double(plain[i]), ratio = double(scaled[i]) / double(plain[i]);
    if (wavelength < 8192 / 4.0) {
      EXPECT_EQ(ratio, 1);
      ++kept;
    }
    if (wavelength > 8192) {
      EXPECT_NEAR(ratio, 1 / 8.0, 1e-6);
      ++divided;
    }
    EXPECT_LE(ratio, before + 1e-6);
    before = ratio;
  }
  EXPECT_GT(kept, 10);
  EXPECT_GT(divided, 10);
  EXPECT_GT(int(plain.size()), kept + divided);  // some are blended
}

TEST(Rotary, DivisorsOfAFileComeFirst) {
  ModelConfig c = config(4, 100);
  c.rope_scaling = {.type = RopeScaling::Type::kLlama3, .frequency_divisors = {1, 5}};
  const auto f = rotary_frequencies(c);
  EXPECT_FLOAT_EQ(f[0], 1);
  EXPECT_FLOAT_EQ(f[1], 0.1f / 5);
  EXPECT_EQ(rotary_divisors(c), c.rope_scaling.frequency_divisors);
}

TEST(Rotary, DivisorsOfAConfigGiveItsFrequencies) {
  ModelConfig c = config(64, 10000);
  c.rope_scaling.type = RopeScaling::Type::kLlama3, c.rope_scaling.factor = 3;
  c.rope_scaling.original_max_position_embeddings = 512;
  ModelConfig by_divisors = c;
  by_divisors.rope_scaling.frequency_divisors = rotary_divisors(c);
  const auto a = rotary_frequencies(c), b = rotary_frequencies(by_divisors);
  for (size_t i = 0; i < a.size(); ++i) EXPECT_NEAR(b[i], a[i], 2 * 6e-8 * a[i]);
}

TEST(Rotary, TablesAreCosAndSinOfTheAngle) {
  Runtime runtime(2);
  Context ctx = runtime.context(Compute::kF32);
  std::vector<int32_t> positions;
  for (int i = 0; i < 100; ++i) positions.push_back((i * 37) % 2000);
  const std::vector<float> frequencies{1, 0.1f, 0.003f};
  Rotary rotary;
  rotary.frequencies = frequencies;
  Batch batch;
  batch.positions = positions;
  const RotaryTables t = rotary_tables(ctx, rotary, batch);
  ASSERT_EQ(t.cos.shape(), (Shape{100, 3}));
  for (size_t r = 0; r < positions.size(); ++r)
    for (size_t i = 0; i < 3; ++i) {
      const float angle = float(positions[r]) * frequencies[i];
      EXPECT_NEAR(t.cos.data<float>()[r * 3 + i], std::cos(double(angle)), 1e-6);
      EXPECT_NEAR(t.sin.data<float>()[r * 3 + i], std::sin(double(angle)), 1e-6);
    }
}

}  // namespace
}  // namespace sedum
