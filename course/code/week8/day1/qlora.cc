// 第 8 周第 1 天  4 位、8 位；QLoRA 与量化感知训练
//
//   INT4   均匀的 15 个值，每 64 个数一个比例            NF4   正态分布的 16 个分位数，每 64 个数一个比例
//
//   先训练后量化 (PTQ)      W → Q(W)                       训练时不知道要量化
//   量化感知训练 (QAT)      损失用 Q(W) 算，梯度当作 Q 不存在，改的是 W      权重自己挪到好量化的地方
//   QLoRA                   Q(W₀) 冻结，只训练 A、B        底座的 4 位从头到尾一个也没有变
//
// “量化导致精度损失，学习量化感知训练”说的是第二种。QLoRA 不是它：误差没有变小，是 A、B 学着把它补回来一部分。
#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/random.h"
#include "compute/dtype/nf4.h"
#include "compute/ops/elementwise.h"
#include "compute/ops/linear.h"
#include "course/frame/lesson.h"
#include "report/plot.h"
#include "train/optim/optimizer.h"

using namespace sedum;
using course::Lesson;
using Numbers = std::vector<float>;

double quantile(double p) {  // 标准正态的分位数：Φ(x) = erfc(−x/√2)/2，二分
  double low = -10, high = 10;
  for (int i = 0; i < 200; ++i) {
    const double middle = (low + high) / 2;
    (std::erfc(-middle / std::sqrt(2.0)) / 2 < p ? low : high) = middle;
  }
  return low;
}

// 均匀的格子：每 64 个数以绝对值最大的为准，−most … most。
Numbers uniform_grid(const Numbers& w, float most) {
  Numbers q(w.size());
  for (size_t i = 0; i < w.size(); i += 64) {
    float largest = 0;
    for (size_t j = i; j < i + 64; ++j) largest = std::max(largest, std::abs(w[j]));
    for (size_t j = i; j < i + 64; ++j) q[j] = std::round(w[j] / largest * most) / most * largest;
  }
  return q;
}
Numbers through_nf4(const Numbers& w) {  // 压成 4 位，再读出来
  std::vector<BlockNF4> blocks(w.size() / 64);
  Numbers q(w.size());
  encode(kNF4, w.data(), blocks.data(), int64_t(w.size()));
  decode(kNF4, blocks.data(), q.data(), int64_t(w.size()));
  return q;
}
double codes_differ(const Numbers& a, const Numbers& b) {  // 4 位的编号不同的权重
  ThreadPool pool(1);
  const Nf4Quantised x = quantise_nf4(pool, a.data(), int64_t(a.size())),
                     y = quantise_nf4(pool, b.data(), int64_t(b.size()));
  double count = 0;
  for (size_t i = 0; i < x.packed.size(); ++i)
    count += (x.packed[i] >> 4 != y.packed[i] >> 4) + ((x.packed[i] & 15) != (y.packed[i] & 15));
  return count;
}
double relative_error(const Numbers& w, const Numbers& q) {
  double error = 0, size = 0;
  for (size_t i = 0; i < w.size(); ++i)
    error += std::pow(double(w[i]) - double(q[i]), 2), size += std::pow(double(w[i]), 2);
  return std::sqrt(error / size);
}

