// 第 7 周第 2 天  LoRA 的秩：8、16、32
//
//   ΔW = (α/r) B A       B (n, r)，A (r, k)      所以 rank(ΔW) ≤ r；开始时 B = 0，ΔW = 0
//
// 选 r 没有公式。能证明的只有两句：秩不超过 r；训练之前什么也没有变。其余的（损失、大小、时间）都要量，而且要看种子之间差多少。
// 再看 ΔW 的奇异值：它们掉得快，说明 r 给多了；到第 r 个还很大，说明不够。
#include <algorithm>
#include <chrono>
#include <cmath>
#include <map>

#include "base/random.h"
#include "course/frame/lesson.h"
#include "model/adapters/lora.h"
#include "model/checkpoint/factory.h"
#include "report/plot.h"
#include "train/train.h"

using namespace sedum;
using course::Lesson;
using Matrix = std::vector<std::vector<double>>;

// 预训练过的参数按名字交出来，冻结。
class Pretrained : public LayerFactory {
 public:
  explicit Pretrained(const std::vector<Variable>& parameters) {
    for (const Variable& p : parameters) stored_[p.name()] = p.value();
  }
  std::unique_ptr<Linear> linear(const std::string& name, int64_t, int64_t, bool) override {
    return std::make_unique<DenseLinear>(table(name, 0, 0));
  }
  Variable vector(const std::string& name, int64_t) override { return Variable(stored_.at(name + ".weight")); }
  ops::Weight table(const std::string& name, int64_t, int64_t) override {
    return {Variable(stored_.at(name + ".weight"))};
  }

 private:
  std::map<std::string, Tensor> stored_;
};

// 奇异值，从大到小：单边 Jacobi，把各列两两转到正交，列的长度就是奇异值。
std::vector<double> singular_values(Matrix columns) {
  for (int sweep = 0; sweep < 30; ++sweep) {
    double off = 0;
    for (size_t p = 0; p < columns.size(); ++p)
      for (size_t q = p + 1; q < columns.size(); ++q) {
        double a = 0, b = 0, c = 0;
        for (size_t i = 0; i < columns[p].size(); ++i)
          a += columns[p][i] * columns[p][i], b += columns[q][i] * columns[q][i], c += columns[p][i] * columns[q][i];
        if (std::abs(c) <= 1e-15 * std::sqrt(a * b) || c == 0) continue;
        off = std::max(off, std::abs(c) / std::sqrt(a * b));
        const double z = (b - a) / (2 * c), t = std::copysign(1 / (std::abs(z) + std::sqrt(1 + z * z)), z);
        const double cosine = 1 / std::sqrt(1 + t * t), sine = cosine * t;
        for (size_t i = 0; i < columns[p].size(); ++i) {
          const double x = columns[p][i], y = columns[q][i];
          columns[p][i] = cosine * x - sine * y, columns[q][i] = sine * x + cosine * y;
        }
      }
    if (off < 1e-14) break;
  }
  std::vector<double> lengths;
  for (const auto& column : columns) {
    double squares = 0;
    for (const double x : column) squares += x * x;
    lengths.push_back(std::sqrt(squares));
  }
  std::ranges::sort(lengths, std::greater());
  return lengths;
}

// 第一个记号说步长 d，第二个是起点，之后每个数 = 前一个 + sign · d（模 29）。
std::vector<data::Sample> rows(int count, int sign, uint64_t seed) {
  const Random random(seed, Purpose::kTest);
  std::vector<data::Sample> all;
  for (int r = 0; r < count; ++r) {
    const int a = int(random.below(29, uint64_t(2 * r))), d = 1 + int(random.below(4, uint64_t(2 * r + 1)));
    data::Sample s;
    s.ids.push_back(29 + d);
    for (int i = 0; i < 12; ++i) s.ids.push_back(((a + sign * d * i) % 29 + 29) % 29);
    s.labels = s.ids;
    s.labels[0] = s.labels[1] = data::kIgnored;
    all.push_back(s);
  }
  return all;
}

