#include "compute/ops/experts.h"

#include <algorithm>
#include <cmath>

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/random.h"
#include "compute/ops/elementwise.h"
#include "compute/ops/operator_examples.h"

namespace sedum::ops {
namespace {

using In = std::span<const Variable>;

// A routing that does not move with x: of logits that are no input.
std::shared_ptr<const Routing> fixed_routing(Context& c, int64_t rows, int64_t experts, int k) {
  Tensor logits = c.empty(DType::kF64, {rows, experts});
  for (int64_t i = 0; i < logits.count(); ++i)
    logits.data<double>()[i] = Random(6, Purpose::kTest, 1).normal(uint64_t(i));
  return route(c, Variable(logits), {.experts_per_row = k}).routing;
}

// A small step: no choice changes within it.
const Registered kNormalised({"route", {{5, 4}}, [](Context& c, In in) {
                                return route(c, in[0], {.experts_per_row = 2, .normalised = true}).weights;
                              }});
const Registered kPlain({"route", {{5, 4}}, [](Context& c, In in) {
                           return route(c, in[0], {.experts_per_row = 3, .normalised = false}).weights;
                         }});
const Registered kDispatch({"dispatch", {{5, 3}}, [](Context& c, In in) {
                              return dispatch(c, in[0], fixed_routing(c, 5, 4, 2));
                            }});
const Registered kRowRange({"row_range", {{5, 3}}, [](Context& c, In in) {
                              return add(c, row_range(c, in[0], 1, 3), row_range(c, in[0], 2, 3));
                            }});
const Registered kBeside({"beside", {{3, 2}, {3, 4}}, [](Context& c, In in) { return beside(c, in[0], in[1]); }});
const Registered kBalancing({"load_balancing_loss", {{5, 4}, {5, 4}}, [](Context& c, In in) {
                               return load_balancing_loss(c, {in[0], in[1]}, 2, 0.7f);
                             }});
// Through the experts: expert e multiplies by e + 1.
Variable mixed(Context& c, const Variable& x, const Variable& weights, const std::shared_ptr<const Routing>& routing) {
  const Variable sorted = dispatch(c, x, routing);
  std::vector<Variable> outputs(size_t(routing->experts()));
  for (int64_t e = 0; e < routing->experts(); ++e)
    if (routing->rows(e) > 0)
      outputs[size_t(e)] = scale(c, row_range(c, sorted, routing->begin[size_t(e)], routing->rows(e)), float(e + 1));
  return combine(c, weights, outputs, routing);
}
const Registered kCombine({"combine", {{5, 3}, {5, 2}}, [](Context& c, In in) {
                             return mixed(c, in[0], in[1], fixed_routing(c, 5, 7, 2));  // some have no rows
                           }});

struct Experts : ::testing::Test {
  ThreadPool pool{2};
  Arena arena;
  Context ctx{.pool = &pool, .arena = &arena};
  Variable normal(const Shape& shape, uint32_t stream) {
    Tensor t = Tensor::empty(arena, DType::kF32, shape);
    for (int64_t i = 0; i < t.count(); ++i) t.data<float>()[i] = Random(4, Purpose::kTest, stream).normal(uint64_t(i));
    return Variable(t);
  }
};

// Row by row: softmax, the largest, their experts' factors.
TEST_F(Experts, MixIsItsDefinition) {
  const int64_t rows = 50, experts = 7;
  const int k = 3;
  const Variable x = normal({rows, 4}, 0), logits = normal({rows, experts}, 1);
  for (const bool normalised : {false, true}) {
    const Routed to = route(ctx, logits, {.experts_per_row = k, .normalised = normalised});
    const Variable y = mixed(ctx, x, to.weights, to.routing);
    for (int64_t r = 0; r < rows; ++r) {
      std::vector<std::pair<double, int64_t>> p;
      double sum = 0, kept = 0, factor = 0;
      for (int64_t e = 0; e < experts; ++e)
        p.emplace_back(-std::exp(double(logits.value().data<float>()[r * experts + e])), e), sum -= p.back().first;
      std::sort(p.begin(), p.end());
      for (size_t j = 0; j < size_t(k); ++j) kept -= p[j].first, factor -= p[j].first * double(p[j].second + 1);
      factor /= normalised ? kept : sum;
      for (int64_t c = 0; c < 4; ++c) {
        const double expected = factor * double(x.value().data<float>()[r * 4 + c]);
        EXPECT_NEAR(y.value().data<float>()[r * 4 + c], expected, 1e-5 * (1 + std::abs(expected)));
      }
    }
  }
}

// A row's bits are those that it has alone, and those of any number of threads.
TEST_F(Experts, ARowDependsOnNoOther) {
  const int64_t rows = 70, experts = 6;
  const Variable x = normal({rows, 8}, 0), logits = normal({rows, experts}, 1);
  const auto mix = [&](int threads, int64_t begin, int64_t end) {
    ThreadPool others(threads);
    Context c{.pool = &others, .arena = &arena};
    const Routed to = route(c, Variable(logits.value().slice(0, begin, end)), {.experts_per_row = 2});
    const Variable y = mixed(c, Variable(x.value().slice(0, begin, end)), to.weights, to.routing);
    return std::vector<float>(y.value().data<float>(), y.value().data<float>() + y.value().count());
  };
  const std::vector<float> all = mix(3, 0, rows);
  EXPECT_EQ(mix(1, 0, rows), all);
  std::vector<float> alone;
  for (int64_t r = 0; r < rows; ++r)
    for (const float v : mix(1, r, r + 1)) alone.push_back(v);
  EXPECT_EQ(alone, all);
}

TEST_F(Experts, TheLowerOfTwoAlikeIsChosen) {
  const Routed to = route(ctx, Variable(ctx.zeros(DType::kF32, {2, 4})), {.experts_per_row = 2});
  EXPECT_EQ(to.routing->expert, (std::vector<int32_t>{0, 1, 0, 1}));
  EXPECT_EQ(to.weights.value().data<float>()[0], 0.5f);
}

// Written out for two layers; all even it is factor · k.
TEST_F(Experts, BalancingIsItsDefinition) {
  const Variable a = normal({9, 5}, 0), b = normal({9, 5}, 1);
  std::vector<double> f(5), p(5);
  for (const Variable* layer : {&a, &b})
    for (int64_t r = 0; r < 9; ++r) {
      const float* z = layer->value().data<float>() + r * 5;
      double sum = 0;
      for (int e = 0; e < 5; ++e) sum += std::exp(double(z[e]));
      for (size_t e = 0; e < 5; ++e) {
        p[e] += std::exp(double(z[e])) / sum / 18;
        f[e] += std::count_if(z, z + 5, [&](float other) { return other > z[e]; }) < 2 ? 1.0 / 18 : 0;
      }
    }
  double expected = 0;
  for (size_t e = 0; e < 5; ++e) expected += 0.3 * 5 * f[e] * p[e];
  EXPECT_NEAR(*load_balancing_loss(ctx, {a, b}, 2, 0.3f).value().data<float>(), expected, 1e-6);
  const Variable even(ctx.zeros(DType::kF32, {4, 6}));
  EXPECT_NEAR(*load_balancing_loss(ctx, {even}, 2, 0.5f).value().data<float>(), 0.5 * 2, 1e-6);
}

TEST_F(Experts, WhatDoesNotFitIsRefused) {
  const Variable logits = normal({3, 4}, 0);
  EXPECT_THROW(route(ctx, logits, {.experts_per_row = 5}), ApiError);
  const Routed to = route(ctx, logits, {.experts_per_row = 2});
  EXPECT_THROW(dispatch(ctx, normal({4, 2}, 1), to.routing), ApiError);
  EXPECT_THROW(combine(ctx, to.weights, std::vector<Variable>(4), to.routing), ApiError);
  EXPECT_THROW(load_balancing_loss(ctx, {}, 2, 1), ApiError);
}

}  // namespace
}  // namespace sedum::ops
