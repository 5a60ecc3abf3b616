#include "compute/kernels/optimizer.h"

#include <bit>
#include <limits>

#include "compute/kernels/dynamic8.h"
#include "compute/kernels/isa.h"
#include "compute/kernels/ref/optimizer.h"
#include "compute/kernels/rows_testing.h"

namespace sedum {
namespace {

AdamWStep step_of(int t) {
  AdamWStep step{1e-2, 0.9, 0.999, 1e-8, 0.1, 0, 0, 0.5};
  step.correction1 = 1 - std::pow(step.beta1, t), step.correction2 = 1 - std::pow(step.beta2, t);
  return step;
}

struct State {
  std::vector<float> parameter, m, v;
  explicit State(int64_t n) : parameter(test_values<float>(n, 1)), m(parameter.size()), v(parameter.size()) {}
};

StoredArray in_place(std::vector<float>& values) { return {StoredAs::kF32, values.data(), nullptr, 0}; }

State train(ThreadPool& pool, int64_t n, bool decoupled = true) {
  State s(n);
  for (int t = 1; t <= 5; ++t) {
    const auto gradient = test_values<float>(n, uint32_t(10 + t));
    AdamWStep step = step_of(t);
    step.decoupled = decoupled;
    adamw(pool, step, n, gradient.data(), in_place(s.parameter), in_place(s.m), in_place(s.v), {});
  }
  return s;
}

TEST(Optimizer, AdamWLikeTwin) {
  ThreadPool pool(2);
  for (const Isa isa : isas_to_test()) {
    const ScopedIsa forced(isa);
    for (const bool decoupled : {true, false})
      for (const int64_t n : {1, 15, 16, 17, 1000, 10001}) {
        const State s = train(pool, n, decoupled);
        std::vector<double> p = widened(State(n).parameter), m(p.size()), v(p.size());
        for (int t = 1; t <= 5; ++t) {
          const auto gradient = widened(test_values<float>(n, uint32_t(10 + t)));
          AdamWStep step = step_of(t);
          step.decoupled = decoupled;
          ref::adamw(step, n, gradient.data(), p.data(), m.data(), v.data());
        }
        const std::string what = std::string(name(isa)) + ", " + std::to_string(n);
        expect_near(s.m, m, 5 * 3, 1, what + ": m");  // five steps of three roundings
        expect_near(s.v, v, 5 * 4, decoupled ? 0 : 1, what + ": v");
        expect_near(s.parameter, p, 5 * 4, 1, what + ": p");
      }
  }
}

// torch.optim.AdamW, double, two steps of one parameter; made by
//   p = torch.nn.Parameter(torch.tensor([0.5], dtype=torch.float64)); o = torch.optim.AdamW([p], lr=0.01, weight_decay=0.1)
//   for g in (0.3, -0.2): p.grad = torch.tensor([g], dtype=torch.float64); o.step(); print(repr(p.item()))
TEST(Optimizer, AdamWAsTorchHasIt) {
  double p = 0.5, m = 0, v = 0;
  const double gradients[] = {0.3, -0.2}, expected[] = {0.4895000003333333, 0.48756529509252633};
  for (int t = 1; t <= 2; ++t) {
    AdamWStep step = step_of(t);
    step.gradient_scale = 1;
    ref::adamw(step, 1, &gradients[t - 1], &p, &m, &v);
    EXPECT_NEAR(p, expected[t - 1], 1e-15);
  }
}

TEST(Optimizer, SameBitsForAnyThreadCount) {
  const int64_t n = 50001;
  const auto x = test_values<float>(n, 3);
  for (const Isa isa : isas_to_test()) {
    const ScopedIsa forced(isa);
    ThreadPool one(1);
    const State alone = train(one, n);
    const double sum = sum_of_squares(one, x.data(), n);
    for (const int threads : {2, 3, 7}) {
      ThreadPool pool(threads);
      const State s = train(pool, n);
      EXPECT_TRUE(same_bits(s.parameter, alone.parameter) && same_bits(s.m, alone.m) && same_bits(s.v, alone.v))
          << name(isa);
      EXPECT_EQ(sum_of_squares(pool, x.data(), n), sum) << name(isa);
    }
  }
}

TEST(Optimizer, SumOfSquares) {
  ThreadPool pool(2);
  for (const Isa isa : isas_to_test()) {
    const ScopedIsa forced(isa);
    for (const int64_t n : {0, 1, 7, 16, 4095, 4096, 4097, 100000}) {
      const auto x = test_values<float>(n, 1);
      const double expected = ref::sum_of_squares(x.data(), n);
      EXPECT_NEAR(sum_of_squares(pool, x.data(), n), expected, expected * double(n) * 0x1p-53) << name(isa) << n;
    }
    std::vector<float> x(9000, 1e30f);  // squares beyond f32
    EXPECT_NEAR(sum_of_squares(pool, x.data(), 9000) / (9000 * double(1e30f) * double(1e30f)), 1, 1e-12) << name(isa);
    x[8500] = NAN;
    EXPECT_TRUE(std::isnan(sum_of_squares(pool, x.data(), 9000))) << name(isa);
  }
}

TEST(Optimizer, SgdLikeTwin) {
  ThreadPool pool(2);
  for (const Isa isa : isas_to_test()) {
    const ScopedIsa forced(isa);
    for (const double momentum : {0.0, 0.9})
      for (const bool nesterov : {false, true}) {
        const int64_t n = 5003;
        const SgdStep step{.learning_rate = 0.05,
                           .momentum = momentum,
                           .weight_decay = 0.1,
                           .gradient_scale = 0.5,
                           .nesterov = nesterov};
        auto p = test_values<float>(n, 1);
        std::vector<float> buffer(p.size());
        std::vector<double> wide = widened(p), wide_buffer(p.size());
        for (int t = 0; t < 4; ++t) {
          const auto g = test_values<float>(n, uint32_t(20 + t));
          sgd(pool, step, n, g.data(), in_place(p), momentum > 0 ? in_place(buffer) : StoredArray{}, {});
          ref::sgd(step, n, widened(g).data(), wide.data(), momentum > 0 ? wide_buffer.data() : nullptr);
        }
        expect_near(p, wide, 4 * 4, 2, name(isa));
        expect_near(buffer, wide_buffer, 4 * 4, 2, name(isa));
      }
  }
}

TEST(Optimizer, MuonsKernelsLikeTwins) {
  ThreadPool pool(3);
  const int64_t n = 9001;
  const auto g = test_values<float>(n, 1), start = test_values<float>(n, 2);
  for (const Isa isa : isas_to_test()) {
    const ScopedIsa forced(isa);
    for (const bool nesterov : {false, true}) {
      auto buffer = start;
      std::vector<float> x(start.size());
      std::vector<double> wide = widened(start), wide_x(start.size());
      muon_momentum(pool, 0.95, nesterov, 0.5, n, g.data(), in_place(buffer), x.data(), {});
      ref::muon_momentum(0.95, nesterov, 0.5, n, widened(g).data(), wide.data(), wide_x.data());
      expect_near(buffer, wide, 4, 1, name(isa));
      expect_near(x, wide_x, 6, 2, name(isa));
    }
    auto p = start, y = start;
    std::vector<double> wide_p = widened(start), wide_y = wide_p;
    decayed_step(pool, 0.9, 0.3, n, g.data(), in_place(p), {});
    ref::decayed_step(0.9, 0.3, n, widened(g).data(), wide_p.data());
    expect_near(p, wide_p, 4, 1, name(isa));
    combine(pool, 2.5f, g.data(), -1.5f, n, y.data());
    ref::combine(2.5, widened(g).data(), -1.5, n, wide_y.data());
    expect_near(y, wide_y, 2, 8, name(isa));
  }
}

TEST(Optimizer, AdafactorsPassesLikeTwins) {
  ThreadPool pool(2);
  for (const Isa isa : isas_to_test()) {
    const ScopedIsa forced(isa);
    for (const auto& [rows, cols] : {std::pair<int64_t, int64_t>{1, 7}, {130, 33}, {5000, 3}, {9, 2100}}) {
      const auto g = test_values<float>(rows * cols, 1), r = test_values<float>(rows, 2),
                 c = test_values<float>(cols, 3);
      const auto wide = widened(g), wide_r = widened(r), wide_c = widened(c);
      std::vector<double> row_sums(static_cast<size_t>(rows)), column_sums(static_cast<size_t>(cols));
      std::vector<float> sums(static_cast<size_t>(cols)), scratch(static_cast<size_t>(adafactor_scratch(rows, cols)));
      squares_by_row_and_column(pool, g.data(), rows, cols, row_sums.data(), sums.data(), scratch.data());
      double factored = 0;
      auto p = test_values<float>(rows * cols, 4);
      auto wide_p = widened(p);
      for (int64_t i = 0; i < rows; ++i) {
        const double sum = ref::add_squares(wide.data() + i * cols, cols, column_sums.data());
        EXPECT_NEAR(row_sums[size_t(i)], sum, 1e-12 * sum);
        factored += wide_r[size_t(i)] * wide_r[size_t(i)] *
                    ref::sum_of_factored_squares(wide.data() + i * cols, wide_c.data(), cols);
        ref::factored_step(0.9, 0.1 * wide_r[size_t(i)], cols, wide.data() + i * cols, wide_c.data(),
                           wide_p.data() + i * cols);
      }
      expect_near(sums, column_sums, double(rows), 0, name(isa));
      EXPECT_NEAR(sum_of_factored_squares(pool, g.data(), r.data(), c.data(), rows, cols), factored,
                  4 * 0x1p-24 * factored);
      factored_step(pool, 0.9, 0.1, g.data(), r.data(), c.data(), rows, cols, in_place(p), {});
      expect_near(p, wide_p, 5, 4, name(isa));
    }
  }
}

TEST(Optimizer, ClipsValues) {
  ThreadPool pool(2);
  for (const Isa isa : isas_to_test()) {
    const ScopedIsa forced(isa);
    std::vector<float> x{-3, 0.5f, 2, -0.25f, INFINITY, -INFINITY, NAN};
    x.resize(5000, 7);
    clip_values(pool, x.data(), 1.5f, int64_t(x.size()));
    EXPECT_TRUE(std::isnan(x[6]));
    x[6] = 0;
    EXPECT_EQ(std::vector<float>(x.begin(), x.begin() + 8),
              (std::vector<float>{-1.5f, 0.5f, 1.5f, -0.25f, 1.5f, -1.5f, 0, 1.5f}));
  }
}

TEST(StochasticRounding, BitsOfTheTwinOnEveryInstructionSet) {
  auto x = test_values<float>(1000, 1, 100);
  x[3] = NAN, x[4] = INFINITY, x[5] = -INFINITY, x[6] = 0, x[7] = -0.0f, x[8] = 1e-42f,
  x[9] = std::bit_cast<float>(0x7fffffffu);
  const StochasticRounding rounding{.seed = 0x123456789abcdef0, .step = 77};
  for (const Isa isa : isas_to_test()) {
    const ScopedIsa forced(isa);
    for (const int64_t first : {int64_t{0}, int64_t{128}, int64_t{1} << 37})
      for (const int64_t n : {1, 127, 128, 1000}) {
        std::vector<bf16> y(static_cast<size_t>(n)), expected(y.size(), bf16(1));
        round_stochastically(x.data(), n, rounding, 5, first, y.data());
        ref::round_stochastically(x.data(), n, rounding, 5, first, expected.data());
        for (size_t i = 0; i < y.size(); ++i)
          ASSERT_EQ(y[i].bits, expected[i].bits) << name(isa) << " " << n << " " << i;
      }
  }
}

// The mean of many roundings is the value itself, which the nearest bf16 is not; exact values stay.
TEST(StochasticRounding, IsUnbiased) {
  const float values[] = {1.001f, -3.3f, 1e-3f, 255.9f, 2};
  for (const float value : values) {
    const std::vector<float> x(65536, value);
    std::vector<bf16> y(x.size());
    double sum = 0;
    round_stochastically(x.data(), int64_t(x.size()), {.seed = 3, .step = 4}, 1, 0, y.data());
    for (const bf16 v : y) sum += double(float(v));
    const double unit =
        std::ldexp(1.0, std::ilogb(value) - 7);  // of bf16: each rounding is within one, deviation at most half
    EXPECT_NEAR(sum / 65536, double(value), 4 * 0.5 * unit / 256) << value;
  }
  std::vector<float> x(65536, 1.001f);
  std::vector<bf16> y(x.size()), other(x.size());
  round_stochastically(x.data(), 65536, {.seed = 3, .step = 4}, 1, 0, y.data());
  const auto differs = [&](StochasticRounding r, uint32_t stream, int64_t first) {
    round_stochastically(x.data(), 65536, r, stream, first, other.data());
    return std::memcmp(y.data(), other.data(), y.size() * 2) != 0;
  };
  EXPECT_FALSE(differs({3, 4}, 1, 0));
  EXPECT_TRUE(differs({4, 4}, 1, 0) && differs({3, 5}, 1, 0) && differs({3, 4}, 2, 0) && differs({3, 4}, 1, 1 << 16));
}

// What is stored narrow is the same update, then rounded: in any cut into threads.
TEST(Optimizer, NarrowArraysAreUpdatedAsF32AndRounded) {
  const int64_t n = 10007;
  const auto g = test_values<float>(n, 2);
  std::vector<bf16> start;
  for (const float v : test_values<float>(n, 1)) start.push_back(bf16(v));
  const StochasticRounding rounding{.seed = 9, .step = 2};
  const SgdStep step{.learning_rate = 0.01, .momentum = 0, .weight_decay = 0, .gradient_scale = 1, .nesterov = false};
  std::vector<float> wide;
  for (const bf16 v : start) wide.push_back(float(v));
  ref::sgd<float>(step, n, g.data(), wide.data(), nullptr);
  std::vector<bf16> expected(size_t(n), bf16(0));
  ref::round_stochastically(wide.data(), n, rounding, 6, 0, expected.data());
  for (const int threads : {1, 2, 3}) {
    ThreadPool pool(threads);
    auto p = start;
    sgd(pool, step, n, g.data(), {StoredAs::kBF16, p.data(), nullptr, 6}, {}, rounding);
    int other = 0;  // a fused multiply-add may round the f32 value before it otherwise
    for (size_t i = 0; i < p.size(); ++i) other += p[i].bits != expected[i].bits;
    EXPECT_LE(other, 3);
  }
}

TEST(Optimizer, EightBitMomentsAreAdamWsWithinTheMapsStep) {
  const int64_t n = 3 * 1024 + 300;
  const auto g = test_values<float>(n, 2);
  std::vector<uint8_t> m(size_t(n), map8(true).zero), v(size_t(n), map8(false).zero);
  std::vector<float> m_absmax(14), v_absmax(14), p = test_values<float>(n, 1), exact = p, exact_m(p.size()),
                                                 exact_v(p.size());
  ThreadPool pool(2);
  for (int t = 1; t <= 3; ++t) {
    adamw(pool, step_of(t), n, g.data(), in_place(p), {StoredAs::kSigned8, m.data(), m_absmax.data(), 0},
          {StoredAs::kUnsigned8, v.data(), v_absmax.data(), 0}, {});
    ref::adamw(step_of(t), n, g.data(), exact.data(), exact_m.data(), exact_v.data());
  }
  for (size_t i = 0; i < p.size(); ++i) {
    const auto code = [&](bool sign, const std::vector<uint8_t>& codes, const std::vector<float>& absmax) {
      return map8(sign).values[codes[i]] * absmax[i / 256];
    };
    // Half a step of the map is 0.7 % of the block's largest at most (unsigned 0.35 %); three steps add up.
    ASSERT_NEAR(code(true, m, m_absmax), exact_m[i], 3 * 0.008 * m_absmax[i / 256]) << i;
    ASSERT_NEAR(code(false, v, v_absmax), exact_v[i], 3 * 0.004 * v_absmax[i / 256]) << i;
  }
}

}  // namespace
}  // namespace sedum
