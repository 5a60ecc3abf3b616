// 第 7 周第 1 天  全参数微调：小批 × 累积
//
//   权重 4Ψ  +  动量 8Ψ  +  梯度 4Ψ  +  激活（与一次算的记号数成正比）
//
// 全参数微调的前三项省不掉（那是 LoRA 的事）；激活可以：一批分几次算，梯度加起来再走一步。
// 句子长短不同也一样，只要按记号加权。这里把同一个模型微调三遍：8 × 1、4 × 2、1 × 8，比较每一步的损失、最后的参数、峰值和时间。
#include <algorithm>
#include <chrono>
#include <cmath>

#include "base/random.h"
#include "course/frame/lesson.h"
#include "model/checkpoint/factory.h"
#include "model/runtime_model.h"
#include "report/plot.h"
#include "train/train.h"

using namespace sedum;
using course::Lesson;

int main(int argc, char** argv) {
  Lesson lesson(argc, argv,
                {.title = "全参数微调",
                 .difficulty = "全参数微调显存不足",
                 .remedy = "减小批次，梯度累积",
                 .bugs = {{"mean_of_means", "每一小批各自平均：短的那批被看重了"},
                          {"step_each", "每一小批都走一步：累积没有发生"}}});
  lesson.predict("1 × 8 的激活峰值是 8 × 1 的百分之几？", "activation_share_percent");
  ModelConfig sizes;
  sizes.model_type = "llama", sizes.vocab_size = 34, sizes.hidden_size = 64, sizes.intermediate_size = 128;
  sizes.num_hidden_layers = 3, sizes.num_attention_heads = sizes.num_key_value_heads = 4, sizes.head_dim = 16;
  // 每行：步长、起点，然后数下去（模 29）；长短从 6 到 60 不等。
  std::vector<data::Sample> samples;
  const Random random(lesson.seed(), Purpose::kTest);
  for (uint64_t r = 0; r < 256; ++r) {
    const int a = int(random.below(29, 4 * r)), d = 1 + int(random.below(4, 4 * r + 1));
    data::Sample s;
    s.ids.push_back(29 + d);
    for (int i = 0; i < 5 + int(random.below(55, 4 * r + 2)); ++i) s.ids.push_back((a + d * i) % 29);
    s.labels = s.ids;
    s.labels[0] = s.labels[1] = data::kIgnored;
    samples.push_back(s);
  }
  const int steps = lesson.quick() ? 12 : 60;
  struct Outcome {
    report::Values losses;
    std::vector<float> gradient, parameters;  // gradient：第一步的
    double weights = 0, states = 0, gradients = 0, peak = 0, seconds = 0;
  };
  const auto flat = [](const std::vector<Variable>& all, bool gradient) {
    std::vector<float> numbers;
    for (const Variable& p : all) {
      const Tensor& t = gradient ? p.gradient() : p.value();
      numbers.insert(numbers.end(), t.data<float>(), t.data<float>() + t.count());
    }
    return numbers;
  };
  const auto run = [&](int batch, int accumulation, bool recompute) {
    Runtime runtime(1);
    RandomFactory factory(runtime.pool, runtime.arena, lesson.seed());
    const auto model = build_model(sizes, factory);
    Outcome o;
    o.weights = double(runtime.arena.live_bytes());
    Context ctx = runtime.context(Compute::kF32);
    const auto optimizer = make_optimizer(ctx, factory.parameters(), {});
    o.states = double(runtime.arena.live_bytes()) - o.weights;
    const data::Loader loader(
        samples, {.batch_size = batch, .seed = lesson.seed(), .gradient_accumulation_steps = accumulation});
    Tape tape;
    const auto began = std::chrono::steady_clock::now();
    for (int64_t step = 0; step < steps; ++step) {
      double loss = 0;
      for (int micro = 0; micro < accumulation; ++micro) {
        const data::StepBatch part = loader.batch(step, micro);
        const double divisor = lesson.broken("mean_of_means") ? double(part.label_tokens * accumulation)
                                                              : double(loader.label_tokens(step));
        loss += train_on(ctx, tape, *model, part, divisor, recompute);
        if (lesson.broken("step_each") && micro + 1 < accumulation) optimizer->step(ctx, 1e-3f, 1, step);
      }
      if (step == 0) o.gradient = flat(factory.parameters(), true);
      for (const Variable& p : factory.parameters()) o.gradients += step == 0 ? double(p.gradient().bytes()) : 0;
      o.losses.push_back(loss);
      optimizer->step(ctx, 1e-3f, clip_scale(optimizer->gradient_norm(ctx), 1), step);
    }
    o.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
    o.peak = double(runtime.arena.peak_live_bytes());
    o.parameters = flat(factory.parameters(), false);
    return o;
  };
  const auto apart = [](const std::vector<float>& a, const std::vector<float>& b) {  // ‖a − b‖ / ‖b‖
    double difference = 0, size = 0;
    for (size_t i = 0; i < a.size(); ++i)
      difference += std::pow(double(a[i]) - double(b[i]), 2), size += std::pow(double(b[i]), 2);
    return std::sqrt(difference / size);
  };

  lesson.section("同一个模型，微调四遍");
  struct Way {
    std::string name, key;
    int batch, accumulation;
    bool recompute;
  };
  const std::vector<Way> ways = {{"8 × 1", "8_1", 8, 1, false},
                                 {"4 × 2", "4_2", 4, 2, false},
                                 {"1 × 8", "1_8", 1, 8, false},
                                 {"1 × 8，重算激活", "1_8_recompute", 1, 8, true}};
  const double mib = 1 << 20;
  report::Table table({"小批 × 累积", "权重", "动量", "梯度", "激活", "峰值 (MiB)", "时间 (秒)", "最后的损失"});
  std::vector<Outcome> all;
  report::Values fixed, activations;
  for (const Way& way : ways) {
    all.push_back(run(way.batch, way.accumulation, way.recompute));
    const Outcome &o = all.back(), &whole = all.front();
    const double activation = o.peak - o.weights - o.states - o.gradients;
    double losses = 0;
    for (size_t i = 0; i < o.losses.size(); ++i) losses = std::max(losses, std::abs(o.losses[i] / whole.losses[i] - 1));
    // f32：最长的和约 8 × 60 项，次序不同，取 √480 · ε 的二十倍。
    lesson.at_most(way.name + "：第一步的梯度与不分的相同", apart(o.gradient, whole.gradient),
                   20 * std::sqrt(480.0) * 6e-8);
    // 此后每一步的舍入被 Adam 放大（很小的梯度除以自己的大小）：按梯度差的一千倍算。
    lesson.at_most(way.name + "：每一步的损失与不分的相同", losses, 1000 * 20 * std::sqrt(480.0) * 6e-8);
    lesson.equal(way.name + "：动量是权重的两倍", std::round(100 * o.states / o.weights) / 100, 2);
    lesson.value("peak_mib_" + way.key, o.peak / mib), lesson.value("activation_mib_" + way.key, activation / mib);
    lesson.value("parameters_apart_" + way.key, apart(o.parameters, whole.parameters));
    table.row({way.name, fmt::format("{:.2f}", o.weights / mib), fmt::format("{:.2f}", o.states / mib),
               fmt::format("{:.2f}", o.gradients / mib), fmt::format("{:.2f}", activation / mib),
               fmt::format("{:.2f}", o.peak / mib), fmt::format("{:.1f}", o.seconds),
               fmt::format("{:.5f}", o.losses.back())});
    fixed.push_back((o.weights + o.states + o.gradients) / mib), activations.push_back(activation / mib);
  }
  lesson.table(table);
  lesson.value("fixed_mib", fixed[0], "权重、动量、梯度：批次再小也省不掉");
  lesson.value("first_loss", all[0].losses.front()), lesson.value("last_loss", all[0].losses.back());
  lesson.value("activation_share_percent", 100 * activations[2] / activations[0], "1 × 8 的激活，8 × 1 为 100");
  lesson.at_most("一行一行地算，激活小得多", activations[2] / activations[0], 0.5);
  lesson.at_most("学到了：损失之比", all[0].losses.back() / all[0].losses.front(), 0.95);
  report::Plot plot("省得掉的是激活", "", "MiB");
  plot.categories({"8 × 1", "4 × 2", "1 × 8", "1 × 8，重算"}).bars("权重、动量、梯度", fixed).bars("激活", activations);
  report::Plot curve("每一步的损失：四条重合", "步数", "损失");
  report::Values at;
  for (int i = 0; i < steps; ++i) at.push_back(i + 1);
  for (size_t i = 0; i < ways.size(); ++i) curve.line(ways[i].name, at, all[i].losses);
  lesson.picture("memory", report::Figure("", 2).add(plot.sized({440, 310})).add(curve.sized({400, 310})));
  return lesson.finish();
}
