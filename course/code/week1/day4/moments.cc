// 第 1 周第 4 天  正态分布与二项分布的期望和方差
//
//   E[X] = ∫ x f(x) dx,   Var[X] = ∫ (x − E[X])² f(x) dx        （离散时积分换成求和）
//
// 连续分布的难处在积分。正态分布只要三步，每一步都用数值积分核对一次：
//   第一步 换元：z = (x − μ)/σ，dx = σ dz，    ∫ x f(x) dx = μ ∫ φ(z) dz + σ ∫ z φ(z) dz
//   第二步 对称：z φ(z) 是奇函数，            ∫ z φ(z) dz = 0，所以 E[X] = μ
//   第三步 分部积分：(−φ)′ = z φ，            ∫ z² φ dz = [−z φ] + ∫ φ dz = 0 + 1，所以 Var[X] = σ²
// 同一个数再用闭式、求和、蒙特卡罗各算一遍：四条路，一个答案。
#include <cmath>
#include <functional>
#include <numbers>

#include "base/random.h"
#include "course/frame/lesson.h"
#include "report/plot.h"

using namespace sedum;
using course::Lesson;

// 梯形公式。被积函数两端都衰减到 0 时，误差随点数指数下降，比任何多项式公式都快。
double integral(const std::function<double(double)>& f, double from, double to, int cells = 2000) {
  const double h = (to - from) / cells;
  double sum = (f(from) + f(to)) / 2;
  for (int i = 1; i < cells; ++i) sum += f(from + h * i);
  return sum * h;
}

double phi(double z) { return std::exp(-z * z / 2) / std::sqrt(2 * std::numbers::pi); }  // 标准正态的密度

