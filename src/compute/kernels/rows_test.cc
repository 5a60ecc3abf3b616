#include "compute/kernels/rows.h"

#include <functional>
#include <limits>

#include "compute/kernels/generic/rows_table.h"
#include "compute/kernels/isa.h"
#include "compute/kernels/ref/rows.h"
#include "compute/kernels/rows_testing.h"

namespace sedum {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();

TEST(Rows, RmsNormLikeTwin) {
  on_all([]<class T>(ThreadPool& pool, T, int64_t rows, int64_t cols, const std::string& what) {
    const auto x = test_values<T>(rows * cols, 1), dy = test_values<T>(rows * cols, 2);
    const auto weight = test_values<float>(cols, 3);
    std::vector<float> inverse(static_cast<size_t>(rows)), dweight = test_values<float>(cols, 4);
    std::vector<T> y(x.size()), dx(x.size());
    const auto x2 = widened(x), dy2 = widened(dy), weight2 = widened(weight);
    std::vector<double> y2(x.size()), dx2(x.size()), inverse2(inverse.size()), dweight2 = widened(dweight);
    rms_norm_forward<T>(pool, x.data(), weight.data(), 1e-5f, rows, cols, y.data(), inverse.data());
    rms_norm_forward<double>(pool, x2.data(), weight2.data(), 1e-5f, rows, cols, y2.data(), inverse2.data());
    expect_near(y, y2, slack(1), 1, what);
    expect_near(inverse, inverse2, slack(1), 1, what);
    rms_norm_backward<T>(pool, dy.data(), x.data(), weight.data(), inverse.data(), rows, cols, dx.data(),
                         dweight.data());
    inverse2 = widened(inverse);
    rms_norm_backward<double>(pool, dy2.data(), x2.data(), weight2.data(), inverse2.data(), rows, cols, dx2.data(),
                              dweight2.data());
    const double size = *std::max_element(inverse2.begin(), inverse2.end());
    expect_near(dx, dx2, slack(1), 8 * size, what + ": dx");
    expect_near(dweight, dweight2, slack(rows), 4, what + ": dweight");
  });
}

TEST(Rows, SoftmaxLikeTwin) {
  on_all([]<class T>(ThreadPool& pool, T, int64_t rows, int64_t cols, const std::string& what) {
    const auto x = test_values<T>(rows * cols, 1, 4), dy = test_values<T>(rows * cols, 2);
    std::vector<T> y(x.size()), dx(x.size());
    const auto x2 = widened(x), dy2 = widened(dy);
    std::vector<double> y2(x.size()), dx2(x.size());
    softmax_forward<T>(pool, x.data(), 0.7f, rows, cols, y.data());
    softmax_forward<double>(pool, x2.data(), 0.7f, rows, cols, y2.data());
    // Relative: exp's 1.2 ulp, and half an ulp of an exponent of size 20.
    expect_near(y, y2, 48, 0, what);
    y2 = widened(y);
    softmax_backward<T>(pool, dy.data(), y.data(), 0.7f, rows, cols, dx.data());
    softmax_backward<double>(pool, dy2.data(), y2.data(), 0.7f, rows, cols, dx2.data());
    expect_near(dx, dx2, slack(cols), *std::max_element(y2.begin(), y2.end()), what + ": dx");
    std::vector<T> in_place = x;
    softmax_forward<T>(pool, in_place.data(), 0.7f, rows, cols, in_place.data());
    EXPECT_TRUE(same_bits(in_place, y)) << what;
  });
}

TEST(Rows, SoftmaxSpecialValues) {
  ThreadPool pool(1);
  for (const Isa isa : isas_to_test()) {
    const ScopedIsa forced(isa);
    for (const int64_t cols : {5, 16, 40, 5000}) {
      std::vector<float> x(static_cast<size_t>(cols), -kInf), y(x.size());
      softmax_forward<float>(pool, x.data(), 1, 1, cols, y.data());
      for (const float v : y) EXPECT_TRUE(std::isnan(v)) << name(isa);
      x.back() = 3;  // everything else −∞, whole blocks of it before
      softmax_forward<float>(pool, x.data(), 1, 1, cols, y.data());
      for (size_t i = 0; i < y.size(); ++i) EXPECT_EQ(y[i], i + 1 == y.size() ? 1 : 0) << name(isa);
      x.assign(x.size(), -3e38f), x[1] = 3e38f;
      softmax_forward<float>(pool, x.data(), 1, 1, cols, y.data());
      for (size_t i = 0; i < y.size(); ++i) EXPECT_EQ(y[i], i == 1 ? 1 : 0) << name(isa);
      x[2] = NAN;
      softmax_forward<float>(pool, x.data(), 1, 1, cols, y.data());
      for (const float v : y) EXPECT_TRUE(std::isnan(v)) << name(isa);
      x[2] = kInf;
      softmax_forward<float>(pool, x.data(), 1, 1, cols, y.data());
      EXPECT_TRUE(std::isnan(y[2])) << name(isa);
    }
  }
}

TEST(Rows, RopeLikeTwin) {
  ThreadPool pool(2);
  struct Heads {
    int64_t rows, heads, dim, half;
  };
  for (const Isa isa : isas_to_test()) {
    const ScopedIsa forced(isa);
    for (const auto [rows, heads, dim, half] :
         {Heads{1, 1, 2, 1}, {5, 3, 64, 32}, {70, 2, 20, 5}, {3, 2, 80, 40}, {4, 1, 7, 0}}) {
      const auto x = test_values<float>(rows * heads * dim, 1);
      auto cos = test_values<float>(rows * half, 2), sin = cos;
      for (size_t i = 0; i < cos.size(); ++i) sin[i] = std::sin(cos[i]), cos[i] = std::cos(cos[i]);
      std::vector<float> y(x.size());
      std::vector<double> y2(x.size());
      const auto x2 = widened(x), cos2 = widened(cos), sin2 = widened(sin);
      for (const float sign : {1.0f, -1.0f}) {
        rope<float>(pool, x.data(), cos.data(), sin.data(), rows, heads, dim, half, sign, y.data());
        rope<double>(pool, x2.data(), cos2.data(), sin2.data(), rows, heads, dim, half, sign, y2.data());
        expect_near(y, y2, 4, 4, name(isa));
      }
      auto back = x;  // there and back, in place
      rope<float>(pool, back.data(), cos.data(), sin.data(), rows, heads, dim, half, 1, back.data());
      rope<float>(pool, back.data(), cos.data(), sin.data(), rows, heads, dim, half, -1, back.data());
      expect_near(back, x2, 8, 4, name(isa));
    }
  }
}

TEST(Rows, ActivationsLikeTwin) {
  on_all([]<class T>(ThreadPool& pool, T, int64_t rows, int64_t cols, const std::string& what) {
    const int64_t n = rows * cols;
    auto gate = test_values<T>(n, 1, 10);
    const auto up = test_values<T>(n, 2), dy = test_values<T>(n, 3);
    const float special[] = {0.0f, -0.0f, 88, -88, 200, -200, 3e38f, -3e38f, kInf, NAN};
    for (size_t i = 0; i < std::min<size_t>(10, gate.size() / 2); ++i) gate[i] = T(special[i]);
    const auto gate2 = widened(gate), up2 = widened(up), dy2 = widened(dy);
    std::vector<T> y(gate.size()), a(y), b(y);
    std::vector<double> y2(y.size()), a2(y2), b2(y2);
    swiglu_forward<T>(pool, gate.data(), up.data(), n, y.data());
    swiglu_forward<double>(pool, gate2.data(), up2.data(), n, y2.data());
    expect_near(y, y2, 8, 0x1p-100, what + ": swiglu");
    silu_forward<T>(pool, gate.data(), n, y.data());
    silu_forward<double>(pool, gate2.data(), n, y2.data());
    expect_near(y, y2, 8, 0x1p-100, what + ": silu");
    swiglu_backward<T>(pool, dy.data(), gate.data(), up.data(), n, a.data(), b.data());
    swiglu_backward<double>(pool, dy2.data(), gate2.data(), up2.data(), n, a2.data(), b2.data());
    // The slope σ (1 + x (1 − σ)) cancels near its zero at −1.28; far to the right 1 − σ is of size ε, times x.
    for (size_t i = 0; i < a2.size(); ++i)
      if (std::abs(gate2[i]) > 1e30) a2[i] = double(static_cast<float>(a[i]));
    expect_near(a, a2, 32, 4, what + ": dgate");
    expect_near(b, b2, 8, 0x1p-100, what + ": dup");
    std::vector<T> dx(y);
    silu_backward<T>(pool, dy.data(), gate.data(), n, dx.data());
    silu_backward<double>(pool, dy2.data(), gate2.data(), n, a2.data());
    for (size_t i = 0; i < a2.size(); ++i)
      if (std::abs(gate2[i]) > 1e30) a2[i] = double(static_cast<float>(dx[i]));
    expect_near(dx, a2, 32, 4, what + ": silu's dx");
  });
}

TEST(Rows, CrossEntropyLikeTwin) {
  on_all([]<class T>(ThreadPool& pool, T, int64_t rows, int64_t cols, const std::string& what) {
    const auto logits = test_values<T>(rows * cols, 1, 5);
    std::vector<int32_t> labels;
    for (int64_t r = 0; r < rows; ++r) labels.push_back(r % 5 == 2 ? -100 : int32_t(r * 7 % cols));
    std::vector<float> losses(static_cast<size_t>(rows)), kept(losses);
    auto gradient = logits, untouched = logits;
    auto gradient2 = widened(logits);
    std::vector<double> losses2(losses.size());
    cross_entropy<T>(pool, gradient.data(), labels.data(), 0.25f, rows, cols, losses.data(), false);
    cross_entropy<double>(pool, gradient2.data(), labels.data(), 0.25f, rows, cols, losses2.data(), false);
    cross_entropy<T>(pool, untouched.data(), labels.data(), 0.25f, rows, cols, kept.data(), true);
    EXPECT_TRUE(same_bits(untouched, logits) && same_bits(kept, losses)) << what;
    expect_near(losses, losses2, 64, 16, what + ": loss");
    expect_near(gradient, gradient2, 64, 0.25, what + ": gradient");
  });
}

TEST(Rows, CrossEntropySpecialValues) {
  ThreadPool pool(1);
  for (const Isa isa : isas_to_test()) {
    const ScopedIsa forced(isa);
    const int64_t cols = 3000;
    auto logits = test_values<float>(3 * cols, 1);
    const int32_t labels[] = {4, 5, 2999};
    for (int i = 0; i < 2999; ++i) logits[size_t(2 * cols + i)] = -kInf;
    logits[size_t(cols + 77)] = NAN;
    float losses[3];
    cross_entropy<float>(pool, logits.data(), labels, 1, 3, cols, losses, false);
    EXPECT_TRUE(std::isfinite(losses[0])) << name(isa);
    EXPECT_TRUE(std::isnan(losses[1])) << name(isa);
    EXPECT_EQ(losses[2], 0) << name(isa);
    for (int i = 0; i < cols; ++i) {
      ASSERT_TRUE(std::isfinite(logits[size_t(i)]) && std::isnan(logits[size_t(cols + i)])) << name(isa);
      ASSERT_EQ(logits[size_t(2 * cols + i)], 0) << name(isa);
    }
  }
}

TEST(Rows, EmbeddingLikeTwin) {
  on_all([]<class T>(ThreadPool& pool, T, int64_t rows, int64_t cols, const std::string& what) {
    const int64_t vocab = 11;
    const auto table = test_values<float>(vocab * cols, 1);
    const auto dy = test_values<T>(rows * cols, 2);
    std::vector<int32_t> ids;
    for (int64_t r = 0; r < rows; ++r) ids.push_back(int32_t(r * r % vocab));
    std::vector<T> y(dy.size());
    embedding_forward<T>(pool, DType::kF32, table.data(), size_t(cols) * 4, ids.data(), rows, cols, y.data());
    for (int64_t i = 0; i < rows * cols; ++i)
      ASSERT_EQ(static_cast<float>(y[size_t(i)]),
                static_cast<float>(T(table[size_t(ids[size_t(i / cols)] * cols + i % cols)])))
          << what;
    auto dtable = table;
    auto dtable2 = widened(table), dy2 = widened(dy);
    embedding_backward<T>(pool, dy.data(), ids.data(), rows, cols, dtable.data());
    embedding_backward<double>(pool, dy2.data(), ids.data(), rows, cols, dtable2.data());
    expect_near(dtable, dtable2, slack(rows), 4, what);
  });
}

TEST(Rows, ElementwiseLikeTwin) {
  on_all([]<class T>(ThreadPool& pool, T, int64_t rows, int64_t cols, const std::string& what) {
    const int64_t n = rows * cols;
    const auto a = test_values<T>(n, 1), b = test_values<T>(n, 2);
    const auto vector = test_values<float>(cols, 3);
    const auto a2 = widened(a), b2 = widened(b), vector2 = widened(vector);
    std::vector<T> y(a.size());
    std::vector<double> y2(a.size());
    add<T>(pool, a.data(), b.data(), n, y.data());
    add<double>(pool, a2.data(), b2.data(), n, y2.data());
    expect_near(y, y2, 1, 0, what + ": add");
    multiply<T>(pool, a.data(), b.data(), n, y.data());
    multiply<double>(pool, a2.data(), b2.data(), n, y2.data());
    expect_near(y, y2, 1, 0x1p-120, what + ": multiply");
    scale<T>(pool, a.data(), 1.7f, n, y.data());
    scale<double>(pool, a2.data(), 1.7f, n, y2.data());
    expect_near(y, y2, 1, 0, what + ": scale");
    add_row_vector<T>(pool, a.data(), vector.data(), rows, cols, y.data());
    add_row_vector<double>(pool, a2.data(), vector2.data(), rows, cols, y2.data());
    expect_near(y, y2, 1, 0, what + ": add_row_vector");
    auto sums = vector;
    auto sums2 = vector2;
    add_column_sums<T>(pool, a.data(), rows, cols, sums.data());
    add_column_sums<double>(pool, a2.data(), rows, cols, sums2.data());
    expect_near(sums, sums2, slack(rows), 4, what + ": add_column_sums");
  });
}

// Every kernel in one go, so that all of them are compared for every number of threads.
template <class T>
std::vector<T> everything(ThreadPool& pool, int64_t rows, int64_t cols) {
  const auto x = test_values<T>(rows * cols, 1), dy = test_values<T>(rows * cols, 2);
  const auto weight = test_values<float>(cols, 3);
  std::vector<float> inverse(static_cast<size_t>(rows)), sums(static_cast<size_t>(cols)), losses(inverse);
  std::vector<int32_t> ids;
  for (int64_t r = 0; r < rows; ++r) ids.push_back(int32_t(r * 7 % cols));
  std::vector<T> all, y(x.size()), z(x.size());
  const auto keep = [&] { all.insert(all.end(), y.begin(), y.end()), all.insert(all.end(), z.begin(), z.end()); };
  rms_norm_forward<T>(pool, x.data(), weight.data(), 1e-5f, rows, cols, y.data(), inverse.data());
  rms_norm_backward<T>(pool, dy.data(), x.data(), weight.data(), inverse.data(), rows, cols, z.data(), sums.data());
  keep();
  softmax_forward<T>(pool, x.data(), 1, rows, cols, y.data()),
      softmax_backward<T>(pool, dy.data(), y.data(), 1, rows, cols, z.data());
  keep();
  swiglu_backward<T>(pool, dy.data(), x.data(), dy.data(), rows * cols, y.data(), z.data());
  keep();
  y = x;
  cross_entropy<T>(pool, y.data(), ids.data(), 1, rows, cols, losses.data(), false);
  add_column_sums<T>(pool, dy.data(), rows, cols, sums.data());
  std::vector<float> table(static_cast<size_t>(cols * cols));
  embedding_backward<T>(pool, dy.data(), ids.data(), rows, cols, table.data());
  keep();
  for (const auto* v : {&inverse, &sums, &losses, &table})
    for (const float f : *v) all.push_back(T(f));
  return all;
}

TEST(Rows, SameBitsForAnyThreadCount) {
  for (const Isa isa : isas_to_test()) {
    const ScopedIsa forced(isa);
    ThreadPool one(1);
    const auto alone = everything<float>(one, 37, 643);
    const auto half = everything<bf16>(one, 37, 643);
    for (const int threads : {2, 3, 7}) {
      ThreadPool pool(threads);
      EXPECT_TRUE(same_bits(everything<float>(pool, 37, 643), alone)) << name(isa) << ", " << threads;
      EXPECT_TRUE(same_bits(everything<bf16>(pool, 37, 643), half)) << name(isa) << ", " << threads;
    }
  }
}

// exp over its whole range, by way of a softmax of two values: y = e^x / (1 + e^x) with 1 + e^x = 1 for x below −17.
TEST(Rows, ExponentialToAFewUlp) {
  ThreadPool pool(1);
  for (const Isa isa : isas_to_test()) {
    const ScopedIsa forced(isa);
    double worst = 0;
    for (float x = -17; x > -104.5f; x = x * (1 + 0x1p-13f) - 0x1p-14f) {
      const float in[] = {0, x};
      float out[2];
      softmax_forward<float>(pool, in, 1, 1, 2, out);
      const double exact = std::exp(double(x)) / (1 + std::exp(double(x)));
      const double ulp = std::max(0x1p-149, std::ldexp(1.0, std::ilogb(exact) - 23));
      worst = std::max(worst, std::abs(out[1] - exact) / ulp);
    }
    EXPECT_LT(worst, 2.5) << name(isa);  // 1.2 of exp, one half of the product with 1 / sum, the sum's own
  }
}

TEST(Rows, TwinsByFiniteDifferences) {
  using Doubles = std::vector<double>;
  const int64_t rows = 3, cols = 5, n = rows * cols;
  const Doubles x = test_values<double>(n, 1), dy = test_values<double>(n, 2), other = test_values<double>(n, 3),
                weight = test_values<double>(cols, 4);
  Doubles dx(x.size()), dother(x.size()), inverse(3), dweight(5);

  const auto norm = [&](const Doubles& in, const Doubles& w) {
    Doubles y(in.size());
    ref::rms_norm_forward(in.data(), w.data(), 1e-5f, rows, cols, y.data(), inverse.data());
    return y;
  };
  norm(x, weight);
  ref::rms_norm_backward(dy.data(), x.data(), weight.data(), inverse.data(), rows, cols, dx.data());
  ref::rms_norm_backward_weight(dy.data(), x.data(), inverse.data(), rows, cols, 0, cols, dweight.data());
  expect_gradient([&](const Doubles& in) { return norm(in, weight); }, x, dy, dx, "rms norm, x");
  expect_gradient([&](const Doubles& w) { return norm(x, w); }, weight, dy, dweight, "rms norm, weight");

  const auto softmax = [&](const Doubles& in) {
    Doubles y(in.size());
    ref::softmax_forward(in.data(), 0.7f, rows, cols, y.data());
    return y;
  };
  ref::softmax_backward(dy.data(), softmax(x).data(), 0.7f, rows, cols, dx.data());
  expect_gradient(softmax, x, dy, dx, "softmax");

  const auto swiglu = [&](const Doubles& gate, const Doubles& up) {
    Doubles y(gate.size());
    ref::swiglu_forward(gate.data(), up.data(), n, y.data());
    return y;
  };
  ref::swiglu_backward(dy.data(), x.data(), other.data(), n, dx.data(), dother.data());
  expect_gradient([&](const Doubles& gate) { return swiglu(gate, other); }, x, dy, dx, "swiglu, gate");
  expect_gradient([&](const Doubles& up) { return swiglu(x, up); }, other, dy, dother, "swiglu, up");

  const auto silu = [&](const Doubles& in) {
    Doubles y(in.size());
    ref::silu_forward(in.data(), n, y.data());
    return y;
  };
  ref::silu_backward(dy.data(), x.data(), n, dx.data());
  expect_gradient(silu, x, dy, dx, "silu");

  const Doubles angles = test_values<double>(rows * 2, 5);
  Doubles cos, sin;
  for (const double a : angles) cos.push_back(std::cos(a)), sin.push_back(std::sin(a));
  const auto turned = [&](const Doubles& in, float sign) {
    Doubles y(in.size());
    ref::rope(in.data(), cos.data(), sin.data(), rows, 1, cols, 2, sign, y.data());
    return y;
  };
  expect_gradient([&](const Doubles& in) { return turned(in, 1); }, x, dy, turned(dy, -1), "rope");

  const std::vector<int32_t> labels = {3, -100, 0};
  const auto losses = [&](Doubles in) {
    Doubles loss(3);
    ref::cross_entropy(in.data(), labels.data(), 1, rows, cols, loss.data(), true);
    return loss;
  };
  Doubles gradient = x, loss(3);
  ref::cross_entropy(gradient.data(), labels.data(), 1, rows, cols, loss.data(), false);
  expect_gradient(losses, x, {1, 1, 1}, gradient, "cross-entropy");
}

TEST(Rows, ForcedInstructionSetIsUsed) {
  const RowKernels<float>* before = nullptr;
  for (const Isa isa : isas_to_test()) {
    const ScopedIsa forced(isa);
    EXPECT_NE(&row_kernels<float>(), before) << name(isa);
    before = &row_kernels<float>();
  }
}

}  // namespace
}  // namespace sedum
