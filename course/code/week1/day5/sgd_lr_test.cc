// 第 1 周第 5 天  梯度下降与随机梯度下降：学习率
//
//   w ← w − η ∇f(w)
//
// 在二次函数上，一切都能算清楚。f(w) = ½ (w − w*)ᵀ H (w − w*)，∇f = H (w − w*)，误差 e = w − w* 每步变成
//   e ← (I − η H) e          沿 H 的第 i 个特征方向：e_i ← (1 − η λ_i) e_i
// |1 − η λ_i| < 1 才收敛，对最大的 λ 就是 η < 2/λmax。这里 λ = 25 和 1，所以界限是 0.08：0.001 太慢，0.01 合适，0.1 发散。
#include <cmath>
#include <limits>
#include <numbers>

#include "base/random.h"
#include "course/frame/lesson.h"
#include "report/plot.h"

using namespace sedum;
using course::Lesson;

struct Point2 {
  double x, y;
};

int main(int argc, char** argv) {
  Lesson lesson(argc, argv,
                {.title = "梯度下降与 SGD：学习率",
                 .difficulty = "学习率对收敛的影响不直观",
                 .remedy = "试 0.001、0.01、0.1 三种学习率，画出曲线和路径",
                 .bugs = {{"double", "梯度多乘了 2（f 里的 ½ 忘了）"},
                          {"sum", "小批量的梯度求了和，没有求平均"},
                          {"stale", "更新 y 时用了已经更新过的 x"}}});
  lesson.predict("λmax = 25：学习率超过多少就会发散？", "threshold");

  // 数据：256 个样本的最小二乘，y = w*·x，损失是平均的 ½ (w·x − y)²。H = XᵀX/N。
  // 先取随机的 X，再变换它，使 H 的特征值恰好是 25 和 1，特征方向转过 30°。
  const int samples = 256;
  const Random random(lesson.seed(), Purpose::kTest);
  const double c = std::cos(std::numbers::pi / 6), s = std::sin(std::numbers::pi / 6);
  const Point2 target{1, -0.5};
  std::vector<Point2> xs(samples);
  std::vector<double> ys(samples);
  double a = 0, b = 0, d = 0;  // 原来的 XᵀX/N = [[a, b], [b, d]] = L Lᵀ，x ← L⁻¹ x 之后是单位阵
  for (int i = 0; i < samples; ++i) {
    xs[i] = {random.normal(uint64_t(2 * i)), random.normal(uint64_t(2 * i + 1))};
    a += xs[i].x * xs[i].x / samples, b += xs[i].x * xs[i].y / samples, d += xs[i].y * xs[i].y / samples;
  }
  const double l11 = std::sqrt(a), l21 = b / l11, l22 = std::sqrt(d - l21 * l21);
  for (int i = 0; i < samples; ++i) {
    const double u = xs[i].x / l11, v = (xs[i].y - l21 * u) / l22;  // 不相关，方差 1
    xs[i] = {c * 5 * u - s * v, s * 5 * u + c * v};                 // 拉伸 √25 = 5 倍，再转 30°
    ys[i] =
        target.x * xs[i].x + target.y * xs[i].y + 0.5 * random.normal(uint64_t(100000 + i));  // 有噪声，SGD 才停不下来
  }
  // 有噪声时最优点略偏离 target：解 2×2 的正规方程 H w* = Xᵀy/N。
  double h11 = 0, h12 = 0, h22 = 0, g1 = 0, g2 = 0;
  for (int i = 0; i < samples; ++i) {
    h11 += xs[i].x * xs[i].x / samples, h12 += xs[i].x * xs[i].y / samples, h22 += xs[i].y * xs[i].y / samples;
    g1 += xs[i].x * ys[i] / samples, g2 += xs[i].y * ys[i] / samples;
  }
  const double det = h11 * h22 - h12 * h12;
  const Point2 best{(h22 * g1 - h12 * g2) / det, (h11 * g2 - h12 * g1) / det};
  const double lambda_max = (h11 + h22 + std::sqrt((h11 - h22) * (h11 - h22) + 4 * h12 * h12)) / 2;
  const double threshold = 2 / lambda_max;
  lesson.value("lambda_max", lambda_max);
  lesson.value("threshold", threshold, "2/λmax");

  // 超出最优值的那部分损失：½ eᵀ H e。
  const auto excess = [&](Point2 w) {
    const double x = w.x - best.x, y = w.y - best.y;
    return (h11 * x * x + 2 * h12 * x * y + h22 * y * y) / 2;
  };
  // 样本 first … first+count−1（按 order 的次序）上的平均梯度：mean (w·x − y) x
  const auto gradient = [&](Point2 w, const std::vector<uint32_t>& order, int first, int count) {
    Point2 g{0, 0};
    for (int i = first; i < first + count; ++i) {
      const Point2 x = xs[order[size_t(i)]];
      const double error = w.x * x.x + w.y * x.y - ys[order[size_t(i)]];
      g.x += error * x.x, g.y += error * x.y;
    }
    const double scale = (lesson.broken("double") ? 2.0 : 1.0) / (lesson.broken("sum") && count < samples ? 1 : count);
    return Point2{g.x * scale, g.y * scale};
  };
  const Point2 start{-0.6, 1.6};
  struct Run {
    report::Values steps, losses, x, y;
  };
  const auto descend = [&](double rate, int batch, int steps, uint64_t seed) {
    Run run;
    Point2 w = start;
    std::vector<uint32_t> order = Random(seed, Purpose::kShuffle).permutation(samples);
    for (int step = 0; step <= steps; ++step) {
      run.steps.push_back(step), run.losses.push_back(excess(w)), run.x.push_back(w.x), run.y.push_back(w.y);
      const int first = step * batch % samples;
      if (batch < samples && first == 0)
        order = Random(seed, Purpose::kShuffle, uint32_t(1 + step)).permutation(samples);  // 新的一轮
      const Point2 g = gradient(w, order, first, batch);
      w.x -= rate * g.x;
      if (lesson.broken("stale"))
        w.y -= rate * gradient(w, order, first, batch).y;
      else
        w.y -= rate * g.y;
    }
    return run;
  };

  lesson.section("梯度下降：三种学习率");
  const double rates[] = {0.001, 0.01, 0.1};
  const int steps = 300;
  report::Plot curves("梯度下降：0.1 发散，0.001 太慢", "步数", "损失 − 最小损失");
  report::Plot paths("路径（椭圆是等高线）", "w₁", "w₂");
  curves.log_y().y_range(1e-3, 1e4).sized({430, 330});
  paths.contours([&](double x, double y) { return excess({x, y}); }, {0.2, 1, 3, 8, 16, 28, 45});
  paths.x_range(-1.6, 3.2).y_range(-2.4, 2.4).sized({370, 330});
  double loss_at[3];
  for (int r = 0; r < 3; ++r) {
    const double rate = rates[r];
    const Run run = descend(rate, samples, steps, lesson.seed());
    loss_at[r] = run.losses.back();
    // 公式：误差在两个特征方向 (c, s)、(−s, c) 上的分量各乘 (1 − ηλ)ᵏ，损失是 ½ Σ λ e²。
    const double e25 = c * (start.x - best.x) + s * (start.y - best.y),
                 e1 = -s * (start.x - best.x) + c * (start.y - best.y);
    const double theory =
        (25 * std::pow(1 - rate * 25, 2 * steps) * e25 * e25 + std::pow(1 - rate, 2 * steps) * e1 * e1) / 2;
    const std::string name = fmt::format("η = {}", rate);
    // 300 步，每步的舍入误差约 samples·ε ≈ 6e-14（平均值里的相加），放大的也只是同样的倍数。
    lesson.at_most(name + "：300 步后的损失与公式之差（相对）", std::abs(run.losses.back() / theory - 1), 1e-9);
    curves.line(name, run.steps, run.losses);
    const int shown = rate == 0.1 ? 5 : steps + 1;
    paths.line(name, {run.x.begin(), run.x.begin() + shown}, {run.y.begin(), run.y.begin() + shown});
  }
  paths.note({best.x, best.y}, "最小值");
  lesson.value("loss_start", excess(start));
  lesson.value("loss_0_001", loss_at[0], "300 步之后");
  lesson.value("loss_0_01", loss_at[1]);
  lesson.value("loss_0_1", loss_at[2]);
  lesson.at_most("0.01 比 0.001 快：损失之比", loss_at[1] / loss_at[0], 0.2);
  lesson.at_least("0.1 发散：最后的损失是开始的多少倍", loss_at[2] / excess(start), 1e6);

  lesson.section("界限在哪里：二分法");
  double low = 0.01, high = 0.2;
  for (int i = 0; i < 30; ++i) {
    const double middle = (low + high) / 2;
    (descend(middle, samples, 4000, lesson.seed()).losses.back() < excess(start) ? low : high) = middle;
  }
  lesson.value("measured_threshold", low, "试出来的界限");
  // 界限以外 δ：4000 步之后误差放大 (1 + 25δ)⁴⁰⁰⁰ 倍。开始时这个方向只有总损失的几分之一，所以 δ ≈ 10⁻⁵ 才看得出。
  lesson.at_most("试出来的界限 = 2/λmax", std::abs(low - threshold), 1e-4);

  lesson.section("SGD：每步只看 8 个样本");
  std::vector<uint32_t> order = random.permutation(samples);
  const Point2 w{0.3, 0.4}, full = gradient(w, order, 0, samples);
  Point2 sum{0, 0};
  for (int first = 0; first < samples; first += 8) {
    const Point2 g = gradient(w, order, first, 8);
    sum.x += g.x * 8 / samples, sum.y += g.y * 8 / samples;
  }
  lesson.at_most("小批量梯度的平均就是全梯度（无偏）",
                 std::hypot(sum.x - full.x, sum.y - full.y) / std::hypot(full.x, full.y), 1e-12);
  report::Plot noisy("SGD（批量 8）：停在一层噪声上", "步数", "损失 − 最小损失");
  noisy.log_y().y_range(1e-6, 1e2).sized({430, 330});
  for (const double rate : rates) {
    double floor = 0;
    const int long_run = rate == 0.1 ? 60 : lesson.quick() ? 4000 : 20000;
    for (uint64_t seed = lesson.seed(); seed < lesson.seed() + 3; ++seed) {
      const Run run = descend(rate, 8, long_run, seed);
      const size_t half = run.losses.size() / 2;
      for (size_t i = half; i < run.losses.size(); ++i) floor += run.losses[i] / double(run.losses.size() - half) / 3;
      if (seed > lesson.seed()) continue;
      report::Values thin_steps, thin;
      for (int i = 0; i <= std::min(long_run, 2000); i += rate == 0.1 ? 1 : 10)
        thin_steps.push_back(i), thin.push_back(run.losses[size_t(i)]);
      noisy.line(fmt::format("η = {}", rate), thin_steps, thin);
    }
    const std::string name = fmt::format("SGD η = {}", rate);
    if (rate == 0.1) {
      lesson.at_least(name + " 也发散：损失与开始之比", floor / excess(start), 1e3);
    } else {
      lesson.value(rate == 0.01 ? "floor_0_01" : "floor_0_001", floor, "后一半步数的平均，三个种子");
      lesson.at_most(name + " 走到最优附近：损失与开始之比", floor / excess(start), 0.05);
    }
  }
  report::Figure figure("学习率：太小走不到，太大停不住", 3);
  figure.add(curves).add(paths).add(noisy);
  lesson.picture("learning_rates", figure);
  return lesson.finish();
}
