#include "compute/ops/elementwise.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "compute/ops/operator_examples.h"

namespace sedum::ops {
namespace {

using In = std::span<const Variable>;
const Registered kAdd({"add", {{3, 5}, {3, 5}}, [](Context& c, In in) { return add(c, in[0], in[1]); }});
const Registered kAddTwice({"add", {{4}}, [](Context& c, In in) { return add(c, in[0], in[0]); }});
const Registered kMultiply({"multiply", {{2, 7}, {2, 7}}, [](Context& c, In in) { return multiply(c, in[0], in[1]); }});
const Registered kSquare({"multiply", {{5}}, [](Context& c, In in) { return multiply(c, in[0], in[0]); }});
const Registered kScale({"scale", {{4, 3}}, [](Context& c, In in) { return scale(c, in[0], -0.5f); }});
const Registered kSilu({"silu", {{3, 4}}, [](Context& c, In in) { return silu(c, in[0]); }});
const Registered kGelu({"gelu", {{3, 4}}, [](Context& c, In in) { return gelu(c, in[0]); }});
const Registered kSoftCap({"soft_cap", {{3, 4}}, [](Context& c, In in) { return soft_cap(c, in[0], 1.5f); }});
const Registered kGeluTanh({"gelu_tanh", {{3, 4}}, [](Context& c, In in) { return gelu_tanh(c, in[0]); }});
const Registered kSwiglu({"swiglu", {{3, 5}, {3, 5}}, [](Context& c, In in) { return swiglu(c, in[0], in[1]); }});
const Registered kReshape({"reshape", {{3, 4}}, [](Context& c, In in) {
                             return reshape(c, multiply(c, in[0], in[0]), {2, 6});
                           }});
const Registered kColumns({"columns", {{3, 7}}, [](Context& c, In in) {  // two parts that overlap
                             return multiply(c, columns(c, in[0], 1, 4), columns(c, in[0], 3, 4));
                           }});
const Registered kSum({"sum", {{3, 4}}, [](Context& c, In in) { return sum(c, multiply(c, in[0], in[0])); }});

struct Elementwise : ::testing::Test {
  ThreadPool pool{2};
  Arena arena;
  Context ctx{.pool = &pool, .arena = &arena};
  Variable values(std::initializer_list<float> v) {
    Tensor t = Tensor::empty(arena, DType::kF32, {int64_t(v.size())});
    std::copy(v.begin(), v.end(), t.data<float>());
    return Variable(t);
  }
};

// The fused operator is its unfused definition, to the rounding of one product.
TEST_F(Elementwise, SwigluIsSiluTimesUp) {
  const Variable gate = values({-30, -1, 0, 0.5f, 2, 90}), up = values({2, -1, 3, 0.25f, 1, -1});
  const Variable fused = swiglu(ctx, gate, up), plain = multiply(ctx, silu(ctx, gate), up);
  for (int i = 0; i < 6; ++i) {
    const float expected = plain.value().data<float>()[i];
    EXPECT_NEAR(fused.value().data<float>()[i], expected, 4 * 1.2e-7f * std::abs(expected)) << i;
  }
}

TEST_F(Elementwise, MisuseNamesOperatorAndShapes) {
  try {
    add(ctx, values({1, 2}), values({1, 2, 3}));
    FAIL();
  } catch (const ApiError& e) {
    EXPECT_STREQ(e.what(), "[add] shapes differ: (2) and (3)");
  }
}

TEST_F(Elementwise, WithoutTapeNothingIsRecorded) { EXPECT_FALSE(scale(ctx, values({1}), 2).needs_gradient()); }

}  // namespace
}  // namespace sedum::ops
