#include "compute/ops/relative_attention.h"

#include <cmath>

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/random.h"
#include "compute/ops/operator_examples.h"

namespace sedum::ops {
namespace {

using In = std::span<const Variable>;

Segments segments(std::vector<AttentionSegment> v) {
  return std::make_shared<const std::vector<AttentionSegment>>(std::move(v));
}

const AttentionShape kShape{.num_heads = 4, .num_key_value_heads = 2, .head_dim = 3, .scale = 0.7f, .causal = false};
AttentionShape causal() {
  AttentionShape shape = kShape;
  shape.causal = true;
  return shape;
}
const Registered kBoth({"relative_attention", {{9, 12}, {9, 6}, {9, 6}, {8, 4}}, [](Context& c, In in) {
                          return relative_attention(c, in[0], in[1], in[2], in[3], {true, 8, 6}, kShape,
                                                    segments({{0, 6, 0, 6}, {6, 3, 6, 3}}));
                        }});
const Registered kCausal(
    {"relative_attention", {{5, 12}, {7, 6}, {7, 6}, {6, 4}}, [](Context& c, In in) {
       return relative_attention(c, in[0], in[1], in[2], in[3], {false, 6, 5}, causal(), segments({{0, 5, 0, 7}}));
     }});

// The values of T5Attention._relative_position_bucket for 32 buckets and 128.
TEST(RelativeBuckets, AreThoseOfT5) {
  const RelativeBuckets both{true, 32, 128}, past{false, 32, 128};
  const std::vector<std::pair<int64_t, int64_t>> expected_both{
      {0, 0},  {-1, 1}, {-7, 7}, {-8, 8},  {-11, 8}, {-12, 9}, {-127, 15}, {-128, 15}, {-900, 15},
      {1, 17}, {7, 23}, {8, 24}, {16, 26}, {31, 27}, {64, 30}, {127, 31},  {900, 31}};
  for (const auto& [distance, bucket] : expected_both) EXPECT_EQ(both.of(distance), bucket) << distance;
  const std::vector<std::pair<int64_t, int64_t>> expected_past{{5, 0},    {0, 0},    {-15, 15},  {-16, 16}, {-20, 17},
                                                               {-32, 21}, {-64, 26}, {-127, 31}, {-500, 31}};
  for (const auto& [distance, bucket] : expected_past) EXPECT_EQ(past.of(distance), bucket) << distance;
}

struct Bench {
  ThreadPool pool{2};
  Arena arena;
  // The same numbers in f64 and rounded to f32, the former exactly the latter's.
  Variable numbers(DType type, const Shape& shape, uint32_t stream) {
    Tensor t = Tensor::empty(arena, type, shape);
    const Random rng(5, Purpose::kTest, stream);
    for (int64_t i = 0; i < t.count(); ++i)
      if (type == DType::kF64)
        t.data<double>()[i] = double(rng.normal(uint64_t(i)));
      else
        t.data<float>()[i] = rng.normal(uint64_t(i));
    return Variable::parameter(t, "input");
  }
};

// The fast kernels with the bias written out, and the products of the table's gradient, against the twin in double.
TEST(RelativeAttention, FastIsTheNaiveTwin) {
  for (const AttentionShape& shape : {kShape, causal()}) {
    Bench bench;
    std::vector<std::vector<double>> results[2];
    for (const DType type : {DType::kF32, DType::kF64}) {
      Tape tape;
      Context ctx{.pool = &bench.pool, .arena = &bench.arena, .tape = &tape};
      const std::vector<Variable> in{bench.numbers(type, {90, 12}, 1), bench.numbers(type, {90, 6}, 2),
                                     bench.numbers(type, {90, 6}, 3), bench.numbers(type, {8, 4}, 4)};
      const Variable y = relative_attention(ctx, in[0], in[1], in[2], in[3], {!shape.causal, 8, 30}, shape,
                                            segments({{0, 70, 0, 70}, {70, 20, 70, 20}}));
      auto& kept = results[type == DType::kF64];
      const auto keep = [&](const Tensor& t) {
        auto& to = kept.emplace_back();
        for (int64_t i = 0; i < t.count(); ++i)
          to.push_back(type == DType::kF64 ? t.data<double>()[i] : double(t.data<float>()[i]));
      };
      keep(y.value());
      const Variable seed = bench.numbers(type, y.shape(), 9);
      tape.backward(ctx, y, seed.value());
      for (const Variable& v : in) keep(v.gradient());
    }
    for (size_t r = 0; r < results[0].size(); ++r)
      for (size_t i = 0; i < results[0][r].size(); ++i)
        // Sums of up to 70 · 4 products of size one in f32; the table's buckets add 90 · 70 of them, each with half an ulp.
        EXPECT_NEAR(results[0][r][i], results[1][r][i], r == 4 ? 2e-5 : 4e-6) << "result " << r << ", value " << i;
  }
}

TEST(RelativeAttention, WrongTablesAreRefused) {
  Bench bench;
  Context ctx{.pool = &bench.pool, .arena = &bench.arena};
  const Variable q = bench.numbers(DType::kF32, {4, 12}, 1), k = bench.numbers(DType::kF32, {4, 6}, 2);
  EXPECT_THROW(relative_attention(ctx, q, k, k, bench.numbers(DType::kF32, {8, 3}, 3), {true, 8, 20}, kShape,
                                  segments({{0, 4, 0, 4}})),
               ApiError);
}

}  // namespace
}  // namespace sedum::ops
