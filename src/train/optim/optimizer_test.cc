#include "train/optim/optimizer.h"

#include <cmath>
#include <limits>

#include <gtest/gtest.h>

#include "base/random.h"
#include "compute/ops/check.h"
#include "model/runtime_model.h"
#include "train/optim/optimizers.h"

namespace sedum {
namespace {

Variable parameter(Runtime& runtime, const Shape& shape, const std::vector<float>& values,
                   const std::string& name = "p") {
  Tensor t = Tensor::empty(runtime.arena, DType::kF32, shape);
  std::copy(values.begin(), values.end(), t.data<float>());
  return Variable::parameter(t, name);
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
  const OptimizerOptions o{.beta1 = 0.8f, .beta2 = 0.95f, .eps = 1e-6f, .weight_decay = 0.1f};
  const auto made = make_optimizer(ctx, p, o);
  Optimizer& adam = *made;
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

TEST(Optimizers, ParametersWithoutAGradientStay) {
  Runtime runtime(1);
  Context ctx = runtime.context(Compute::kF32);
  const Variable p = parameter(runtime, {2, 1}, {1, 2});
  const auto made = make_optimizer(ctx, {p}, {.weight_decay = 0.5f});
  Optimizer& adam = *made;
  EXPECT_EQ(adam.gradient_norm(ctx), 0);
  adam.step(ctx, 1, 1, 0);
  EXPECT_EQ(p.value().data<float>()[0], 1);
}

TEST(Optimizers, NormIsOverAllParameters) {
  Runtime runtime(2);
  Context ctx = runtime.context(Compute::kF32);
  std::vector<Variable> p{parameter(runtime, {1}, {0}), parameter(runtime, {2}, {0, 0})};
  const auto made = make_optimizer(ctx, p, {});
  Optimizer& adam = *made;
  set_gradient(runtime, p[0], {3}), set_gradient(runtime, p[1], {0, -4});
  EXPECT_DOUBLE_EQ(adam.gradient_norm(ctx), 5);
  set_gradient(runtime, p[0], {std::numeric_limits<float>::quiet_NaN()});
  EXPECT_TRUE(std::isnan(adam.gradient_norm(ctx)));
  set_gradient(runtime, p[0], {1e30f});  // its square is beyond f32
  EXPECT_NEAR(adam.gradient_norm(ctx), 1e30, 1e24);
}

// The gap of singular values closes: XᵀX (or X·Xᵀ) comes near the identity, for wide, square and tall matrices. The quintic iteration leaves
// singular values between 0.68 and 1.14, so that its square has 0.46 … 1.3 on the diagonal.
TEST(Muon, OrthogonalisesMatrices) {
  Runtime runtime(2);
  Context ctx = runtime.context(Compute::kF32);
  for (const Shape& shape : {Shape{6, 40}, Shape{40, 6}, Shape{8, 8}}) {
    const Random random(5, Purpose::kTest);
    std::vector<float> values(size_t(shape.count()));
    for (size_t i = 0; i < values.size(); ++i) values[i] = 1e-4f * random.normal(i);
    Tensor x = parameter(runtime, shape, values).value();
    orthogonalise(ctx, x, 12);
    const int64_t least = std::min(shape[0], shape[1]);
    Tensor gram = ctx.empty(DType::kF32, {least, least});
    if (shape[0] <= shape[1])
      ops::product_nt(ctx, Compute::kF32, x, x, gram);
    else
      ops::product_tn(ctx, Compute::kF32, x, x, gram);
    for (int64_t i = 0; i < least; ++i)
      for (int64_t j = 0; j < least; ++j) {
        const float value = gram.data<float>()[i * least + j];
        if (i == j)
          EXPECT_TRUE(value > 0.44f && value < 1.4f) << shape.text() << value;
        else
          EXPECT_LT(std::abs(value), 0.45f) << shape.text();
      }
  }
}

TEST(Muon, EmbeddingsHeadsAndVectorsAreAdamWs) {
  Runtime runtime(1);
  const auto hidden = [&](const Shape& shape, const std::string& name) {
    return is_hidden_matrix(parameter(runtime, shape, std::vector<float>(size_t(shape.count())), name));
  };
  EXPECT_TRUE(hidden({2, 2}, "model.layers.0.mlp.up_proj.weight"));
  EXPECT_FALSE(hidden({2, 2}, "model.embed_tokens.weight") || hidden({2, 2}, "lm_head.weight") ||
               hidden({2}, "model.layers.0.input_layernorm.weight"));
}

TEST(Optimizers, StatesTakeWhatTheirTypesSay) {
  Runtime runtime(1);
  Context ctx = runtime.context(Compute::kF32);
  const Variable large = parameter(runtime, {64, 128}, std::vector<float>(8192)),
                 small = parameter(runtime, {64}, std::vector<float>(64));
  const auto bytes = [&](const OptimizerOptions& options) {
    size_t sum = 0;
    for (const auto& [name, tensor] : make_optimizer(ctx, {large, small}, options)->states()) sum += tensor.bytes();
    return sum;
  };
  EXPECT_EQ(bytes({}), 8 * (8192 + 64));
  EXPECT_EQ(bytes({.state_dtype = DType::kBF16}), 4 * (8192 + 64));
  EXPECT_EQ(bytes({.kind = OptimizerKind::kAdamW8Bit}), 2 * 8192 + 2 * 4 * 32 + 8 * 64);
  EXPECT_EQ(bytes({.kind = OptimizerKind::kSgd}), 0);
  EXPECT_EQ(bytes({.kind = OptimizerKind::kSgd, .momentum = 0.9f}), 4 * (8192 + 64));
  EXPECT_EQ(bytes({.kind = OptimizerKind::kAdafactor}), 4 * (64 + 128 + 64));
  EXPECT_EQ(bytes({.kind = OptimizerKind::kMuon}), 4 * 8192 + 8 * 64);
}

TEST(Optimizers, ClipsValuesOfGradients) {
  Runtime runtime(1);
  Context ctx = runtime.context(Compute::kF32);
  Variable p = parameter(runtime, {2}, {0, 0});
  const auto made = make_optimizer(ctx, {p}, {});
  set_gradient(runtime, p, {3, -0.5f});
  made->clip_gradient_values(ctx, 0);
  EXPECT_EQ(p.gradient().data<float>()[0], 3);
  made->clip_gradient_values(ctx, 1);
  EXPECT_EQ(p.gradient().data<float>()[0], 1);
  EXPECT_EQ(p.gradient().data<float>()[1], -0.5f);
}

TEST(ClipScale, AsTorchHasIt) {
  EXPECT_EQ(clip_scale(0.5, 1), 1);
  EXPECT_FLOAT_EQ(clip_scale(4, 1), float(1 / (4 + 1e-6)));
  EXPECT_EQ(clip_scale(1e9, 0), 1);  // no limit
  EXPECT_EQ(clip_scale(0, 1), 1);
}

}  // namespace
}  // namespace sedum
