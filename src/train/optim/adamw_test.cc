#include "train/optim/adamw.h"

#include <cmath>
#include <limits>

#include <gtest/gtest.h>

#include "model/runtime_model.h"

namespace sedum {
namespace {

Variable parameter(Runtime& runtime, const Shape& shape, const std::vector<float>& values) {
  Tensor t = Tensor::empty(runtime.arena, DType::kF32, shape);
  std::copy(values.begin(), values.end(), t.data<float>());
  return Variable::parameter(t, "p");
}
void set_gradient(Runtime& runtime, Variable& p, const std::vector<float>& values) {
  p.gradient() = Tensor::empty(runtime.arena, DType::kF32, p.shape());
  std::copy(values.begin(), values.end(), p.gradient().data<float>());
}

// Loshchilov, Hutter 2019, in double: five steps of a matrix (with decay) and a vector (without).
TEST(AdamW, FollowsTheDefinition) {
  Runtime runtime(2);
  Context ctx = runtime.context(Compute::kF32);
  std::vector<Variable> p{parameter(runtime, {1, 3}, {0.5f, -2, 3}), parameter(runtime, {3}, {0.5f, -2, 3})};
  const AdamWOptions o{.beta1 = 0.8f, .beta2 = 0.95f, .eps = 1e-6f, .weight_decay = 0.1f};
  AdamW adam(ctx, p, o);
  double x[2][3] = {{0.5, -2, 3}, {0.5, -2, 3}}, m[2][3] = {}, v[2][3] = {};
  for (int t = 1; t <= 5; ++t) {
    for (int k = 0; k < 2; ++k) {
      set_gradient(runtime, p[size_t(k)], {0.3f * float(t), -1, 0.02f});
      for (int i = 0; i < 3; ++i) {
        const double g = 0.5 * (i == 0 ? 0.3 * t : i == 1 ? -1 : 0.02), rate = 0.01 * t;
        m[k][i] = 0.8 * m[k][i] + 0.2 * g, v[k][i] = 0.95 * v[k][i] + 0.05 * g * g;
        x[k][i] -= rate * (k == 0 ? 0.1 : 0) * x[k][i];
        x[k][i] -= rate * (m[k][i] / (1 - std::pow(0.8, t))) / (std::sqrt(v[k][i] / (1 - std::pow(0.95, t))) + 1e-6);
      }
    }
    adam.step(ctx, 0.01f * float(t), 0.5f, t - 1);
    EXPECT_FALSE(p[0].gradient().defined());
  }
  for (int k = 0; k < 2; ++k)
    for (int i = 0; i < 3; ++i)
      EXPECT_NEAR(p[size_t(k)].value().data<float>()[i], x[k][i], 5 * 4 * 6e-8 * (1 + std::abs(x[k][i]))) << k << i;
}

TEST(AdamW, ParametersWithoutAGradientStay) {
  Runtime runtime(1);
  Context ctx = runtime.context(Compute::kF32);
  const Variable p = parameter(runtime, {2, 1}, {1, 2});
  AdamW adam(ctx, {p}, {.weight_decay = 0.5f});
  EXPECT_EQ(adam.gradient_norm(ctx), 0);
  adam.step(ctx, 1, 1, 0);
  EXPECT_EQ(p.value().data<float>()[0], 1);
}

TEST(AdamW, NormIsOverAllParameters) {
  Runtime runtime(2);
  Context ctx = runtime.context(Compute::kF32);
  std::vector<Variable> p{parameter(runtime, {1}, {0}), parameter(runtime, {2}, {0, 0})};
  AdamW adam(ctx, p, {});
  set_gradient(runtime, p[0], {3}), set_gradient(runtime, p[1], {0, -4});
  EXPECT_DOUBLE_EQ(adam.gradient_norm(ctx), 5);
  set_gradient(runtime, p[0], {std::numeric_limits<float>::quiet_NaN()});
  EXPECT_TRUE(std::isnan(adam.gradient_norm(ctx)));
  set_gradient(runtime, p[0], {1e30f});  // its square is beyond f32
  EXPECT_NEAR(adam.gradient_norm(ctx), 1e30, 1e24);
}

TEST(ClipScale, AsTorchHasIt) {
  EXPECT_EQ(clip_scale(0.5, 1), 1);
  EXPECT_FLOAT_EQ(clip_scale(4, 1), float(1 / (4 + 1e-6)));
  EXPECT_EQ(clip_scale(1e9, 0), 1);  // no limit
  EXPECT_EQ(clip_scale(0, 1), 1);
}

}  // namespace
}  // namespace sedum