int main(int argc, char** argv) {
  Lesson lesson(argc, argv,
                {.title = "正态分布、二项分布的期望与方差",
                 .difficulty = "连续分布的积分容易错",
                 .remedy = "写出三个积分步骤，每一步都核对结果",
                 .bugs = {{"jacobian", "换元时漏了 dx = σ dz 里的 σ"},
                          {"boundary", "分部积分时 ∫ φ dz 写成了 1/2（只积了一半）"},
                          {"variance", "方差忘了减去均值的平方：算成了 E[X²]"}}});
  lesson.predict("掷 40 次、每次成功概率 0.3：成功次数的标准差大约是多少？", "binomial_sd");
  const double mu = 1.5, sigma = 2, far = 10;  // |z| > 10 的部分小于 1e-23
  const auto f = [&](double x) { return phi((x - mu) / sigma) / sigma; };
  // 2000 项相加，每项相对误差几个 ε：误差不超过 2000·ε·(被积函数绝对值的积分) ≈ 4.4e-13 倍。
  const double tolerance = 5e-12;

  lesson.section("正态分布 N(1.5, 2²)：三个积分步骤");
  const double direct = integral([&](double x) { return x * f(x); }, mu - far * sigma, mu + far * sigma);
  const double one = integral(phi, -far, far), odd = integral([](double z) { return z * phi(z); }, -far, far);
  const double dx = lesson.broken("jacobian") ? 1 : sigma;  // 换元后 f(x) dx = φ(z)/σ · σ dz
  const double substituted = integral([&](double z) { return (mu + sigma * z) * phi(z) / sigma * dx; }, -far, far);
  lesson.at_most("第一步（换元）：两边的积分相等", std::abs(direct - substituted), tolerance);
  lesson.at_most("第二步（对称）：∫ z φ dz = 0", std::abs(odd), tolerance);
  const double boundary = -far * phi(far) - far * phi(-far);  // [−z φ(z)] 在 ±10 处
  const double by_parts = boundary + (lesson.broken("boundary") ? one / 2 : one);
  const double square = integral([](double z) { return z * z * phi(z); }, -far, far);
  lesson.at_most("第三步（分部积分）：∫ z² φ dz = ∫ φ dz = 1", std::abs(square - by_parts), tolerance);
  const double mean = mu * one + sigma * odd, variance = sigma * sigma * by_parts;
  const double second = integral([&](double x) { return x * x * f(x); }, mu - far * sigma, mu + far * sigma);
  const double quadrature = lesson.broken("variance") ? second : second - direct * direct;
  lesson.value("normal_mean", mean, "三步得到的均值");
  lesson.value("normal_variance", variance, "三步得到的方差");
  lesson.at_most("期望：三步 = 直接积分 = μ", std::abs(mean - direct) + std::abs(mean - mu), 2 * tolerance);
  lesson.at_most("方差：三步 = 直接积分 = σ²", std::abs(variance - quadrature) + std::abs(variance - sigma * sigma),
                 20 * tolerance);

  lesson.section("二项分布 B(40, 0.3)：求和");
  const int n = 40;
  const double p = 0.3;
  report::Values pmf, places;
  double total = 0, first = 0, squares = 0;
  for (int k = 0; k <= n; ++k) {  // C(n, k) pᵏ (1−p)ⁿ⁻ᵏ，取对数避免溢出
    pmf.push_back(std::exp(std::lgamma(n + 1) - std::lgamma(k + 1) - std::lgamma(n - k + 1) + k * std::log(p) +
                           (n - k) * std::log1p(-p)));
    places.push_back(k);
    total += pmf.back(), first += k * pmf.back(), squares += double(k) * k * pmf.back();
  }
  const double spread = lesson.broken("variance") ? squares : squares - first * first;
  lesson.value("binomial_mean", first, "n p = 12");
  lesson.value("binomial_variance", spread, "n p (1 − p) = 8.4");
  lesson.value("binomial_sd", std::sqrt(spread));
  // lgamma 在这里的值不超过 110，绝对误差约 110·ε；squares ≈ 152。
  lesson.at_most("概率之和是 1", std::abs(total - 1), 1e-12);
  lesson.at_most("均值 = n p", std::abs(first - n * p), 1e-11);
  lesson.at_most("方差 = n p (1 − p)", std::abs(spread - n * p * (1 - p)), 1e-9);

  lesson.section("蒙特卡罗：误差以 1/√N 下降");
  const Random random(lesson.seed(), Purpose::kTest);
  const int most = lesson.quick() ? 100000 : 1000000;
  report::Values counts, normal_errors, binomial_errors, root;
  double sum = 0, sum_squares = 0, successes = 0, success_squares = 0;
  for (int i = 1; i <= most; ++i) {
    const double x = mu + sigma * random.normal(uint64_t(i));
    int k = 0;
    for (int toss = 0; toss < n; ++toss)
      k += random.uniform((uint64_t(1) << 32) + uint64_t(i) * n + uint64_t(toss)) < float(p);
    sum += x, sum_squares += x * x, successes += k, success_squares += double(k) * k;
    if (i >= 10 && double(i) >= (counts.empty() ? 0 : counts.back()) * 1.5) {
      counts.push_back(i), root.push_back(sigma / std::sqrt(i));
      normal_errors.push_back(std::abs(sum / i - mu)), binomial_errors.push_back(std::abs(successes / i - n * p));
    }
  }
  // 样本均值的标准差是 σ/√N；正态样本方差的标准差是 σ²√(2/N)；五个标准差之外的机会是六十万分之一。
  const double trials = most, sampled = sum_squares / trials - (sum / trials) * (sum / trials);
  const double counted = success_squares / trials - (successes / trials) * (successes / trials);
  lesson.value("samples", trials);
  lesson.value("sampled_mean", sum / trials, "正态样本的均值");
  lesson.value("sampled_variance", sampled);
  lesson.at_most("正态：样本均值与 μ 差几个标准差", std::abs(sum / trials - mu) / (sigma / std::sqrt(trials)), 5);
  lesson.at_most("正态：样本方差与 σ² 差几个标准差",
                 std::abs(sampled - sigma * sigma) / (sigma * sigma * std::sqrt(2 / trials)), 5);
  lesson.at_most("二项：样本均值与 n p 差几个标准差",
                 std::abs(successes / trials - n * p) / std::sqrt(n * p * (1 - p) / trials), 5);
  lesson.at_most("二项：样本方差与 n p (1−p) 差几个标准差",
                 std::abs(counted - n * p * (1 - p)) / (n * p * (1 - p) * std::sqrt(2 / trials)), 5);

  report::Values z, density, odd_part, even_part, bell;
  for (int i = 0; i <= 120; ++i) {
    z.push_back(-4 + 8 * i / 120.0);
    density.push_back(phi(z.back())), odd_part.push_back(z.back() * phi(z.back())),
        even_part.push_back(z.back() * z.back() * phi(z.back()));
  }
  for (int k = 0; k <= n; ++k)
    bell.push_back(phi((k - n * p) / std::sqrt(n * p * (1 - p))) / std::sqrt(n * p * (1 - p)));
  report::Plot left("三个被积函数：面积是 1、0、1", "z", "");
  left.line("φ(z)：面积 1", z, density)
      .line("z φ(z)：左右抵消，0", z, odd_part)
      .line("z² φ(z)：面积 1", z, even_part)
      .horizontal(0)
      .sized({350, 290});
  report::Plot middle("B(40, 0.3) 与同均值同方差的正态", "成功次数 k", "概率");
  middle.scatter("二项", places, pmf).line("正态 N(12, 8.4)", places, bell).x_range(0, 26).sized({350, 290});
  report::Plot right("样本均值的误差", "样本数 N", "误差");
  right.line("正态", counts, normal_errors)
      .line("二项", counts, binomial_errors)
      .line("σ/√N", counts, root)
      .log_x()
      .log_y()
      .sized({350, 290});
  report::Figure figure("", 3);
  figure.add(left).add(middle).add(right);
  lesson.picture("moments", figure);
  return lesson.finish();
}
