// 第 1 周第 3 天  极大似然、最大后验、后验均值：抛硬币
//
// 抛 n 次，k 次正面，正面的概率 p 未知。
//   似然        L(p) = pᵏ (1−p)ⁿ⁻ᵏ                     只看数据
//   先验        Beta(a, b)：π(p) ∝ pᵃ⁻¹ (1−p)ᵇ⁻¹        抛之前相信什么
//   后验        π(p | 数据) ∝ L(p) π(p)  =  Beta(a + k, b + n − k)      （贝叶斯定理）
// 三个答案：极大似然 k/n；最大后验 (k+a−1)/(n+a+b−2)；后验均值 (k+a)/(n+a+b)。
// 公式都写在这里，但程序不相信它们：峰值在网格上找，均值用数值积分算，再和公式比。
#include <algorithm>
#include <cmath>
#include <functional>

#include "base/random.h"
#include "course/frame/lesson.h"
#include "report/plot.h"

using namespace sedum;
using course::Lesson;
using Density = std::function<double(double)>;  // 不必归一化

constexpr double kA = 2, kB = 2;  // 先验 Beta(2, 2)：大概是公平的，但不确定
constexpr int kGrid = 20000;      // [0, 1] 分成这么多格

double peak(const Density& f) {  // 网格上最大的地方：误差不超过 1/kGrid
  double best = 0;
  for (int i = 1; i <= kGrid; ++i)
    if (f(double(i) / kGrid) > f(best)) best = double(i) / kGrid;
  return best;
}

double integral(const Density& f, double from, double to) {  // Simpson 公式
  const double h = (to - from) / kGrid;
  double sum = f(from) + f(to);
  for (int i = 1; i < kGrid; ++i) sum += (i % 2 ? 4 : 2) * f(from + h * i);
  return sum * h / 3;
}