int main(int argc, char** argv) {
  Lesson lesson(argc, argv,
                {.title = "LoRA 的秩",
                 .difficulty = "LoRA 秩 r 的选择依据不清",
                 .remedy = "r = 8、16、32 各用三个种子，再看 ΔW 的奇异值",
                 .bugs = {{"random_b", "B 没有从 0 开始：训练之前模型就变了"},
                          {"full_delta", "ΔW 里混进了一个满秩的矩阵：把底座也训练了"}}});
  lesson.predict("r = 32 的适配器，ΔW 的能量（奇异值平方和）有百分之几在最大的 8 个方向里？", "energy_8_percent");
  ModelConfig sizes;
  sizes.model_type = "llama", sizes.vocab_size = 34, sizes.hidden_size = 64, sizes.intermediate_size = 128;
  sizes.num_hidden_layers = 2, sizes.num_attention_heads = sizes.num_key_value_heads = 4, sizes.head_dim = 16;
  Runtime runtime(1);
  Context ctx = runtime.context(Compute::kF32);
  const auto train = [&](const CausalModel& model, const std::vector<Variable>& parameters, int sign, int steps,
                         uint64_t seed) {
    const data::Loader loader(rows(512, sign, seed), {.batch_size = 16, .seed = seed});
    const auto optimizer = make_optimizer(ctx, parameters, {});
    const Schedule schedule{.learning_rate = 3e-3, .warmup = 10, .total = steps};
    Tape tape;
    for (int64_t step = 0; step < steps; ++step) {
      const data::StepBatch batch = loader.batch(step);
      train_on(ctx, tape, model, batch, double(batch.label_tokens), false);
      optimizer->step(ctx, schedule.at(step), clip_scale(optimizer->gradient_norm(ctx), 1), step);
    }
  };
  RandomFactory random(runtime.pool, runtime.arena, lesson.seed());
  const auto whole = build_model(sizes, random);
  train(*whole, random.parameters(), +1, lesson.quick() ? 150 : 400, lesson.seed());
  Pretrained base(random.parameters());
  const auto plain = build_model(sizes, base);
  const std::vector<data::Sample> test = rows(100, -1, lesson.seed() + 77);
  const double base_loss = lesson.value("base_loss", evaluate_loss(ctx, *plain, test), "只会加法的底座做减法");

  lesson.section("r = 8、16、32，各三个种子");
  const int seeds = lesson.quick() ? 1 : 3, steps = lesson.quick() ? 60 : 200;
  report::Table table({"r", "参数", "适配器 (KiB)", "没见过的行的损失，各种子", "时间 (秒)"});
  report::Plot spectrum("q_proj 的 ΔW：奇异值", "第几个", "以最大的为 1"), bars("没见过的行的损失", "", "");
  report::Values at;
  std::vector<report::Values> heights(static_cast<size_t>(seeds));
  double start_difference = 0, excess = 0, worst = 0;
  for (const int r : {8, 16, 32}) {
    std::vector<double> losses, sigma;
    double count = 0, seconds = 0;
    for (int s = 0; s < seeds; ++s) {
      const uint64_t seed = lesson.seed() + uint64_t(s);
      LoraFactory lora(base,
                       {.r = r,
                        .lora_alpha = float(2 * r),
                        .init_lora_weights = lesson.broken("random_b") ? "false" : "true",
                        .target_modules = {"all-linear"}},
                       runtime.pool, runtime.arena, seed);
      const auto model = build_model(sizes, lora);
      start_difference = std::max(start_difference, std::abs(evaluate_loss(ctx, *model, test) - base_loss));
      const auto began = std::chrono::steady_clock::now();
      train(*model, lora.parameters(), -1, steps, seed);
      seconds += std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count() / seeds;
      losses.push_back(evaluate_loss(ctx, *model, test)), heights[size_t(s)].push_back(losses.back());
      worst = std::max(worst, losses.back());
      count = 0;
      std::map<std::string, Tensor> ab;
      for (const Variable& p : lora.parameters()) count += double(p.value().count()), ab[p.name()] = p.value();
      const Tensor &a = ab.at(peft_name("model.layers.0.self_attn.q_proj", 'A')),
                   &b = ab.at(peft_name("model.layers.0.self_attn.q_proj", 'B'));
      Matrix delta(64, std::vector<double>(64));  // 各列
      for (int64_t j = 0; j < 64; ++j)
        for (int64_t i = 0; i < 64; ++i) {
          for (int64_t k = 0; k < r; ++k)
            delta[size_t(j)][size_t(i)] += 2 * double(b.data<float>()[i * r + k]) * double(a.data<float>()[k * 64 + j]);
          if (lesson.broken("full_delta")) delta[size_t(j)][size_t(i)] += i == j ? 1e-3 : 0;
        }
      sigma = singular_values(delta);
      excess = std::max(excess, sigma[size_t(r)] / sigma[0]);
    }
    std::string text;
    for (const double loss : losses) text += fmt::format("{:.4f}  ", loss);
    table.row({std::to_string(r), fmt::format("{:.0f}", count), fmt::format("{:.0f}", 4 * count / 1024), text,
               fmt::format("{:.1f}", seconds)});
    std::ranges::sort(losses);
    lesson.value(fmt::format("loss_{}", r), losses[losses.size() / 2], "中位数");
    lesson.value(fmt::format("loss_low_{}", r), losses.front()),
        lesson.value(fmt::format("loss_high_{}", r), losses.back());
    lesson.value(fmt::format("parameters_{}", r), count);
    at.clear();
    report::Values shown;
    double energy = 0, first8 = 0;
    for (size_t i = 0; i < sigma.size(); ++i) {
      energy += sigma[i] * sigma[i], first8 += i < 8 ? sigma[i] * sigma[i] : 0;
      if (i < size_t(r)) at.push_back(double(i + 1)), shown.push_back(sigma[i] / sigma[0]);
    }
    spectrum.line(fmt::format("r = {}", r), at, shown);
    lesson.value(fmt::format("last_singular_{}", r), shown.back(), "第 r 个奇异值 / 第一个");
    if (r == 32) lesson.value("energy_8_percent", 100 * first8 / energy, "最大的 8 个方向里的能量");
  }
  lesson.table(table);
  lesson.equal("训练之前：与底座的损失一位不差", start_difference, 0);
  // 双精度：单边 Jacobi 的绝对误差约 n · ε · σ₁ = 64 × 1.1e-16，留百倍。
  lesson.at_most("rank(ΔW) ≤ r：第 r + 1 个奇异值（以第一个为 1）", excess, 100 * 64 * 1.1e-16);
  lesson.at_most("每个 r 都学会了：最差的损失与底座之比", worst / base_loss, 0.8);
  spectrum.log_y().sized({420, 310});
  bars.categories({"r = 8", "r = 16", "r = 32"}).sized({620, 310});
  for (size_t s = 0; s < heights.size(); ++s) bars.bars(fmt::format("种子 {}", s + 1), heights[s]);
  lesson.picture("ranks", report::Figure("", 2).add(bars).add(spectrum));
  return lesson.finish();
}
