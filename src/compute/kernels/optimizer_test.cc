#include "compute/kernels/optimizer.h"

#include <limits>

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
  std::vector<bf16> shadow;
  explicit State(int64_t n)
      : parameter(test_values<float>(n, 1)), m(parameter.size()), v(parameter.size()), shadow(parameter.size()) {}
};

State train(ThreadPool& pool, int64_t n) {
  State s(n);
  for (int t = 1; t <= 5; ++t) {
    const auto gradient = test_values<float>(n, uint32_t(10 + t));
    adamw(pool, step_of(t), n, gradient.data(), s.parameter.data(), s.m.data(), s.v.data(), s.shadow.data());
  }
  return s;
}

TEST(Optimizer, AdamWLikeTwin) {
  ThreadPool pool(2);
  for (const Isa isa : isas_to_test()) {
    const ScopedIsa forced(isa);
    for (const int64_t n : {1, 15, 16, 17, 1000, 10001}) {
      const State s = train(pool, n);
      std::vector<double> p = widened(State(n).parameter), m(p.size()), v(p.size());
      for (int t = 1; t <= 5; ++t) {
        const auto gradient = widened(test_values<float>(n, uint32_t(10 + t)));
        ref::adamw(step_of(t), n, gradient.data(), p.data(), m.data(), v.data(), nullptr);
      }
      const std::string what = std::string(name(isa)) + ", " + std::to_string(n);
      expect_near(s.m, m, 5 * 3, 1, what + ": m");  // five steps of three roundings
      expect_near(s.v, v, 5 * 4, 0, what + ": v");
      expect_near(s.parameter, p, 5 * 4, 1, what + ": p");
      for (size_t i = 0; i < p.size(); ++i) ASSERT_EQ(s.shadow[i].bits, bf16(s.parameter[i]).bits) << what;
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
    ref::adamw(step, 1, &gradients[t - 1], &p, &m, &v, nullptr);
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

}  // namespace
}  // namespace sedum
