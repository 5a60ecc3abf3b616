#include "compute/ops/dropout.h"

#include <algorithm>
#include <cmath>

#include <gtest/gtest.h>

#include "base/error.h"
#include "compute/ops/operator_examples.h"

namespace sedum::ops {
namespace {

using In = std::span<const Variable>;

std::shared_ptr<const RowKeys> keys(std::vector<uint32_t> sequence, std::vector<uint32_t> position) {
  return std::make_shared<const RowKeys>(RowKeys{std::move(sequence), std::move(position)});
}
std::shared_ptr<const RowKeys> one_sequence(int64_t rows) {
  RowKeys k;
  for (int64_t i = 0; i < rows; ++i) k.sequence.push_back(3), k.position.push_back(uint32_t(i));
  return std::make_shared<const RowKeys>(std::move(k));
}
Segments whole(int64_t rows) {
  return std::make_shared<const std::vector<AttentionSegment>>(std::vector<AttentionSegment>{{0, rows, 0, rows}});
}
Context with_rows(const Context& c, int64_t rows) {
  Context d = c;
  d.rows = one_sequence(rows), d.seed = 11, d.step = 2;
  return d;
}

const Registered kDropout({"dropout", {{4, 19}}, [](Context& c, In in) {
                             Context d = with_rows(c, 4);
                             return dropout(d, in[0], 0.3f, 5);
                           }});
const Registered kNeftune({"neftune", {{4, 6}}, [](Context& c, In in) {
                             Context d = with_rows(c, 4);
                             return neftune(d, in[0], 5, whole(4));
                           }});
const Registered kAttention({"attention", {{7, 12}, {7, 6}, {7, 6}}, [](Context& c, In in) {
                               Context d = with_rows(c, 7);
                               const AttentionShape shape{
                                   .num_heads = 4, .num_key_value_heads = 2, .head_dim = 3, .scale = 0.5f};
                               return attention(d, in[0], in[1], in[2], shape, whole(7), 0.4f, 9);
                             }});

struct DropoutTest : ::testing::Test {
  Arena arena;
  std::vector<float> run(std::shared_ptr<const RowKeys> rows, int64_t cols, float p, int threads = 1, uint32_t step = 0,
                         uint32_t site = 1, uint64_t seed = 7) {
    ThreadPool pool(threads);
    Context ctx{.pool = &pool, .arena = &arena, .seed = seed, .step = step, .rows = rows};
    Tensor ones = ctx.empty(DType::kF32, {int64_t(rows->sequence.size()), cols});
    std::fill_n(ones.data<float>(), ones.count(), 1.0f);
    const Tensor y = dropout(ctx, Variable(ones), p, site).value();
    return {y.data<float>(), y.data<float>() + y.count()};
  }
};

// Binomial: the share of zeros lies within 4.5 deviations of p, and what is kept is scaled so that the mean stays 1.
TEST_F(DropoutTest, KeepsTheExpectation) {
  for (const float p : {0.05f, 0.3f, 0.9f}) {
    const auto y = run(one_sequence(200), 500, p);
    const double n = double(y.size()), zeros = double(std::count(y.begin(), y.end(), 0.0f));
    EXPECT_NEAR(zeros / n, p, 4.5 * std::sqrt(p * (1 - p) / n) + 1e-5);
    for (const float v : y) ASSERT_TRUE(v == 0 || std::abs(v * (1 - p) - 1) < 2e-4) << v;
  }
}

TEST_F(DropoutTest, AnotherSeedStepSiteRowAndColumnDropOthers) {
  const auto base = run(one_sequence(8), 64, 0.5f);
  EXPECT_NE(base, run(one_sequence(8), 64, 0.5f, 1, 1));
  EXPECT_NE(base, run(one_sequence(8), 64, 0.5f, 1, 0, 2));
  EXPECT_NE(base, run(one_sequence(8), 64, 0.5f, 1, 0, 1, 8));
  EXPECT_FALSE(std::equal(base.begin(), base.begin() + 64, base.begin() + 64));
  EXPECT_FALSE(std::equal(base.begin(), base.begin() + 32, base.begin() + 32));
}

// A row's zeros follow from its sample and its place in it, whoever shares the batch and however many threads there are.
TEST_F(DropoutTest, DoesNotDependOnBatchOrThreads) {
  const auto alone = run(keys({9, 9}, {0, 1}), 33, 0.5f);
  const auto among = run(keys({4, 9, 9, 5}, {0, 0, 1, 0}), 33, 0.5f, 2);
  EXPECT_TRUE(std::equal(alone.begin(), alone.end(), among.begin() + 33));
}

TEST_F(DropoutTest, NothingHappensInEvaluation) {
  ThreadPool pool(1);
  Context ctx{.pool = &pool, .arena = &arena};
  const Variable x(Tensor::zeros(arena, DType::kF32, {2, 3}));
  EXPECT_EQ(dropout(ctx, x, 0.5f, 1).value().raw(), x.value().raw());
  EXPECT_EQ(neftune(ctx, x, 5, whole(2)).value().raw(), x.value().raw());
  EXPECT_THROW(dropout(ctx, x, 1, 1), ApiError);
  ctx.rows = one_sequence(3);
  EXPECT_THROW(dropout(ctx, x, 0.5f, 1), ApiError);
}

TEST_F(DropoutTest, NeftuneStaysWithinItsBound) {
  ThreadPool pool(2);
  Context ctx{.pool = &pool, .arena = &arena, .seed = 3, .rows = one_sequence(50)};
  const Variable x(Tensor::zeros(arena, DType::kF32, {50, 64}));
  const auto parts = std::make_shared<const std::vector<AttentionSegment>>(
      std::vector<AttentionSegment>{{0, 10, 0, 10}, {10, 40, 10, 40}});
  const Tensor y = neftune(ctx, x, 5, parts).value();
  for (const auto& [begin, count] : {std::pair<int64_t, int64_t>{0, 10}, {10, 40}}) {
    const double bound = 5 / std::sqrt(double(count) * 64), n = double(count) * 64;
    double squares = 0;
    for (int64_t i = begin * 64; i < (begin + count) * 64; ++i) {
      ASSERT_LE(std::abs(y.data<float>()[i]), bound * (1 + 1e-6));
      squares += double(y.data<float>()[i]) * y.data<float>()[i];
    }
    EXPECT_NEAR(squares / n, bound * bound / 3, 4.5 * bound * bound / 3 * std::sqrt(0.8 / n));  // a uniform variable's
  }
}

}  // namespace
}  // namespace sedum::ops
