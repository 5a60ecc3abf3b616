#include "compute/ops/pooling.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "compute/ops/operator_examples.h"

namespace sedum::ops {
namespace {

using In = std::span<const Variable>;

Segments segments(std::vector<AttentionSegment> v) {
  return std::make_shared<const std::vector<AttentionSegment>>(std::move(v));
}
const Registered kMean({"segment_mean", {{7, 5}}, [](Context& c, In in) {
                          return segment_mean(c, in[0], segments({{0, 2, 0, 2}, {3, 4, 3, 4}}));
                        }});

TEST(SegmentMean, IsTheMeanOfItsRows) {
  ThreadPool pool(1);
  Arena arena;
  Context ctx{.pool = &pool, .arena = &arena};
  Tensor x = ctx.empty(DType::kF32, {4, 2});
  for (int i = 0; i < 8; ++i) x.data<float>()[i] = float(i * i);
  const Variable y = segment_mean(ctx, Variable(x), segments({{0, 1, 0, 1}, {1, 3, 1, 3}}));
  const float expected[] = {0, 1, (4 + 16 + 36) / 3.0f, (9 + 25 + 49) / 3.0f};
  for (int i = 0; i < 4; ++i) EXPECT_FLOAT_EQ(y.value().data<float>()[i], expected[i]);
  EXPECT_THROW(segment_mean(ctx, Variable(x), segments({{2, 3, 0, 3}})), ApiError);
}

}  // namespace
}  // namespace sedum::ops
