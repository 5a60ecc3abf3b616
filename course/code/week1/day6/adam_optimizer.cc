// 第 1 周第 6 天  Adam = 动量 + RMSProp，再加偏差修正（Kingma、Ba，2014）
//
//   动量      m ← β₁ m + (1 − β₁) g           梯度的平均：往哪里走
//   RMSProp   v ← β₂ v + (1 − β₂) g²          梯度平方的平均：每个坐标走多大
//   修正      m̂ = m / (1 − β₁ᵗ)，v̂ = v / (1 − β₂ᵗ)     m、v 从 0 开始，头几步偏小，除回来
//   更新      w ← w − η m̂ / (√v̂ + ε)
//
// 两件事常被混淆：m 管方向（去掉来回摆动），v 管每个坐标的步长（陡的走小步，平的走大步）。下面一次只打开一个，再合起来。
#include <algorithm>
#include <cmath>
#include <limits>

#include "course/frame/lesson.h"
#include "model/runtime_model.h"
#include "report/plot.h"
#include "train/optim/optimizer.h"

using namespace sedum;
using course::Lesson;
using Vector = std::vector<double>;

// 一个坐标一个坐标地更新；四种方法只差在用不用 m 和 v。
struct Adam {
  double rate, beta1, beta2, eps = 1e-8;
  bool use_m = true, use_v = true, correct = true;
  Vector m = {}, v = {};
  int t = 0;

  void step(Vector& w, const Vector& g, const Lesson& lesson) {
    ++t;
    m.resize(w.size()), v.resize(w.size());
    const double b1 = lesson.broken("betas") ? beta2 : beta1, b2 = lesson.broken("betas") ? beta1 : beta2;
    for (size_t i = 0; i < w.size(); ++i) {
      m[i] = b1 * m[i] + (1 - b1) * g[i];         // 第一步：动量
      v[i] = b2 * v[i] + (1 - b2) * g[i] * g[i];  // 第二步：RMSProp
      const bool divide = correct && !lesson.broken("bias");
      const double m_hat = divide ? m[i] / (1 - std::pow(b1, t)) : m[i];  // 第三步：偏差修正
      const double v_hat = divide ? v[i] / (1 - std::pow(b2, t)) : v[i];
      const double direction = use_m ? m_hat : g[i];
      const double scale = !use_v ? 1 : lesson.broken("epsilon") ? std::sqrt(v_hat + eps) : std::sqrt(v_hat) + eps;
      w[i] -= rate * direction / scale;  // 第四步：更新
    }
  }
};

// 狭长的山谷：f(w) = ½ (100 w₁² + w₂²)，最小值在 (0, 0)。
double loss(const Vector& w) { return (100 * w[0] * w[0] + w[1] * w[1]) / 2; }
Vector gradient(const Vector& w) { return {100 * w[0], w[1]}; }

