#include "model/adapters/lora_start.h"

#include <cmath>

#include <gmock/gmock.h>

#include "base/random.h"
#include "formats/safetensors.h"
#include "model/adapters/low_rank.h"
#include "model/adapters/peft.h"
#include "model/model_testing.h"

namespace sedum {
namespace {

using ::testing::HasSubstr;
using Values = std::vector<float>;

Values random_values(int64_t n, uint64_t seed) {
  Values v(static_cast<size_t>(n));
  for (size_t i = 0; i < v.size(); ++i) v[i] = Random(seed, Purpose::kTest).normal(i);
  return v;
}
// (m,k) · (k,n), in double.
Values product(const Values& a, const Values& b, int64_t m, int64_t k, int64_t n) {
  Values c(size_t(m * n));
  for (int64_t i = 0; i < m; ++i)
    for (int64_t j = 0; j < n; ++j) {
      double sum = 0;
      for (int64_t q = 0; q < k; ++q) sum += double(a[size_t(i * k + q)]) * double(b[size_t(q * n + j)]);
      c[size_t(i * n + j)] = float(sum);
    }
  return c;
}
double length(const Values& a) {
  double sum = 0;
  for (const float x : a) sum += double(x) * double(x);
  return std::sqrt(sum);
}
// ‖a + factor · b‖
double length_of_sum(const Values& a, const Values& b, float factor) {
  Values sum(a.size());
  for (size_t i = 0; i < a.size(); ++i) sum[i] = a[i] + factor * b[i];
  return length(sum);
}

// W (m,n) with the singular values `values`, by two orthogonal matrices.
Values planted(ThreadPool& pool, int64_t m, int64_t n, const std::vector<double>& values) {
  const auto k = int64_t(values.size());
  const Values from = random_values(m * k, 1), to = random_values(n * k, 2);
  const LowRank u = leading_qr(pool, from.data(), m, k, k), v = leading_qr(pool, to.data(), n, k, k);
  Values left = u.left, right(size_t(k * n));
  for (int64_t i = 0; i < k; ++i) {
    for (int64_t l = 0; l < m; ++l) left[size_t(l * k + i)] *= float(values[size_t(i)]);
    for (int64_t l = 0; l < n; ++l) right[size_t(i * n + l)] = v.left[size_t(l * k + i)];
  }
  return product(left, right, m, k, n);
}

TEST(LowRank, FindsThePlantedValues) {
  ThreadPool pool(1);
  std::vector<double> values;
  for (int i = 0; i < 40; ++i) values.push_back(std::pow(0.9, i));
  const Values w = planted(pool, 90, 50, values);
  const LowRank top = largest_singular(pool, w.data(), 90, 50, 5);
  const LowRank sketch = sketched_singular(pool, w.data(), 90, 50, 5, 30, Random(3, Purpose::kTest));
  for (size_t i = 0; i < 5; ++i) {
    EXPECT_NEAR(top.values[i], values[i], 1e-5);
    // 30 iterations bring the space within (0.9^2)^30 = 0.2 % of it, the values within the square of that.
    EXPECT_NEAR(sketch.values[i], values[i], 1e-4);
  }
  Values left = top.left;
  for (int64_t l = 0; l < 90; ++l)
    for (size_t i = 0; i < 5; ++i) left[size_t(l) * 5 + i] *= float(top.values[i]);
  // What is left has the length of the other values: no other five take more (Eckart and Young).
  double rest = 0;
  for (size_t i = 5; i < 40; ++i) rest += values[i] * values[i];
  EXPECT_NEAR(length_of_sum(w, product(left, top.right, 90, 5, 50), -1), std::sqrt(rest), 1e-5);
  // Of columns that depend on each other nothing but what there is: rank 2.
  const Values flat = planted(pool, 30, 20, {1, 0.5});
  const LowRank few = largest_singular(pool, flat.data(), 30, 20, 4);
  EXPECT_NEAR(few.values[1], 0.5, 1e-5);
  EXPECT_NEAR(few.values[2], 0, 1e-5);
}

TEST(LowRank, QrReproducesTheFirstColumns) {
  ThreadPool pool(1);
  const Values w = random_values(30 * 20, 4);
  const LowRank qr = leading_qr(pool, w.data(), 30, 20, 6);
  const Values again = product(qr.left, qr.right, 30, 6, 20);
  for (int64_t r = 0; r < 30; ++r)
    for (int64_t c = 0; c < 6; ++c) EXPECT_NEAR(again[size_t(r * 20 + c)], w[size_t(r * 20 + c)], 1e-5);
}

LoraConfig config(const std::string& init, int iterations = 1) {
  LoraConfig c{.r = 6, .lora_alpha = 9, .target_modules = {"q_proj"}};
  c.init_lora_weights = init, c.loftq_iter = iterations;
  c.validate("test");
  return c;
}

class Starts : public ::testing::Test {
 protected:
  Values golden(const std::string& name) const {
    const StoredTensor& t = static_cast<const TensorSource&>(file_).get(name);
    Values v(t.bytes / 4);
    decode(t.dtype, t.data, v.data(), int64_t(v.size()));
    return v;
  }
  LoraStart start(const LoraConfig& c) { return lora_start(pool_, c, "layer.q_proj", w_.data(), 40, 64, 7); }
  ThreadPool pool_{1};
  SafetensorsFile file_{testing::golden("models/lora_starts.safetensors")};
  Values w_ = golden("w");
};

// PEFT in f32, by LAPACK: entries are below 0.2, and the space turns by at most rounding / gap = 6e-8 · 1 / (0.26 · 0.2).
TEST_F(Starts, AreThoseOfPeft) {
  for (const auto& [name, c] : {std::pair{"pissa", config("pissa")},
                                {"olora", config("olora")},
                                {"loftq_1", config("loftq", 1)},
                                {"loftq_3", config("loftq", 3)}}) {
    const LoraStart s = start(c);
    const Values want_base = golden(name + std::string(".base")), want = golden(name + std::string(".product"));
    EXPECT_LT(length_of_sum(s.base, want_base, -1), 2e-5 * length(want_base)) << name;
    EXPECT_LT(length_of_sum(product(s.b, s.a, 40, 6, 64), want, -1),
              (std::string(name).starts_with("loftq") ? 1e-3 : 2e-5) * length(want))
        << name;
  }
}

TEST_F(Starts, BeginAsTheModelWas) {
  for (const char* init : {"pissa", "pissa_niter_0", "pissa_niter_4", "olora"}) {
    const LoraStart s = start(config(init));
    Values together = product(s.b, s.a, 40, 6, 64);
    for (size_t i = 0; i < w_.size(); ++i) together[i] = s.base[i] + 1.5f * together[i];
    EXPECT_LT(length_of_sum(together, w_, -1), 1e-6) << init;
    EXPECT_LT(length(s.base), 0.9 * length(w_)) << init;
  }
  for (const char* init : {"true", "gaussian", "orthogonal"}) {
    const LoraStart s = start(config(init));
    EXPECT_TRUE(s.base.empty());
    EXPECT_GT(length(s.a), 0.1) << init;
    EXPECT_LT(length(product(s.b, s.a, 40, 6, 64)), 1e-5 * length(s.a)) << init;
  }
  EXPECT_GT(length(start(config("orthogonal")).b), 0.1);
  EXPECT_GT(length(start(config("false")).b), 0.1);
}

// Four iterations find what the largest values hold, to (0.8)^8 of what comes after them.
TEST_F(Starts, RandomIterationsComeNearTheExactOnes) {
  const double exact = length(start(config("pissa")).base), best = length(start(config("pissa_niter_8")).base),
               rough = length(start(config("pissa_niter_0")).base);
  EXPECT_NEAR(best, exact, 0.01 * exact);
  EXPECT_GT(rough, best);
}

TEST_F(Starts, LoftqIsNearerThanNf4Alone) {
  const auto error = [&](int iterations) {
    const LoraStart s = start(config("loftq", iterations));
    Values rest = product(s.b, s.a, 40, 6, 64);
    for (size_t i = 0; i < rest.size(); ++i) rest[i] += s.base[i] - w_[i];
    return length(rest);
  };
  Values base = start(config("loftq")).base;
  const double alone = length_of_sum(base, w_, -1);  // the first iteration's base is W's own NF4
  EXPECT_LT(error(1), alone);
  EXPECT_LT(error(5), error(1));
  std::vector<BlockNF4> blocks(base.size() / 64);
  as_nf4(pool_, base, blocks.data());
  Values again(base.size());
  decode_nf4(blocks.data(), again.data(), int64_t(again.size()));
  EXPECT_EQ(again, base);  // it is in NF4
}

TEST_F(Starts, WhatCannotBeIsRefused) {
  EXPECT_THAT(testing::problem_of([&] { config("pissa_niter_"); }), HasSubstr("pissa_niter_ is not known"));
  EXPECT_THAT(testing::problem_of([&] { config("eva"); }), HasSubstr("is not known"));
  LoraConfig odd = config("true");
  odd.init_lora_weights = "orthogonal", odd.r = 5;
  EXPECT_THAT(testing::problem_of([&] { odd.validate("test"); }), HasSubstr("odd r"));
  LoraConfig wide = config("pissa");
  wide.r = 41;
  EXPECT_THAT(testing::problem_of([&] { start(wide); }), HasSubstr("rank 41"));
}

// On the base as it was, with r and alpha doubled: the same weights.
TEST_F(Starts, AnAdapterIsTakenBackToTheOriginalBase) {
  Arena arena;
  for (const bool rs : {false, true}) {
    LoraConfig c = config("pissa");
    c.use_rslora = rs;
    const LoraStart s = start(c);
    const auto tensor = [&](const Values& v, const Shape& shape) {
      Tensor t = Tensor::empty(arena, DType::kF32, shape);
      std::copy(v.begin(), v.end(), t.data<float>());
      return t;
    };
    const std::string a = peft_name("layer.q_proj", 'A'), b = peft_name("layer.q_proj", 'B');
    const Values moved_a = random_values(6 * 64, 8), moved_b = random_values(40 * 6, 9);  // what training made of them
    std::vector<Variable> parameters{Variable::parameter(tensor(moved_a, {6, 64}), a),
                                     Variable::parameter(tensor(moved_b, {40, 6}), b)};
    const float factor = c.factor("layer.q_proj");
    Values want = product(moved_b, moved_a, 40, 6, 64);
    for (size_t i = 0; i < want.size(); ++i) want[i] = s.base[i] + factor * want[i];
    on_the_original_base(c, parameters, {{a, tensor(s.a, {6, 64})}, {b, tensor(s.b, {40, 6})}}, arena);
    EXPECT_EQ(c.r, 12);
    EXPECT_FLOAT_EQ(c.factor("layer.q_proj"), factor);
    EXPECT_EQ(c.init_lora_weights, "true");
    const auto values = [](const Variable& v) {
      return Values(v.value().data<float>(), v.value().data<float>() + v.value().count());
    };
    Values got = product(values(parameters[1]), values(parameters[0]), 40, 12, 64);
    for (size_t i = 0; i < got.size(); ++i) got[i] = w_[i] + factor * got[i];
    EXPECT_LT(length_of_sum(got, want, -1), 1e-5 * length(want));
  }
}

}  // namespace
}  // namespace sedum
