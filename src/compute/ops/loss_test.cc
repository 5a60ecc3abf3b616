#include "compute/ops/loss.h"

#include <cmath>

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/random.h"
#include "compute/ops/operator_examples.h"

namespace sedum::ops {
namespace {

Ids ids(std::vector<int32_t> v) { return std::make_shared<const std::vector<int32_t>>(std::move(v)); }

using In = std::span<const Variable>;
const Registered kPlain({"cross_entropy", {{4, 6}}, [](Context& c, In in) {
                           return cross_entropy(c, in[0], ids({1, kIgnored, 5, 0}), 0.25f);
                         }});
const Registered kHead({"cross_entropy_head", {{4, 3}, {6, 3}}, [](Context& c, In in) {
                          return cross_entropy_head(c, in[0], {in[1], nullptr}, ids({1, kIgnored, 5, 0}), 0.25f);
                        }});
const Registered kCapped({"cross_entropy_head", {{4, 3}, {6, 3}}, [](Context& c, In in) {
                            Weight w{in[1], nullptr};
                            w.soft_cap = 1.5f;
                            return cross_entropy_head(c, in[0], w, ids({1, kIgnored, 5, 0}), 0.25f, nullptr, 0.3f);
                          }});
const Registered kSmoothed(
    {"cross_entropy_head", {{4, 3}, {6, 3}}, [](Context& c, In in) {
       return cross_entropy_head(c, in[0], {in[1], nullptr}, ids({1, kIgnored, 5, 0}), 0.25f, nullptr, 0.3f);
     }});

struct Loss : ::testing::Test {
  ThreadPool pool{2};
  Arena arena;
  Tape tape;
  Context ctx{.pool = &pool, .arena = &arena, .tape = &tape};
  Variable normal(const Shape& shape, uint32_t stream) {
    Tensor t = Tensor::empty(arena, DType::kF32, shape);
    for (int64_t i = 0; i < t.count(); ++i) t.data<float>()[i] = Random(4, Purpose::kTest, stream).normal(uint64_t(i));
    return Variable::parameter(t, "x");
  }
};

// The head that never holds its logits is linear() followed by cross_entropy(): value, both gradients, several chunks.
TEST_F(Loss, HeadIsItsUnfusedDefinition) {
  const int64_t rows = 129, width = 16, vocabulary = 150'000;  // 64 MiB hold 111 rows: chunks of 65 and 64
  const Variable x = normal({rows, width}, 0), w = normal({vocabulary, width}, 1);
  std::vector<int32_t> labels(size_t(rows), 7);
  labels[3] = kIgnored;
  std::vector<float> each;
  const Variable fused = cross_entropy_head(ctx, x, {w, nullptr}, ids(labels), 0.01f, &each);
  EXPECT_EQ(each[3], 0.0f);
  tape.backward(ctx, fused);
  const Tensor dx = std::exchange(x.gradient(), {}), dw = std::exchange(w.gradient(), {});
  const Variable plain = cross_entropy(ctx, linear(ctx, x, {w, nullptr}), ids(labels), 0.01f);
  tape.backward(ctx, plain);
  EXPECT_NEAR(*fused.value().data<float>(), *plain.value().data<float>(),
              1e-5 * std::abs(*plain.value().data<float>()));
  // Sums over the vocabulary (dx) and over the rows (dw) of numbers below 0.01 · |w|, 0.01 · |x|.
  for (int64_t i = 0; i < dx.count(); ++i) ASSERT_NEAR(dx.data<float>()[i], x.gradient().data<float>()[i], 1e-6);
  for (int64_t i = 0; i < dw.count(); ++i) ASSERT_NEAR(dw.data<float>()[i], w.gradient().data<float>()[i], 1e-6);
}

// A head with a soft cap is linear(), soft_cap(), cross_entropy().
TEST_F(Loss, CappedHeadIsItsUnfusedDefinition) {
  const Variable x = normal({5, 16}, 0);
  Weight w{normal({40, 16}, 1), nullptr};
  w.soft_cap = 2;
  const Ids labels = ids({3, 39, kIgnored, 0, 7});
  const Variable fused = cross_entropy_head(ctx, x, w, labels, 0.25f);
  tape.backward(ctx, fused);
  const Tensor dx = std::exchange(x.gradient(), {}), dw = std::exchange(w.stored.gradient(), {});
  const Variable plain = cross_entropy(ctx, head_logits(ctx, x, w), labels, 0.25f),
                 uncapped = cross_entropy(ctx, linear(ctx, x, w), labels, 0.25f);
  EXPECT_GT(std::abs(*plain.value().data<float>() - *uncapped.value().data<float>()), 0.1f);
  tape.backward(ctx, plain);
  EXPECT_NEAR(*fused.value().data<float>(), *plain.value().data<float>(), 1e-5);
  for (int64_t i = 0; i < dx.count(); ++i) ASSERT_NEAR(dx.data<float>()[i], x.gradient().data<float>()[i], 1e-6);
  for (int64_t i = 0; i < dw.count(); ++i) ASSERT_NEAR(dw.data<float>()[i], w.stored.gradient().data<float>()[i], 1e-6);
}

TEST_F(Loss, UniformLogitsGiveTheLogarithmOfTheVocabulary) {
  const Variable x(Tensor::zeros(arena, DType::kF32, {2, 10}));
  EXPECT_NEAR(*cross_entropy(ctx, x, ids({0, 9}), 0.5f).value().data<float>(), std::log(10.0f), 1e-6);
}

// (1 − ε) · −log p(label) + ε · mean over the vocabulary of −log p: transformers' LabelSmoother, written out.
TEST_F(Loss, SmoothedIsItsDefinition) {
  const Variable x = normal({3, 4}, 0), w = normal({7, 4}, 1);
  const std::vector<int32_t> labels{2, kIgnored, 6};
  std::vector<float> each;
  const float loss = *cross_entropy_head(ctx, x, {w, nullptr}, ids(labels), 0.5f, &each, 0.1f).value().data<float>();
  double expected = 0;
  for (const size_t r : {0, 2}) {
    double logits[7], sum = 0, mean = 0;
    for (size_t v = 0; v < 7; ++v) {
      logits[v] = 0;
      for (size_t c = 0; c < 4; ++c)
        logits[v] += double(x.value().data<float>()[r * 4 + c]) * double(w.value().data<float>()[v * 4 + c]);
      sum += std::exp(logits[v]), mean += logits[v] / 7;
    }
    const double of_row = 0.9 * (std::log(sum) - logits[labels[r]]) + 0.1 * (std::log(sum) - mean);
    EXPECT_NEAR(each[r], of_row, 1e-5);
    expected += 0.5 * of_row;
  }
  EXPECT_NEAR(loss, expected, 1e-5);
}

TEST_F(Loss, AllMaskedIsZeroWithZeroGradients) {
  const Variable x = normal({2, 3}, 0), w = normal({5, 3}, 1);
  const Variable loss = cross_entropy_head(ctx, x, {w, nullptr}, ids({kIgnored, kIgnored}), 1);
  EXPECT_EQ(*loss.value().data<float>(), 0.0f);
  tape.backward(ctx, loss);
  for (int i = 0; i < 15; ++i) EXPECT_EQ(w.gradient().data<float>()[i], 0.0f);
}

TEST_F(Loss, LabelsAreChecked) {
  const Variable x = normal({2, 3}, 0);
  EXPECT_THROW(cross_entropy(ctx, x, ids({3, 0}), 1), ApiError);
  EXPECT_THROW(cross_entropy(ctx, x, ids({0}), 1), ApiError);
}

}  // namespace
}  // namespace sedum::ops
