#include "compute/ops/attention.h"

#include <cmath>

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/random.h"
#include "compute/ops/norm.h"
#include "compute/ops/operator_examples.h"

namespace sedum::ops {
namespace {

Segments segments(std::vector<AttentionSegment> v) {
  return std::make_shared<const std::vector<AttentionSegment>>(std::move(v));
}

using In = std::span<const Variable>;
const AttentionShape kGrouped{.num_heads = 4, .num_key_value_heads = 2, .head_dim = 3, .scale = 0.5f};
const Registered kCausal({"attention", {{7, 12}, {7, 6}, {7, 6}}, [](Context& c, In in) {
                            return attention(c, in[0], in[1], in[2], kGrouped, segments({{0, 4, 0, 4}, {4, 3, 4, 3}}));
                          }});
const Registered kCross({"attention", {{3, 12}, {5, 6}, {5, 6}}, [](Context& c, In in) {
                           AttentionShape shape = kGrouped;
                           shape.causal = false;
                           return attention(c, in[0], in[1], in[2], shape, segments({{0, 3, 0, 5}}));
                         }});
const Registered kWindowCap({"attention", {{6, 12}, {6, 6}, {6, 6}}, [](Context& c, In in) {
                               AttentionShape shape = kGrouped;
                               shape.window = 2, shape.soft_cap = 3;
                               return attention(c, in[0], in[1], in[2], shape, segments({{0, 6, 0, 6}}));
                             }});

Tensor table(Context& c, bool cosine) {
  Tensor t = c.empty(DType::kF64, {3, 2});
  for (int i = 0; i < 6; ++i) t.data<double>()[i] = cosine ? std::cos(0.3 * i) : std::sin(0.3 * i);
  return t;
}
const Registered kRope({"rope", {{3, 10}}, [](Context& c, In in) {
                          return rope(c, in[0], table(c, true), table(c, false), 5);
                        }});

// Fused attention against softmax(q kᵀ) v written out, one head.
TEST(Attention, IsItsUnfusedDefinition) {
  ThreadPool pool(2);
  Arena arena;
  Context ctx{.pool = &pool, .arena = &arena};
  const int64_t n = 9, d = 8;
  const auto normal = [&](uint32_t stream) {
    Tensor t = ctx.empty(DType::kF32, {n, d});
    for (int64_t i = 0; i < n * d; ++i) t.data<float>()[i] = Random(5, Purpose::kTest, stream).normal(uint64_t(i));
    return Variable(t);
  };
  const Variable q = normal(0), k = normal(1), v = normal(2);
  const AttentionShape shape{.num_heads = 1, .num_key_value_heads = 1, .head_dim = int(d), .scale = 0.4f};
  const Variable out = attention(ctx, q, k, v, shape, segments({{0, n, 0, n}}));
  for (int64_t i = 0; i < n; ++i) {
    std::vector<double> p(size_t(i) + 1);
    double sum = 0;
    for (int64_t j = 0; j <= i; ++j) {
      double score = 0;
      for (int64_t c = 0; c < d; ++c)
        score += double(q.value().data<float>()[i * d + c]) * k.value().data<float>()[j * d + c];
      sum += p[size_t(j)] = std::exp(0.4 * score);
    }
    for (int64_t c = 0; c < d; ++c) {
      double expected = 0;
      for (int64_t j = 0; j <= i; ++j) expected += p[size_t(j)] / sum * v.value().data<float>()[j * d + c];
      EXPECT_NEAR(out.value().data<float>()[i * d + c], expected,
                  40 * 1.2e-7);  // 8 + 9 products and an exp, values of size one
    }
  }
}

TEST(Attention, SegmentsBeyondTheRowsAreRefused) {
  ThreadPool pool(1);
  Arena arena;
  Context ctx{.pool = &pool, .arena = &arena};
  const Variable q(Tensor::zeros(arena, DType::kF32, {4, 12})), k(Tensor::zeros(arena, DType::kF32, {4, 6}));
  EXPECT_THROW(attention(ctx, q, k, k, kGrouped, segments({{2, 3, 0, 4}})), ApiError);
  EXPECT_THROW(attention(ctx, k, k, k, kGrouped, segments({{0, 4, 0, 4}})), ApiError);
}

}  // namespace
}  // namespace sedum::ops
