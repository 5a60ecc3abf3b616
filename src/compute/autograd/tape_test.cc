#include "compute/autograd/tape.h"

#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "base/error.h"
#include "compute/autograd/observe.h"
#include "compute/ops/elementwise.h"

namespace sedum {
namespace {

using namespace ops;

struct TapeTest : ::testing::Test {
  ThreadPool pool{1};
  Arena arena;
  Tape tape;
  Context ctx{.pool = &pool, .arena = &arena, .tape = &tape};
  Variable parameter(std::initializer_list<double> values) {
    Tensor t = Tensor::empty(arena, DType::kF64, {int64_t(values.size())});
    std::copy(values.begin(), values.end(), t.data<double>());
    return Variable::parameter(t, "w");
  }
  static double gradient(const Variable& v, int i = 0) { return v.gradient().data<double>()[i]; }
};

TEST_F(TapeTest, GradientsGatherOverSeveralUses) {
  const Variable w = parameter({3});
  const Variable y = sum(ctx, add(ctx, multiply(ctx, w, w), scale(ctx, w, 5)));  // w² + 5w
  tape.backward(ctx, y);
  EXPECT_EQ(gradient(w), 11);
  EXPECT_EQ(tape.size(), 0u);
  tape.backward(ctx, sum(ctx, scale(ctx, w, 2)));  // accumulates until somebody clears it
  EXPECT_EQ(gradient(w), 13);
}

// w·(w·x)² with the inner part computed again: same gradients, and the hook waits for the last of all uses.
TEST_F(TapeTest, RecomputationGivesTheSameGradientsAndCountsUses) {
  const auto inner = [](const Variable& w) {
    return [w](Context& c, const Variable& x) {
      const Variable t = multiply(c, w, x);
      return multiply(c, t, t);
    };
  };
  double expected_w = 0, expected_x = 0;
  for (const bool again : {false, true}) {
    const Variable w = parameter({3}), x = parameter({2});
    int calls = 0;
    double at_hook = 0;
    w.slot()->on_complete = [&](Gradient& g) { ++calls, at_hook = g.value.data<double>()[0]; };
    const Variable square = again ? recompute(ctx, x, inner(w)) : inner(w)(ctx, x);
    EXPECT_EQ(tape.size(), again ? 1u : 2u);
    tape.backward(ctx, sum(ctx, multiply(ctx, w, square)));
    EXPECT_EQ(calls, 1);
    EXPECT_EQ(at_hook, gradient(w));
    EXPECT_EQ(w.slot()->pending, 0);
    if (again) {
      EXPECT_EQ(gradient(w), expected_w);
      EXPECT_EQ(gradient(x), expected_x);
    } else {
      expected_w = gradient(w), expected_x = gradient(x);
    }
  }
  EXPECT_EQ(expected_w, 3 * 9 * 4);  // d/dw w³x²
  EXPECT_EQ(expected_x, 2 * 27 * 2);
}

// Results in the order of the forward pass, then gradients in that of the backward pass; inside recomputed parts too.
TEST_F(TapeTest, ObserversHearOfEveryResultAndGradient) {
  for (const bool again : {false, true}) {
    const Variable w = parameter({3}), x = parameter({2});
    std::vector<std::string> heard;
    const ScopedObserver watching([&](const Seen& seen) {
      heard.push_back(std::string(seen.backward ? "<" : ">") + seen.op + " " +
                      std::to_string(int(seen.values.data<double>()[0])));
    });
    const auto body = [&](Context& c, const Variable& in) { return multiply(c, w, in); };
    tape.backward(ctx, sum(ctx, again ? recompute(ctx, x, body) : body(ctx, x)));
    if (again)
      EXPECT_EQ(heard, (std::vector<std::string>{">multiply 6", ">recompute 6", ">sum 6", "<sum 1", ">multiply 6",
                                                 "<multiply 2", "<multiply 3", "<recompute 3"}));
    else
      EXPECT_EQ(heard, (std::vector<std::string>{">multiply 6", ">sum 6", "<sum 1", "<multiply 2", "<multiply 3"}));
  }
}

TEST_F(TapeTest, NestedRecomputation) {
  const Variable w = parameter({3}), x = parameter({2});
  int calls = 0;
  w.slot()->on_complete = [&](Gradient&) { ++calls; };
  const auto outer = [&](Context& c, const Variable& a) {
    return recompute(c, multiply(c, w, a), [&](Context& d, const Variable& b) { return multiply(d, w, b); });
  };
  tape.backward(ctx, sum(ctx, recompute(ctx, x, outer)));  // w²x
  EXPECT_EQ(gradient(w), 12);
  EXPECT_EQ(gradient(x), 9);
  EXPECT_EQ(calls, 1);
  EXPECT_EQ(w.slot()->pending, 0);
}

TEST_F(TapeTest, RecomputationHoldsLessMemory) {
  const auto peak = [&](bool again) {
    Arena own;
    Tape t;
    Context c{.pool = &pool, .arena = &own, .tape = &t};
    Variable x = Variable::parameter(Tensor::zeros(own, DType::kF32, {1000}), "x");
    Variable h = x;
    for (int layer = 0; layer < 8; ++layer) {
      const auto body = [](Context& d, const Variable& a) {
        Variable b = a;
        for (int i = 0; i < 10; ++i) b = silu(d, b);
        return b;
      };
      h = again ? recompute(c, h, body) : body(c, h);
    }
    t.backward(c, sum(c, h));
    return own.peak_live_bytes();
  };
  EXPECT_LT(peak(true), peak(false) / 2);
}

TEST_F(TapeTest, AfterTheBackwardPassOnlyGradientsLive) {
  const Variable w = parameter({1, 2, 3});
  const uint64_t before = arena.live_bytes();
  {
    const Variable y = sum(ctx, multiply(ctx, w, w));
    tape.backward(ctx, y);
  }
  EXPECT_EQ(arena.live_bytes() - before, 256u);
}

TEST_F(TapeTest, MisuseIsRefused) {
  EXPECT_THROW(tape.backward(ctx, Variable(Tensor::zeros(arena, DType::kF64, {}))), ApiError);
  EXPECT_THROW(tape.backward(ctx, multiply(ctx, parameter({1, 2}), parameter({1, 2}))), ApiError);
}

TEST_F(TapeTest, ClearForgetsUses) {
  const Variable w = parameter({1});
  (void)multiply(ctx, w, w);
  EXPECT_EQ(w.slot()->pending, 2);
  tape.clear();
  EXPECT_EQ(w.slot()->pending, 0);
}

}  // namespace
}  // namespace sedum
