#include "compute/ops/linear.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/random.h"
#include "compute/ops/elementwise.h"
#include "compute/ops/operator_examples.h"

namespace sedum::ops {
namespace {

using In = std::span<const Variable>;
const Registered kLinear({"linear", {{5, 4}, {3, 4}, {3}}, [](Context& c, In in) {
                            return linear(c, in[0], {in[1], nullptr}, &in[2]);
                          }});
const Registered kLinearNoBias({"linear", {{2, 2, 4}, {3, 4}}, [](Context& c, In in) {
                                  return linear(c, in[0], {in[1], nullptr});
                                }});
const Registered kLora({"lora_linear", {{5, 4}, {3, 4}, {3}, {2, 4}, {3, 2}}, [](Context& c, In in) {
                          return lora_linear(c, in[0], {in[1], nullptr}, &in[2], in[3], in[4], 0.5f);
                        }});
const Registered kLoraLow({"lora_linear", {{5, 4}, {3, 4}, {2, 4}, {3, 2}, {5, 4}}, [](Context& c, In in) {
                             return lora_linear(c, in[0], {in[1], nullptr}, nullptr, in[2], in[3], 0.5f, &in[4]);
                           }});

struct Linear : ::testing::Test {
  ThreadPool pool{2};
  Arena arena;
  Context ctx{.pool = &pool, .arena = &arena};
  Variable normal(const Shape& shape, uint32_t stream) {
    Tensor t = Tensor::empty(arena, DType::kF32, shape);
    const Random rng(3, Purpose::kTest, stream);
    for (int64_t i = 0; i < t.count(); ++i) t.data<float>()[i] = rng.normal(uint64_t(i));
    return Variable(t);
  }
};

TEST_F(Linear, LoraIsItsUnfusedDefinition) {
  const Variable x = normal({6, 40}, 0), w = normal({24, 40}, 1), bias = normal({24}, 2), a = normal({4, 40}, 3),
                 b = normal({24, 4}, 4);
  const Variable fused = lora_linear(ctx, x, {w, nullptr}, &bias, a, b, 2);
  const Variable low = linear(ctx, linear(ctx, x, {a, nullptr}), {b, nullptr});
  const Variable plain = add(ctx, linear(ctx, x, {w, nullptr}, &bias), scale(ctx, low, 2));
  for (int64_t i = 0; i < plain.value().count(); ++i)  // sums of 40 + 160 products of numbers of size one
    EXPECT_NEAR(fused.value().data<float>()[i], plain.value().data<float>()[i], 200 * 1.2e-7f * 10);
}

TEST_F(Linear, BeforeTrainingLoraChangesNothing) {
  const Variable x = normal({3, 8}, 0), w = normal({5, 8}, 1), a = normal({2, 8}, 2),
                 b(Tensor::zeros(arena, DType::kF32, {5, 2}));
  const Variable with = lora_linear(ctx, x, {w, nullptr}, nullptr, a, b, 16), without = linear(ctx, x, {w, nullptr});
  for (int64_t i = 0; i < with.value().count(); ++i)
    EXPECT_EQ(with.value().data<float>()[i], without.value().data<float>()[i]);
}

TEST_F(Linear, MisuseNamesTheShapes) {
  try {
    linear(ctx, normal({2, 3}, 0), {normal({4, 5}, 1), nullptr});
    FAIL();
  } catch (const ApiError& e) {
    EXPECT_STREQ(e.what(), "[linear] x (2, 3) does not fit the weight (4, 5)");
  }
}

}  // namespace
}  // namespace sedum::ops
