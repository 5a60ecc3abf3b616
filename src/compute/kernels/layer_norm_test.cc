// Layer norm and GELU: the fast kernels beside their naive twins, and those by finite differences.

#include "compute/kernels/ref/rows.h"
#include "compute/kernels/rows.h"
#include "compute/kernels/rows_testing.h"

namespace sedum {
namespace {

TEST(LayerNorm, LikeTwin) {
  on_all([]<class T>(ThreadPool& pool, T, int64_t rows, int64_t cols, const std::string& what) {
    auto x = test_values<T>(rows * cols, 1);
    for (T& v : x) v = T(stat_t<T>(static_cast<stat_t<T>>(v) + 2));  // a mean that must be taken off
    const auto dy = test_values<T>(rows * cols, 2);
    const auto weight = test_values<float>(cols, 3), bias = test_values<float>(cols, 4);
    auto dweight = test_values<float>(cols, 5), dbias = test_values<float>(cols, 6);
    std::vector<float> mean(static_cast<size_t>(rows)), inverse(mean);
    std::vector<T> y(x.size()), dx(x.size());
    const auto x2 = widened(x), dy2 = widened(dy), weight2 = widened(weight), bias2 = widened(bias);
    std::vector<double> y2(x.size()), dx2(x.size()), mean2(mean.size()), inverse2(mean.size());
    auto dweight2 = widened(dweight), dbias2 = widened(dbias);
    const float eps = 1e-2f;  // also what a row of one value is divided by
    layer_norm_forward<T>(pool, x.data(), weight.data(), bias.data(), eps, rows, cols, y.data(), mean.data(),
                          inverse.data());
    layer_norm_forward<double>(pool, x2.data(), weight2.data(), bias2.data(), eps, rows, cols, y2.data(), mean2.data(),
                               inverse2.data());
    expect_near(mean, mean2, slack(1), 4, what + ": mean");
    const double size = *std::max_element(inverse2.begin(), inverse2.end());
    expect_near(inverse, inverse2, slack(1), size * size * size, what + ": inverse");  // d(v^-1/2) = v^-3/2 / 2
    expect_near(y, y2, slack(1), 16 * size, what);
    mean2 = widened(mean), inverse2 = widened(inverse);
    layer_norm_backward<T>(pool, dy.data(), x.data(), weight.data(), mean.data(), inverse.data(), rows, cols, dx.data(),
                           dweight.data(), dbias.data());
    layer_norm_backward<double>(pool, dy2.data(), x2.data(), weight2.data(), mean2.data(), inverse2.data(), rows, cols,
                                dx2.data(), dweight2.data(), dbias2.data());
    expect_near(dx, dx2, slack(1), 8 * size, what + ": dx");
    expect_near(dweight, dweight2, slack(rows), 4, what + ": dweight");
    expect_near(dbias, dbias2, slack(rows), 4, what + ": dbias");
  });
}

TEST(Gelu, LikeTwin) {
  on_all([]<class T>(ThreadPool& pool, T, int64_t rows, int64_t cols, const std::string& what) {
    const int64_t n = rows * cols;
    auto x = test_values<T>(n, 1, 3);
    const auto dy = test_values<T>(n, 2);
    if (n > 4) x[0] = T(1e30f), x[1] = T(-1e30f), x[2] = T(0.0f), x[3] = T(NAN);
    const auto x2 = widened(x), dy2 = widened(dy);
    std::vector<T> y(x.size());
    std::vector<double> y2(x.size());
    // Φ to three roundings of a number of size one, times x and times dy, of size up to 12 and 5.
    const auto compare = [&](auto fast, auto twin, const char* part, double size) {
      fast(), twin();
      expect_near(y, y2, 4, size, what + ": " + part);
    };
    compare([&] { gelu_forward<T>(pool, x.data(), n, y.data()); },
            [&] { gelu_forward<double>(pool, x2.data(), n, y2.data()); }, "gelu", 12);
    compare([&] { gelu_tanh_forward<T>(pool, x.data(), n, y.data()); },
            [&] { gelu_tanh_forward<double>(pool, x2.data(), n, y2.data()); }, "gelu_tanh", 12);
    compare([&] { gelu_backward<T>(pool, dy.data(), x.data(), n, y.data()); },
            [&] { gelu_backward<double>(pool, dy2.data(), x2.data(), n, y2.data()); }, "gelu's dx", 20);
    compare([&] { gelu_tanh_backward<T>(pool, dy.data(), x.data(), n, y.data()); },
            [&] { gelu_tanh_backward<double>(pool, dy2.data(), x2.data(), n, y2.data()); }, "gelu_tanh's dx", 20);
    // x / cap, tanh to three roundings and times cap, of size 1.5; dx from what bf16 holds of y, in both.
    compare([&] { soft_cap_forward<T>(pool, x.data(), 1.5f, n, y.data()); },
            [&] { soft_cap_forward<double>(pool, x2.data(), 1.5f, n, y2.data()); }, "soft cap", 1.5);
    const std::vector<T> capped = y;
    const auto capped2 = widened(capped);
    compare([&] { soft_cap_backward<T>(pool, dy.data(), capped.data(), 1.5f, n, y.data()); },
            [&] { soft_cap_backward<double>(pool, dy2.data(), capped2.data(), 1.5f, n, y2.data()); }, "soft cap's dx",
            10);
  });
}

// erf by way of gelu's own definition, over its whole range: Φ = y / x is right to a few roundings of one.
TEST(Gelu, TheTwoFormulasDifferAsTheyShould) {
  ThreadPool pool(1);
  for (const Isa isa : isas_to_test()) {
    const ScopedIsa forced(isa);
    double worst = 0, apart = 0;
    for (float x = -6; x < 6; x += 0x1p-10f) {
      float exact, tanh;
      gelu_forward<float>(pool, &x, 1, &exact), gelu_tanh_forward<float>(pool, &x, 1, &tanh);
      worst = std::max(worst, std::abs(exact - 0.5 * double(x) * std::erfc(-double(x) / std::sqrt(2.0))));
      apart = std::max(apart, double(std::abs(exact - tanh)));
    }
    EXPECT_LT(worst, 6 * 3 * 0x1p-24) << name(isa);
    EXPECT_GT(apart, 4e-4) << name(isa);
    EXPECT_LT(apart, 6e-4) << name(isa);
  }
}

TEST(LayerNorm, TwinsByFiniteDifferences) {
  using Doubles = std::vector<double>;
  const int64_t rows = 3, cols = 5, n = rows * cols;
  const Doubles x = test_values<double>(n, 1), dy = test_values<double>(n, 2), weight = test_values<double>(cols, 3),
                bias = test_values<double>(cols, 4);
  Doubles dx(x.size()), mean(3), inverse(3), dweight(5), dbias(5);
  const auto norm = [&](const Doubles& in, const Doubles& w, const Doubles& b) {
    Doubles y(in.size());
    ref::layer_norm_forward(in.data(), w.data(), b.data(), 1e-5f, rows, cols, y.data(), mean.data(), inverse.data());
    return y;
  };
  norm(x, weight, bias);
  ref::layer_norm_backward(dy.data(), x.data(), weight.data(), mean.data(), inverse.data(), rows, cols, dx.data());
  ref::layer_norm_backward_weight(dy.data(), x.data(), mean.data(), inverse.data(), rows, cols, 0, cols,
                                  dweight.data());
  ref::add_column_sums(dy.data(), rows, cols, 0, cols, dbias.data());
  expect_gradient([&](const Doubles& in) { return norm(in, weight, bias); }, x, dy, dx, "layer norm, x");
  expect_gradient([&](const Doubles& w) { return norm(x, w, bias); }, weight, dy, dweight, "layer norm, weight");
  expect_gradient([&](const Doubles& b) { return norm(x, weight, b); }, bias, dy, dbias, "layer norm, bias");

  const auto by = [&](auto forward) {
    return [&, forward](const Doubles& in) {
      Doubles y(in.size());
      forward(in.data(), n, y.data());
      return y;
    };
  };
  ref::gelu_backward(dy.data(), x.data(), n, dx.data());
  expect_gradient(by(ref::gelu_forward<double>), x, dy, dx, "gelu");
  ref::gelu_tanh_backward(dy.data(), x.data(), n, dx.data());
  expect_gradient(by(ref::gelu_tanh_forward<double>), x, dy, dx, "gelu_tanh");
  const auto capped = [&](const Doubles& in) {
    Doubles y(in.size());
    ref::soft_cap_forward(in.data(), 1.5f, n, y.data());
    return y;
  };
  ref::soft_cap_backward(dy.data(), capped(x).data(), 1.5f, n, dx.data());
  expect_gradient(capped, x, dy, dx, "soft cap");
}

TEST(LayerNorm, SameBitsForAnyThreadCount) {
  const int64_t rows = 37, cols = 643;
  const auto all = [&](int threads) {
    ThreadPool pool(threads);
    const auto x = test_values<float>(rows * cols, 1), dy = test_values<float>(rows * cols, 2);
    const auto weight = test_values<float>(cols, 3);
    std::vector<float> y(x.size()), dx(x.size()), mean(static_cast<size_t>(rows)), inverse(mean), dweight(weight),
        dbias(weight);
    layer_norm_forward<float>(pool, x.data(), weight.data(), weight.data(), 1e-5f, rows, cols, y.data(), mean.data(),
                              inverse.data());
    layer_norm_backward<float>(pool, dy.data(), x.data(), weight.data(), mean.data(), inverse.data(), rows, cols,
                               dx.data(), dweight.data(), dbias.data());
    for (const auto* v : {&dx, &dweight, &dbias, &mean, &inverse}) y.insert(y.end(), v->begin(), v->end());
    return y;
  };
  for (const Isa isa : isas_to_test()) {
    const ScopedIsa forced(isa);
    const auto alone = all(1);
    for (const int threads : {2, 3, 7}) EXPECT_TRUE(same_bits(all(threads), alone)) << name(isa) << ", " << threads;
  }
}

}  // namespace
}  // namespace sedum