int main(int argc, char** argv) {
  Lesson lesson(argc, argv,
                {.title = "Adam 优化器：公式拆解与实现",
                 .difficulty = "动量项与自适应权重混淆",
                 .remedy = "拆成“动量 + RMSProp”，分步编码，每一步单独检验",
                 .bugs = {{"bias", "忘了偏差修正"}, {"betas", "β₁ 和 β₂ 用反了"}, {"epsilon", "ε 放进了根号里面"}}});
  lesson.exercise("第一步，η = 0.1，梯度是 1000。Adam 走多远？", "first_step");
  const double tiny = std::numeric_limits<double>::epsilon();

  lesson.section("第一步：动量。梯度不变时，修正后的 m̂ 应当就是它");
  double corrected = 0, raw = 0;
  report::Values ts, with, without;
  Adam constant{.rate = 0, .beta1 = 0.9, .beta2 = 0.999};
  for (int t = 1; t <= 40; ++t) {
    Vector w{0};
    constant.step(w, {1}, lesson);
    const double divided = lesson.broken("bias") ? constant.m[0] : constant.m[0] / (1 - std::pow(0.9, t));
    corrected = std::max(corrected, std::abs(divided - 1));
    if (t == 1) raw = constant.m[0];
    ts.push_back(t), without.push_back(constant.m[0]), with.push_back(divided);
  }
  lesson.value("uncorrected_first_m", raw, "没有修正：第一步只有 (1 − β₁) g");
  lesson.at_most("有修正：m̂ = g", corrected, 40 * tiny);

  lesson.section("第二步：RMSProp 是 β₁ = 0 的 Adam");
  Adam no_momentum{.rate = 0.05, .beta1 = 0, .beta2 = 0.9}, rms{.rate = 0.05, .beta1 = 0, .beta2 = 0.9, .use_m = false};
  Vector a{1, 1}, b{1, 1};
  double apart = 0;
  for (int t = 0; t < 200; ++t) {
    no_momentum.step(a, gradient(a), lesson), rms.step(b, gradient(b), lesson);
    apart = std::max({apart, std::abs(a[0] - b[0]), std::abs(a[1] - b[1])});
  }
  lesson.equal("β₁ = 0：和带修正的 RMSProp 逐位相同", apart, 0);

  lesson.section("第三步：Adam 不在乎梯度的尺度");
  Adam small{.rate = 0.1, .beta1 = 0.9, .beta2 = 0.999}, large = small;
  Vector w_small{0}, w_large{0};
  double ratio = 0;
  for (int t = 1; t <= 50; ++t) {
    const double g = std::sin(0.3 * t) + 0.5;
    small.step(w_small, {g}, lesson), large.step(w_large, {1000 * g}, lesson);
    if (t == 1) lesson.value("first_step", -w_large[0], "第一步总是 η，不管梯度多大");
    ratio = std::max(ratio, std::abs(w_small[0] - w_large[0]));
  }
  lesson.at_most("第一步长度 = η",
                 std::abs(0.1 - lesson.value(
                                    "first_step_small",
                                    [&] {
                                      Adam once{.rate = 0.1, .beta1 = 0.9, .beta2 = 0.999};
                                      Vector w{0};
                                      once.step(w, {0.01}, lesson);
                                      return -w[0];
                                    }(),
                                    "梯度是 0.01 时")),
                 0.1 * 1e-8 / 0.01 * 1.01);  // 只差 ε/(|g| + ε)
  // 每一步的差别是 η·ε/√v̂ 这么多；√v̂ ≥ 0.2，50 步。
  lesson.at_most("梯度乘 1000，路径不变", ratio, 50 * 0.1 * 1e-8 / 0.2);

  lesson.section("第四步：和 Sedum 训练模型用的 AdamW 比");
  Runtime runtime(1);
  Context ctx = runtime.context(Compute::kF32);
  Tensor stored = Tensor::empty(runtime.arena, DType::kF32, {2});
  stored.data<float>()[0] = 0.8f, stored.data<float>()[1] = -1.5f;
  Variable parameter = Variable::parameter(stored, "w");
  const auto library = make_optimizer(ctx, {parameter}, {.beta1 = 0.9f, .beta2 = 0.999f, .eps = 1e-8f});
  Adam ours{.rate = double(0.02f), .beta1 = double(0.9f), .beta2 = double(0.999f), .eps = double(1e-8f)};
  Vector w{double(0.8f), double(-1.5f)};
  double difference = 0;
  const int steps = 100;
  for (int t = 0; t < steps; ++t) {
    const Vector g{std::cos(0.7 * t) + 0.2, 1e-3 * std::sin(0.2 * t) - 1e-3};  // 同样的梯度给两边，只比更新
    parameter.gradient() = Tensor::empty(runtime.arena, DType::kF32, {2});
    for (int i = 0; i < 2; ++i) parameter.gradient().data<float>()[i] = float(g[size_t(i)]);
    library->step(ctx, 0.02f, 1, t);
    ours.step(w, {double(float(g[0])), double(float(g[1]))}, lesson);
    for (int i = 0; i < 2; ++i)
      difference = std::max(difference, std::abs(w[size_t(i)] - parameter.value().data<float>()[i]));
  }
  // f32：w 约为 2，每步舍入 2·6e-8，更新本身 0.02·(几次运算·6e-8)；100 步直接相加是上界。
  lesson.value("difference_from_library", difference);
  lesson.at_most("100 步之后与 train/optim 的 AdamW 之差", difference, steps * 2 * 6e-8 * 2);

  lesson.section("合起来：狭长的山谷");
  struct Method {
    std::string name, key;
    Adam optimizer;
  };
  // SGD 和动量的学习率受最陡方向限制：2/100 = 0.02 以下。
  Method methods[] = {
      {"SGD（η = 0.015）", "sgd", {.rate = 0.015, .beta1 = 0, .beta2 = 0, .use_m = false, .use_v = false}},
      {"动量（β₁ = 0.9）", "momentum", {.rate = 0.015, .beta1 = 0.9, .beta2 = 0, .use_v = false}},
      {"RMSProp（η = 0.02）", "rmsprop", {.rate = 0.02, .beta1 = 0, .beta2 = 0.99, .use_m = false}},
      {"Adam（η = 0.05）", "adam", {.rate = 0.05, .beta1 = 0.9, .beta2 = 0.99}}};
  report::Plot paths("路径：谷底在中间", "w₂（平）", "w₁（陡）"), curves("损失", "步数", "f(w)");
  paths.contours(
           [](double x, double y) {
             return loss({y, x});
           },
           {0.05, 0.3, 1, 3, 8, 16, 30})
      .x_range(-0.6, 2.3)
      .y_range(-0.8, 0.8)
      .sized({430, 330});
  curves.log_y().y_range(1e-6, 100).sized({400, 330});
  for (Method& method : methods) {
    Vector at{0.6, 2};
    report::Values step, value, x, y;
    int reached = 0;
    for (int t = 0; t <= 600; ++t) {
      step.push_back(t), value.push_back(loss(at)), y.push_back(at[0]), x.push_back(at[1]);
      if (reached == 0 && loss(at) < 0.01) reached = t;
      method.optimizer.step(at, gradient(at), lesson);
    }
    lesson.value("steps_" + method.key, reached, "损失低于 0.01 的第一步（哪一个最快取决于学习率，所以不断言）");
    const auto first = [](const report::Values& all, size_t n) {
      return report::Values(all.begin(), all.begin() + long(n));
    };
    paths.line(method.name, first(x, 120), first(y, 120));
    curves.line(method.name, first(step, 400), first(value, 400));
  }
  report::Plot bias("偏差修正：梯度恒为 1 时的 m", "步数 t", "m");
  bias.line("m（没有修正）", ts, without).line("m̂（修正之后）", ts, with).y_range(0, 1.15).sized({330, 330});
  report::Figure figure("Adam = 动量（方向）+ RMSProp（步长）+ 偏差修正", 3);
  figure.add(paths).add(curves).add(bias);
  lesson.picture("adam", figure);
  return lesson.finish();
}
