// 第 6 周第 6 天  混合精度：FP32、FP16、放大的 FP16、BF16
//
//   FP32  1 + 8 + 23 位      最小的正规数 1.2e-38，ε = 1.2e-7
//   FP16  1 + 5 + 10 位      最小的正规数 6.1e-5， ε = 9.8e-4
//   BF16  1 + 8 + 7 位       最小的正规数 1.2e-38，ε = 7.8e-3
//
// FP16 位数多、范围小：小梯度变成 0（下溢）。BF16 范围与 FP32 一样大，但粗。两种毛病，两种药：
// 下溢用损失放大；太粗就另存一份 FP32 的主权重，让很小的更新也能积累起来。
#include <cmath>

#include "base/random.h"
#include "compute/dtype/dtype.h"
#include "course/frame/lesson.h"
#include "report/plot.h"

using namespace sedum;
using course::Lesson;

float to_f16(float x) { return f16_to_f32(f32_to_f16(x)); }
float to_bf16(float x) { return float(bf16(x)); }

int main(int argc, char** argv) {
  Lesson lesson(argc, argv,
                {.title = "混合精度训练",
                 .difficulty = "精度下降导致模型效果差",
                 .remedy = "看清丢的是什么：下溢，还是太粗",
                 .bugs = {{"no_unscale", "放大之后忘了缩回来"}, {"no_master", "没有主权重：更新直接加在 BF16 上"}}});
  lesson.exercise("BF16 的权重是 1，更新是 0.001。加上之后是多少？", "bf16_one_plus_small");
  lesson.predict("大小约 1e-6 的梯度，变成 FP16 后有百分之几成了 0？", "f16_zero_percent");

  lesson.section("下溢：一百万个梯度，大小从 1e-10 到 1e-2");
  const int count = lesson.quick() ? 20000 : 1000000;
  const Random random(lesson.seed(), Purpose::kTest);
  std::vector<float> gradients(static_cast<size_t>(count));
  for (int i = 0; i < count; ++i)  // 对数正态：指数平均 −6，标准差 1.2
    gradients[size_t(i)] = float((random.bits(uint64_t(i)) & 1 ? 1 : -1) *
                                 std::pow(10.0, -6 + 1.2 * double(random.normal(uint64_t(i + count)))));
  const float scale = 65536;  // 2¹⁶：乘以 2 的幂不改变尾数
  struct Loss {
    double zero = 0, error = 0;  // 变成 0 的比例；相对误差的平均
  };
  const auto measure = [&](const auto& convert) {
    Loss loss;
    for (const float g : gradients) {
      const float c = convert(g);
      loss.zero += double(c == 0) / count, loss.error += std::abs(double(c) / double(g) - 1) / count;
    }
    return loss;
  };
  const Loss f16 = measure(to_f16), bf = measure(to_bf16);
  const Loss scaled = measure([&](float g) { return to_f16(g * scale) / (lesson.broken("no_unscale") ? 1 : scale); });
  lesson.value("f16_zero_percent", 100 * f16.zero, "FP16：变成 0 的");
  lesson.value("scaled_zero_percent", 100 * scaled.zero, "放大 65536 倍的 FP16");
  lesson.value("bf16_zero_percent", 100 * bf.zero);
  lesson.value("f16_error_percent", 100 * f16.error, "平均相对误差");
  lesson.value("scaled_error_percent", 100 * scaled.error);
  lesson.value("bf16_error_percent", 100 * bf.error);
  lesson.at_least("FP16 丢了一部分梯度", f16.zero, 0.01);
  lesson.at_most("放大之后几乎不丢", scaled.zero, f16.zero / 100);
  lesson.at_most("放大再缩回来，误差只有舍入（ε/2 的级别）", scaled.error, 1e-3);
  lesson.equal("BF16 的范围与 FP32 一样，不丢", bf.zero, 0);
  lesson.at_least("但 BF16 比放大的 FP16 粗", bf.error / scaled.error, 4);

  lesson.section("太粗：很小的更新加不上去");
  lesson.value("bf16_one_plus_small", double(to_bf16(1.0f + 0.001f)), "1 附近，BF16 的间隔是 1/128");
  const int steps = 1000;
  float plain = 1, master = 1, half = 1;
  report::Values at, plain_path, master_path, exact_path;
  for (int step = 1; step <= steps; ++step) {
    plain = to_bf16(plain + 0.001f);  // 每步舍入一次：永远停在 1
    half = to_f16(half + 0.001f);     // FP16 在 1 附近的间隔是 1/1024：勉强加得上，但总是偏
    master += 0.001f;                 // FP32 主权重
    if (step % 20 == 0) {
      at.push_back(step), plain_path.push_back(double(plain)), exact_path.push_back(1 + 0.001 * step);
      master_path.push_back(
          double(to_bf16(lesson.broken("no_master") ? plain : master)));  // 前向用的是主权重舍入成的 BF16
    }
  }
  lesson.value("bf16_after_1000", double(plain), "直接加在 BF16 上");
  lesson.value("f16_after_1000", double(half), "直接加在 FP16 上");
  lesson.value("master_after_1000", master_path.back(), "加在 FP32 主权重上，再舍入成 BF16");
  lesson.equal("没有主权重：一千步之后还在原地", double(plain), 1);
  lesson.at_most("有主权重：到了该到的地方，差不过半个间隔", std::abs(master_path.back() - 2), 1.0 / 128);

  // 直方图：每半个数量级一格。
  report::Values places, all, lost;
  for (double e = -11; e < -1; e += 0.5) {
    double total = 0, zero = 0;
    for (const float g : gradients)
      if (const double size = std::log10(std::abs(double(g))); size >= e && size < e + 0.5)
        total += 1, zero += to_f16(g) == 0;
    places.push_back(e + 0.25), all.push_back(100 * total / count), lost.push_back(100 * zero / count);
  }
  report::Plot histogram("梯度的大小，和 FP16 丢掉的", "log₁₀ |梯度|", "百分之几"),
      path("1000 次加 0.001", "步数", "权重");
  histogram.line("全部", places, all)
      .line("变成 0 的", places, lost)
      .vertical(std::log10(6.0e-8), "FP16 最小的数")
      .sized({420, 320});
  path.line("BF16 直接加", at, plain_path)
      .line("FP32 主权重", at, master_path)
      .line("精确", at, exact_path)
      .sized({420, 320});
  lesson.picture("precision", report::Figure("", 2).add(histogram).add(path));
  return lesson.finish();
}