int main(int argc, char** argv) {
  Lesson lesson(argc, argv,
                {.title = "极大似然估计与贝叶斯定理",
                 .difficulty = "两种方法的适用场景分不清",
                 .remedy = "同一枚硬币，两种方法都算，看样本少和样本多时各说什么",
                 .bugs = {{"prior", "后验忘了乘先验，只剩下似然"},
                          {"tails", "似然里反面的次数写成了 n，应当是 n − k"},
                          {"interval", "95% 区间两边各切掉了 5%，应当各切 2.5%"}}});
  lesson.exercise("抛 3 次，3 次正面。极大似然估计 p = ?", "mle_3_of_3");
  lesson.exercise("先验 Beta(2, 2)，同样的数据。后验均值 = ?（小数）", "mean_3_of_3");

  const auto likelihood = [&](int n, int k) -> Density {
    const int tails = lesson.broken("tails") ? n : n - k;
    return [=](double p) { return std::pow(p, k) * std::pow(1 - p, tails); };
  };
  const Density prior = [](double p) { return std::pow(p, kA - 1) * std::pow(1 - p, kB - 1); };
  const auto posterior = [&](int n, int k) -> Density {
    return [=, &lesson](double p) { return likelihood(n, k)(p) * (lesson.broken("prior") ? 1 : prior(p)); };
  };
  const auto mean = [](const Density& f) {
    return integral([&](double p) { return p * f(p); }, 0, 1) / integral(f, 0, 1);
  };

  lesson.section("3 次里 3 次正面");
  lesson.value("mle_3_of_3", peak(likelihood(3, 3)), "极大似然：3/3，“永远是正面”");
  lesson.value("map_3_of_3", peak(posterior(3, 3)), "最大后验：(3+2−1)/(3+2+2−2) = 4/5");
  lesson.value("mean_3_of_3", mean(posterior(3, 3)), "后验均值：(3+2)/(3+2+2) = 5/7");
  lesson.at_most("极大似然是 1", std::abs(peak(likelihood(3, 3)) - 1), 1.0 / kGrid);
  lesson.at_most("最大后验是 4/5", std::abs(peak(posterior(3, 3)) - 0.8), 1.0 / kGrid);
  // Simpson 对五次多项式的误差 ∝ h⁴ ≈ 6e-18，剩下的是 kGrid 个数相加的舍入。
  lesson.at_most("Beta(2,2) 下的后验均值是 5/7", std::abs(mean(posterior(3, 3)) - 5.0 / 7), kGrid * 2.3e-16);

  lesson.section("公式对所有 n、k 都成立");
  double worst_peak = 0, worst_mean = 0;
  for (const int n : {1, 4, 10, 30})
    for (int k = 0; k <= n; k += std::max(1, n / 4)) {
      worst_peak = std::max(worst_peak, std::abs(peak(posterior(n, k)) - (k + kA - 1) / (n + kA + kB - 2)));
      worst_mean = std::max(worst_mean, std::abs(mean(posterior(n, k)) - (k + kA) / (n + kA + kB)));
    }
  lesson.at_most("峰值 = (k+a−1)/(n+a+b−2)", worst_peak, 1.0 / kGrid);
  lesson.at_most("均值 = (k+a)/(n+a+b)", worst_mean, 1e-9);

  lesson.section("n 变大：先验被数据淹没");
  const Random coin(lesson.seed(), Purpose::kTest);
  const double truth = 0.7;
  report::Values ns, mle, map, means;
  double gap = 0;  // |k/n − (k+a)/(n+a+b)| ≤ max(a, b)/(n+a+b)：k/n 与先验均值之差不超过 1，乘上先验的权重
  int heads = 0;
  for (int n = 1; n <= 2000; ++n) {
    heads += coin.uniform(uint64_t(n)) < truth;
    const double k = heads;
    if (n <= 20 || n % (n / 10) == 0)
      ns.push_back(n), mle.push_back(k / n), map.push_back((k + kA - 1) / (n + kA + kB - 2)),
          means.push_back((k + kA) / (n + kA + kB));
    gap = std::max(gap, std::abs(k / n - (k + kA) / (n + kA + kB)) * (n + kA + kB));
  }
  lesson.value("mle_1", mle[0], "抛 1 次时的极大似然");
  lesson.value("mean_1", means[0], "抛 1 次时的后验均值");
  lesson.value("mle_2000", mle.back());
  lesson.value("mean_2000", means.back());
  lesson.at_most("两种估计之差不超过 2/(n+4)：(n+4)·差", gap, std::max(kA, kB) * (1 + 1e-12));

  lesson.section("先验对的时候，95% 区间真的有 95%");
  // p 从先验抽，再抛 n 次；后验的 95% 区间应当以 95% 的机会盖住 p。分位数在网格上累加得到。
  const int n = 10, coins = lesson.quick() ? 2000 : 20000, cells = 2000;
  std::vector<std::pair<double, double>> intervals;
  for (int k = 0; k <= n; ++k) {
    std::vector<double> sums{0};
    for (int i = 0; i < cells; ++i) sums.push_back(sums.back() + posterior(n, k)((i + 0.5) / cells));
    const double cut = lesson.broken("interval") ? 0.05 : 0.025;
    const auto quantile = [&](double q) {
      return double(std::lower_bound(sums.begin(), sums.end(), q * sums.back()) - sums.begin()) / cells;
    };
    intervals.push_back({quantile(cut), quantile(1 - cut)});
  }
  int covered = 0;
  for (int c = 0; c < coins; ++c) {
    // Beta(2, 2) 是三个均匀数的中位数。
    double u[3] = {coin.uniform_double(uint64_t(1e6) + 20 * uint64_t(c)),
                   coin.uniform_double(uint64_t(1e6) + 20 * uint64_t(c) + 1),
                   coin.uniform_double(uint64_t(1e6) + 20 * uint64_t(c) + 2)};
    std::sort(u, u + 3);
    int k = 0;
    for (int i = 0; i < n; ++i) k += coin.uniform_double(uint64_t(1e6) + 20 * uint64_t(c) + 3 + uint64_t(i)) < u[1];
    covered += u[1] >= intervals[size_t(k)].first && u[1] <= intervals[size_t(k)].second;
  }
  const double share = double(covered) / coins, spread = std::sqrt(0.95 * 0.05 / coins);
  lesson.value("coverage", share, "95% 区间盖住真值的比例");
  lesson.between("覆盖率是 95%（四个标准差之内）", share, 0.95 - 4 * spread, 0.95 + 4 * spread);

  const auto curve = [](const Density& f) {
    report::Values y;
    const double total = integral(f, 0, 1);
    for (int i = 0; i <= 100; ++i) y.push_back(f(i / 100.0) / total);
    return y;
  };
  report::Values p;
  for (int i = 0; i <= 100; ++i) p.push_back(i / 100.0);
  report::Plot left("3 次 3 正面：先验 × 似然 → 后验", "正面的概率 p", "密度");
  left.line("先验 Beta(2, 2)", p, curve(prior))
      .line("似然 p³", p, curve(likelihood(3, 3)))
      .line("后验 Beta(5, 2)", p, curve(posterior(3, 3)));
  left.vertical(5.0 / 7, "均值 5/7").sized({400, 300});
  report::Plot right(fmt::format("抛得越多，三种估计越一致（真值 {}）", truth), "抛的次数 n", "估计的 p");
  right.line("极大似然 k/n", ns, mle)
      .line("最大后验", ns, map)
      .line("后验均值", ns, means)
      .log_x()
      .horizontal(truth)
      .y_range(0.3, 1.05)
      .sized({400, 300});
  report::Figure figure("", 2);
  figure.add(left).add(right);
  lesson.picture("coin", figure);
  return lesson.finish();
}
