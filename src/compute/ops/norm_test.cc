#include "compute/ops/norm.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "compute/ops/operator_examples.h"

namespace sedum::ops {
namespace {

using In = std::span<const Variable>;
const Registered kRmsNorm({"rms_norm", {{3, 7}, {7}}, [](Context& c, In in) {
                             return rms_norm(c, in[0], in[1], 1e-5f);
                           }});
const Registered kLayerNorm({"layer_norm", {{3, 7}, {7}, {7}}, [](Context& c, In in) {
                               return layer_norm(c, in[0], in[1], in[2], 1e-5f);
                             }});
const Registered kSoftmax({"softmax", {{3, 6}}, [](Context& c, In in) { return softmax(c, in[0], 0.7f); }});

TEST(Norm, MisuseIsRefused) {
  ThreadPool pool(1);
  Arena arena;
  Context ctx{.pool = &pool, .arena = &arena};
  const Variable x(Tensor::zeros(arena, DType::kF32, {2, 4})), w(Tensor::zeros(arena, DType::kF32, {3}));
  EXPECT_THROW(rms_norm(ctx, x, w, 1e-5f), ApiError);
  EXPECT_THROW(layer_norm(ctx, x, w, w, 1e-5f), ApiError);
}

}  // namespace
}  // namespace sedum::ops
