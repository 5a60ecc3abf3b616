#include "compute/ops/activations.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "compute/ops/operator_examples.h"

namespace sedum::ops {
namespace {

using In = std::span<const Variable>;
const Registered kRelu({"relu", {{4, 7}}, [](Context& c, In in) { return relu(c, in[0]); }});
const Registered kTanh({"tanh", {{4, 7}}, [](Context& c, In in) { return tanh(c, in[0]); }});

TEST(Activations, ReluKeepsWhatIsAboveZero) {
  ThreadPool pool(1);
  Arena arena;
  Context ctx{.pool = &pool, .arena = &arena};
  Tensor x = ctx.empty(DType::kF32, {4});
  const float values[] = {-2, 0, 1e-30f, 3};
  std::copy_n(values, 4, x.data<float>());
  const Variable y = relu(ctx, Variable(x));
  EXPECT_EQ(std::vector<float>(y.value().data<float>(), y.value().data<float>() + 4),
            (std::vector<float>{0, 0, 1e-30f, 3}));
}

TEST(Activations, AnotherNameIsRefused) {
  ThreadPool pool(1);
  Arena arena;
  Context ctx{.pool = &pool, .arena = &arena};
  EXPECT_THROW(activation(ctx, "mish", Variable(ctx.zeros(DType::kF32, {2}))), ApiError);
}

}  // namespace
}  // namespace sedum::ops