int main(int argc, char** argv) {
  Lesson lesson(argc, argv,
                {.title = "Q-LoRA 原理",
                 .difficulty = "量化导致精度损失",
                 .remedy = "三种误差，三条路：先训练后量化、量化感知训练、QLoRA",
                 .bugs = {{"flat_levels", "NF4 的 16 个值取成了均匀的"},
                          {"base_moves", "把 A、B 合并进 4 位的底座又存了回去：底座变了，误差又来一次"},
                          {"no_master", "量化感知训练没有留 f32 的主权重：小更新都被舍掉"}}});
  lesson.exercise("NF4：每个数 4 位；每 64 个数一个 8 位的比例；每 256 个比例一个 32 位的数。每个权重几位？",
                  "nf4_bits");
  lesson.predict("正态分布的权重，INT4 的误差是 NF4 的几倍？", "int4_over_nf4");

  lesson.section("NF4 的 16 个值从哪里来");
  // 负的一半：Φ⁻¹ 在 [1 − δ, 1/2] 上均匀取 8 个，正的一半取 9 个，0 两边共用；最后除以最大的。δ 取得使两端是 ±1（Dettmers 等，2023）。
  constexpr double kOffset = 0.9677083;
  std::vector<double> levels = {0};
  for (int i = 0; i < 8; ++i) levels.push_back(quantile(kOffset + (0.5 - kOffset) * i / 8));
  for (int i = 0; i < 7; ++i) levels.push_back(-quantile(kOffset + (0.5 - kOffset) * i / 7));
  std::ranges::sort(levels);
  double level_error = 0;
  for (size_t i = 0; i < 16; ++i) {
    const double level = lesson.broken("flat_levels") ? -1 + 2 * double(i) / 15 : levels[i] / levels.back();
    level_error = std::max(level_error, std::abs(level - double(kNf4Values[i])));
  }
  lesson.at_most("推出来的 16 个值 = 库里的（bitsandbytes 的）", level_error, 1e-6);  // δ 给到七位小数
  ThreadPool pool(1);
  const Random random(lesson.seed(), Purpose::kTest);
  const int64_t count = lesson.quick() ? 65536 : 1 << 20;
  Numbers bell(static_cast<size_t>(count)), flat(static_cast<size_t>(count));
  for (size_t i = 0; i < bell.size(); ++i)
    bell[i] = 0.02f * random.normal(i), flat[i] = 0.02f * (2 * random.uniform(i) - 1);
  const Nf4Quantised stored = quantise_nf4(pool, bell.data(), count);
  const double bits =
      8.0 * double(stored.packed.size() + stored.scales.size() + 4 * stored.scales_scales.size()) / double(count);
  lesson.value("nf4_bits", bits, "比例自己也量化了一次；不然是 4.5 位");
  lesson.equal("4 + 8/64 + 32/(64·256)", bits, 4 + 8 / 64.0 + 32 / (64.0 * 256));

  lesson.section("误差：什么格子配什么分布");
  const double int4 = relative_error(bell, uniform_grid(bell, 7)), nf4 = relative_error(bell, through_nf4(bell));
  const double int8 = relative_error(bell, uniform_grid(bell, 127));
  const double int4_flat = relative_error(flat, uniform_grid(flat, 7)),
               nf4_flat = relative_error(flat, through_nf4(flat));
  lesson.value("int4_percent", 100 * int4, "正态分布的权重，均方根误差"), lesson.value("nf4_percent", 100 * nf4);
  lesson.value("int8_percent", 100 * int8), lesson.value("int4_over_nf4", int4 / nf4);
  lesson.value("int4_flat_percent", 100 * int4_flat, "均匀分布的权重"),
      lesson.value("nf4_flat_percent", 100 * nf4_flat);
  lesson.at_least("正态分布：NF4 比均匀的好", int4 / nf4, 1.1);
  lesson.at_most("均匀分布：反过来", int4_flat / nf4_flat, 0.95);
  // 均匀格子的误差是 间隔/√12，间隔之比 7/127。4 位时间隔大，“误差在格内均匀”只是近似：留百分之五。
  lesson.between("8 位的误差是 4 位的 7/127", int8 / int4, 7.0 / 127 * 0.95, 7.0 / 127 * 1.05);

  // 一层 y = W x，微调前是 W₀，要学会 W₁ = W₀ + 秩 4 的改变。输入像真的激活：少数方向占大头。
  lesson.section("三条路：同一层，同样的数据，三个种子");
  constexpr int64_t kWidth = 64, kRows = 256, kRank = 8;
  const int steps = lesson.quick() ? 150 : 600, seeds = 3;
  Arena arena;
  Context ctx{.pool = &pool, .arena = &arena};
  report::Table table({"种子", "不训练", "先训练后量化", "量化感知", "QLoRA", "QLoRA 合并再量化"});
  std::vector<std::vector<double>> shares(5);
  double base_changed = 0, without_adapter = 0, codes_moved = 0, learned = 0;
  for (uint64_t s = 0; s < uint64_t(seeds); ++s) {
    const auto normal = [&](const Shape& shape, float deviation, uint32_t stream) {
      Tensor t = Tensor::empty(arena, DType::kF32, shape);
      const Random own(lesson.seed() + s, Purpose::kTest, stream);
      for (int64_t i = 0; i < t.count(); ++i) t.data<float>()[i] = deviation * own.normal(uint64_t(i));
      return t;
    };
    const Variable w0(normal({kWidth, kWidth}, 0.125f, 1));
    const Variable u(normal({kWidth, 4}, 0.15f, 2)), v(normal({4, kWidth}, 0.15f, 3));
    const Variable mix(normal({kWidth, 16}, 0.25f, 4)), few(normal({kRows, 16}, 1, 5)),
        noise(normal({kRows, kWidth}, 0.2f, 6));
    const Variable x = ops::add(ctx, ops::linear(ctx, few, {mix}), noise);
    const Variable target = ops::scale(ctx, ops::lora_linear(ctx, x, {w0}, nullptr, v, u, 1), -1);  // −W₁ x
    const auto squares = [&](Context& c, const Variable& y) {
      const Variable error = ops::add(c, y, target);
      return ops::sum(c, ops::multiply(c, error, error));
    };
    const auto loss_of = [&](const Variable& w) {
      return double(*squares(ctx, ops::linear(ctx, x, {w})).value().data<float>());
    };
    const auto numbers = [](const Variable& w) {
      return Numbers(w.value().data<float>(), w.value().data<float>() + w.value().count());
    };
    const auto variable = [&](const Numbers& values) {
      Tensor t = Tensor::empty(arena, DType::kF32, {kWidth, kWidth});
      std::copy(values.begin(), values.end(), t.data<float>());
      return t;
    };
    // 训练：forward 给出 y；before_update 可以把梯度挪到别处。学习率按余弦降到 0。
    const auto train = [&](const std::vector<Variable>& parameters, const auto& forward, const auto& before_update) {
      const auto optimizer = make_optimizer(ctx, parameters, {});
      for (int step = 0; step < steps; ++step) {
        Tape tape;
        Context recording = ctx;
        recording.tape = &tape;
        const Variable loss = squares(recording, forward(recording));
        tape.backward(recording, loss);
        before_update();
        optimizer->step(ctx, float(0.005 * (1 + std::cos(3.14159265 * step / steps)) / 2), 1, step);
      }
    };
    const double before = loss_of(w0);  // 没有微调，也没有量化

    const Variable full = Variable::parameter(variable(numbers(w0)), "w");
    train(
        {full}, [&](Context& c) { return ops::linear(c, x, {full}); }, [] {});
    const double after_training = loss_of(Variable(variable(through_nf4(numbers(full)))));

    // 量化感知：前向用 Q(W)，梯度原样交给 W（straight-through）。
    Variable master = Variable::parameter(variable(numbers(w0)), "w"), seen;
    train(
        {master},
        [&](Context& c) {
          if (lesson.broken("no_master")) {
            const Numbers q = through_nf4(numbers(master));
            std::copy(q.begin(), q.end(), master.value().data<float>());
          }
          seen = Variable::parameter(variable(through_nf4(numbers(master))), "q");
          return ops::linear(c, x, {seen});
        },
        [&] { master.gradient() = seen.gradient(); });
    const Numbers aware = through_nf4(numbers(master)), first = through_nf4(numbers(w0));
    codes_moved += codes_differ(numbers(master), numbers(w0));

    // QLoRA：底座以 4 位存着，梯度穿过它到 A 和 B。
    Tensor base = Tensor::empty(arena, kNF4, {kWidth, kWidth});
    encode(kNF4, w0.value().data<float>(), base.raw(), base.count());
    std::vector<std::byte> bits_before(base.bytes());
    std::memcpy(bits_before.data(), base.raw(), base.bytes());
    const Variable a = Variable::parameter(normal({kRank, kWidth}, 0.125f, 7), "A");
    const Variable b = Variable::parameter(Tensor::zeros(arena, DType::kF32, {kWidth, kRank}), "B");
    const ops::Weight frozen{Variable(base)};
    train(
        {a, b}, [&](Context& c) { return ops::lora_linear(c, x, frozen, nullptr, a, b, 1); }, [] {});
    const double qlora =
        double(*squares(ctx, ops::lora_linear(ctx, x, frozen, nullptr, a, b, 1)).value().data<float>());
    Numbers merged(first.size());
    for (int64_t i = 0; i < kWidth; ++i)
      for (int64_t j = 0; j < kWidth; ++j) {
        float sum = first[size_t(i * kWidth + j)];
        for (int64_t r = 0; r < kRank; ++r)
          sum += b.value().data<float>()[i * kRank + r] * a.value().data<float>()[r * kWidth + j];
        merged[size_t(i * kWidth + j)] = sum;
      }
    if (lesson.broken("base_moves")) encode(kNF4, merged.data(), base.raw(), base.count());
    base_changed += std::memcmp(bits_before.data(), base.raw(), base.bytes()) != 0;
    without_adapter =
        std::max(without_adapter, std::abs(loss_of(Variable(base)) / loss_of(Variable(variable(first))) - 1));
    const std::vector<double> losses = {loss_of(Variable(variable(first))), after_training,
                                        loss_of(Variable(variable(aware))), qlora,
                                        loss_of(Variable(variable(through_nf4(merged))))};
    std::vector<std::string> row = {std::to_string(s + 1)};
    for (size_t i = 0; i < losses.size(); ++i)
      shares[i].push_back(100 * losses[i] / before), row.push_back(fmt::format("{:.2f} %", shares[i].back()));
    learned += losses[2] < losses[0] / 2 && losses[3] < losses[0] / 2;
    table.row(row);
  }
  lesson.table(table);
  const auto median = [](std::vector<double> all) {
    std::ranges::sort(all);
    return all[all.size() / 2];
  };
  const std::vector<std::string> keys = {"untrained", "after_training", "aware", "qlora", "merged_again"};
  for (size_t i = 0; i < keys.size(); ++i)
    lesson.value(keys[i] + "_percent", median(shares[i]), "剩下的损失，微调前是 100");
  lesson.value("codes_moved_percent", 100 * codes_moved / double(seeds * kWidth * kWidth),
               "量化感知：底座里变了的权重");
  lesson.equal("QLoRA 不是量化感知训练：底座的位变了的种子", base_changed, 0);
  // 解码与相乘在同一处做，和分开做，次序一样；留 f32 一个和的舍入。
  lesson.at_most("去掉 A、B，就是原来那个量化了的底座", without_adapter, 1e-5);
  lesson.at_least("量化感知训练改了底座的 4 位", codes_moved, 1);
  lesson.equal("量化感知和 QLoRA 都学到了（损失不到没训练的一半）的种子", learned, seeds);

  report::Plot grid("NF4：密的地方多放几个值", "值 ÷ 块里最大的", "");
  report::Values x_nf4, x_int4, one(16, 1), two(15, 2), xs, density;
  for (const float each : kNf4Values) x_nf4.push_back(double(each));
  for (int i = -7; i <= 7; ++i) x_int4.push_back(i / 7.0);
  for (double at = -1; at <= 1.0001; at += 0.02)
    xs.push_back(at), density.push_back(3 + std::exp(-at * at * 9 / 2 / 1.1));
  grid.scatter("NF4", x_nf4, one)
      .scatter("INT4", x_int4, two)
      .line("权重的密度", xs, density)
      .y_range(0, 5.5)
      .sized({400, 300});
  report::Plot arms("剩下的损失（微调前 100），三个种子", "", "%");
  arms.categories({"不训练", "后量化", "感知", "QLoRA", "合并再量化"}).sized({520, 300});
  for (size_t s = 0; s < size_t(seeds); ++s) {
    report::Values heights;
    for (const auto& arm : shares) heights.push_back(arm[s]);
    arms.bars(fmt::format("种子 {}", s + 1), heights);
  }
  lesson.picture("qlora", report::Figure("", 2).add(grid).add(arms));
  return lesson.finish();
}
