#include "compute/ops/log_probs.h"

#include <cmath>

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/random.h"
#include "compute/ops/elementwise.h"
#include "compute/ops/operator_examples.h"

namespace sedum::ops {
namespace {

using In = std::span<const Variable>;

Ids ids(std::vector<int32_t> v) { return std::make_shared<const std::vector<int32_t>>(std::move(v)); }
Tensor normal(Context& ctx, DType type, const Shape& shape, uint32_t stream) {
  Tensor t = ctx.empty(type, shape);
  const Random rng(4, Purpose::kTest, stream);
  for (int64_t i = 0; i < t.count(); ++i) {
    if (type == DType::kF64)
      t.data<double>()[i] = rng.normal(uint64_t(i));
    else
      t.data<float>()[i] = rng.normal(uint64_t(i));
  }
  return t;
}

const Registered kTrainedHead({"token_log_probs", {{4, 3}, {6, 3}}, [](Context& c, In in) {
                                 return token_log_probs(c, in[0], {in[1], nullptr}, ids({1, kIgnored, 5, 0}));
                               }});
const Registered kFrozenHead({"token_log_probs", {{4, 3}}, [](Context& c, In in) {
                                const Variable w(normal(c, DType::kF64, {6, 3}, 1));
                                return token_log_probs(c, in[0], {w, nullptr}, ids({1, kIgnored, 5, 0}));
                              }});
Weight capped(const Variable& stored) {
  Weight w{stored, nullptr};
  w.soft_cap = 1.5f;
  return w;
}
const Registered kCappedTrainedHead({"token_log_probs", {{4, 3}, {6, 3}}, [](Context& c, In in) {
                                       return token_log_probs(c, in[0], capped(in[1]), ids({1, kIgnored, 5, 0}));
                                     }});
const Registered kCappedFrozenHead({"token_log_probs", {{4, 3}}, [](Context& c, In in) {
                                      const Variable w(normal(c, DType::kF64, {6, 3}, 1));
                                      return token_log_probs(c, in[0], capped(w), ids({1, kIgnored, 5, 0}));
                                    }});
const Registered kCappedDistillation(
    {"distillation_head", {{4, 3}, {6, 3}}, [](Context& c, In in) {
       const Variable hidden(normal(c, DType::kF64, {4, 5}, 2)), head(normal(c, DType::kF64, {6, 5}, 3));
       const Weight weight = capped(head);
       return distillation_head(c, in[0], capped(in[1]), {hidden, weight}, ids({1, kIgnored, 5, 0}), {0.7f, 2.5f},
                                0.25f);
     }});
const Registered kDistillation(
    {"distillation_head", {{4, 3}, {6, 3}}, [](Context& c, In in) {
       const Variable hidden(normal(c, DType::kF64, {4, 5}, 2)), head(normal(c, DType::kF64, {6, 5}, 3));
       const Weight weight{head, nullptr};
       return distillation_head(c, in[0], {in[1], nullptr}, {hidden, weight}, ids({1, kIgnored, 5, 0}), {0.7f, 2.5f},
                                0.25f);
     }});

struct LogProbs : ::testing::Test {
  ThreadPool pool{2};
  Arena arena;
  Tape tape;
  Context ctx{.pool = &pool, .arena = &arena, .tape = &tape};
};

// Minus the losses of the head that adds them up; summed, it has minus its gradients: frozen and trained head alike, in several chunks.
TEST_F(LogProbs, AreTheLossesOfTheHead) {
  const int64_t rows = 119, width = 8, vocabulary = 150'000;  // 64 MiB hold 111 rows: chunks of 60 and 59
  std::vector<int32_t> labels(size_t(rows), 7);
  labels[3] = kIgnored;
  for (const bool trained : {false, true}) {
    const Variable x = Variable::parameter(normal(ctx, DType::kF32, {rows, width}, 0), "x");
    const Tensor stored = normal(ctx, DType::kF32, {vocabulary, width}, 1);
    const Weight w{trained ? Variable::parameter(stored, "w") : Variable(stored), nullptr};
    std::vector<float> each;
    tape.backward(ctx, cross_entropy_head(ctx, x, w, ids(labels), 1, &each));
    const Tensor dx = std::exchange(x.gradient(), {});
    const Tensor dw = trained ? std::exchange(w.stored.gradient(), {}) : Tensor();
    const Variable y = token_log_probs(ctx, x, w, ids(labels));
    ASSERT_EQ(y.shape(), (Shape{rows - 1}));
    for (int64_t r = 0; r < rows - 1; ++r) ASSERT_EQ(y.value().data<float>()[r], -each[size_t(r + (r >= 3))]) << r;
    tape.backward(ctx, sum(ctx, y));
    // Sums over the vocabulary of numbers of size one, in another order of chunks.
    for (int64_t i = 0; i < dx.count(); ++i) ASSERT_NEAR(x.gradient().data<float>()[i], -dx.data<float>()[i], 1e-4);
    for (int64_t i = 0; trained && i < dw.count(); ++i)
      ASSERT_NEAR(w.stored.gradient().data<float>()[i], -dw.data<float>()[i], 1e-4);
  }
}

// The two sums written out in double.
TEST_F(LogProbs, DistillationIsItsDefinition) {
  const Variable x(normal(ctx, DType::kF32, {2, 3}, 0)), w(normal(ctx, DType::kF32, {5, 3}, 1)),
      tx(normal(ctx, DType::kF32, {2, 4}, 2)), tw(normal(ctx, DType::kF32, {5, 4}, 3));
  const Weight teacher{tw, nullptr};
  double kl = 0, ce = 0;
  const double loss =
      double(*distillation_head(ctx, x, {w, nullptr}, {tx, teacher}, ids({4, kIgnored}), {0.3f, 2}, 0.5f, &kl, &ce)
                  .value()
                  .data<float>());
  const auto logits = [](const Variable& h, const Variable& weight) {
    std::vector<double> z(5);
    const int64_t n = weight.shape()[1];
    for (int64_t v = 0; v < 5; ++v)
      for (int64_t c = 0; c < n; ++c)
        z[size_t(v)] += double(h.value().data<float>()[c]) * double(weight.value().data<float>()[v * n + c]);
    return z;
  };
  const auto log_softmax = [](std::vector<double> z, double temperature) {
    double total = 0;
    for (double& v : z) total += std::exp(v /= temperature);
    for (double& v : z) v -= std::log(total);
    return z;
  };
  const auto s = logits(x, w), t = logits(tx, tw);
  const auto p = log_softmax(s, 2), q = log_softmax(t, 2);
  double expected = 0;
  for (size_t v = 0; v < 5; ++v) expected += std::exp(q[v]) * (q[v] - p[v]);
  EXPECT_NEAR(kl, expected, 1e-5);
  EXPECT_NEAR(ce, -log_softmax(s, 1)[4], 1e-5);
  EXPECT_NEAR(loss, 0.5 * (0.3 * 4 * expected + 0.7 * ce), 1e-5);
}

// A student that is its own teacher has nothing to learn.
TEST_F(LogProbs, ADistanceToOneselfIsZero) {
  const Variable x = Variable::parameter(normal(ctx, DType::kF32, {3, 4}, 0), "x"),
                 w(normal(ctx, DType::kF32, {9, 4}, 1));
  const Weight weight{w, nullptr};
  const Variable loss = distillation_head(ctx, x, weight, {x, weight}, ids({1, 2, 3}), {1, 3}, 1);
  EXPECT_NEAR(*loss.value().data<float>(), 0, 1e-6);
  tape.backward(ctx, loss);
  for (int64_t i = 0; i < 12; ++i) EXPECT_NEAR(x.gradient().data<float>()[i], 0, 1e-6);
}

TEST_F(LogProbs, OtherVocabulariesAreRefused) {
  const Variable x(normal(ctx, DType::kF32, {1, 3}, 0)), w(normal(ctx, DType::kF32, {5, 3}, 1)),
      other(normal(ctx, DType::kF32, {6, 3}, 2));
  const Weight teacher{other, nullptr};
  EXPECT_THROW(distillation_head(ctx, x, {w, nullptr}, {x, teacher}, ids({1}), {}, 1), ApiError);
}

}  // namespace
}  // namespace sedum::ops
