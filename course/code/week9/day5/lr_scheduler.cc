// 第 9 周第 5 天  学习率调度：不变、线性、余弦
//
//   预热  η t / w                      t < w
//   不变  η          线性  η (T − t) / (T − w)          余弦  η (1 + cos π (t − w)/(T − w)) / 2
//
// 哪一种收敛快，要看用多少步、学习率多大：所以各跑三个学习率、三个种子，数“到目标要几步”，还看最后停在哪里。
// 能断言的只有一件：库里给出的学习率等于公式。
#include <algorithm>
#include <cmath>

#include "base/random.h"
#include "course/frame/lesson.h"
#include "model/checkpoint/factory.h"
#include "model/runtime_model.h"
#include "report/plot.h"
#include "train/optim/schedule.h"
#include "train/train.h"

using namespace sedum;
using course::Lesson;

// 第一个记号说步长 d，第二个是起点，之后每个数 = 前一个 + d（模 29）；每个数有一成被换成别的：损失有底，学习率大了就在底上面晃。
std::vector<data::Sample> rows(int count, uint64_t seed, bool noisy) {
  const Random random(seed, Purpose::kTest);
  std::vector<data::Sample> all;
  for (int r = 0; r < count; ++r) {
    const uint64_t at = uint64_t(r) * 64;
    const int a = int(random.below(29, at)), d = 1 + int(random.below(4, at + 1));
    data::Sample s;
    s.ids.push_back(29 + d);
    for (int i = 0; i < 12; ++i) s.ids.push_back((a + d * i) % 29);
    s.labels = s.ids;
    s.labels[0] = s.labels[1] = data::kIgnored;
    for (size_t i = 2; noisy && i < s.labels.size(); ++i)
      if (random.below(10, at + 8 + i) == 0) s.labels[i] = int32_t(random.below(29, at + 32 + i));
    all.push_back(s);
  }
  return all;
}

int main(int argc, char** argv) {
  Lesson lesson(argc, argv,
                {.title = "学习率调度",
                 .difficulty = "学习率调度策略选择难",
                 .remedy = "不变、线性、余弦：同样的步数，数到目标要几步、最后停在哪里",
                 .bugs = {{"half_cosine", "余弦少除了 2：周期长了一倍，到最后也没有降下来"},
                          {"no_warmup", "线性衰减从第 0 步算起，没有减去预热"}}});
  lesson.exercise("η = 0.004，共 100 步，没有预热。余弦在第 50 步是多少？", "cosine_half_way");
  lesson.value("cosine_half_way", double(Schedule{.learning_rate = 0.004, .total = 100}.at(50)));
  constexpr double kPi = 3.14159265358979323846;
  const int64_t total = lesson.quick() ? 80 : 240, warmup = total / 12;

  lesson.section("一、学习率等于公式");
  struct Kind {
    const char *name, *key;
    Scheduler type;
  };
  const std::vector<Kind> kinds = {{"不变", "constant", Scheduler::kConstantWithWarmup},
                                   {"线性", "linear", Scheduler::kLinear},
                                   {"余弦", "cosine", Scheduler::kCosine}};
  const auto formula = [&](const Kind& k, int64_t t) {
    if (t < warmup) return double(t) / double(warmup);
    const int64_t from = lesson.broken("no_warmup") ? 0 : warmup;
    const double done = double(t - from) / double(total - from);
    if (k.type == Scheduler::kLinear) return 1 - done;
    if (k.type == Scheduler::kCosine) return (1 + std::cos(kPi * done / (lesson.broken("half_cosine") ? 2 : 1))) / 2;
    return 1.0;
  };
  report::Plot shapes("学习率", "步数", "以最高的为 1"), curves("损失（种子 1，η = 0.01）", "步数", "没见过的行的损失");
  for (const Kind& k : kinds) {
    const Schedule schedule{.type = k.type, .learning_rate = 1, .warmup = warmup, .total = total};
    report::Values at, rate;
    double error = 0;
    for (int64_t t = 0; t <= total; ++t) {
      at.push_back(double(t)), rate.push_back(double(schedule.at(t)));
      error = std::max(error, std::abs(rate.back() - formula(k, t)));
    }
    shapes.line(k.name, at, rate);
    lesson.at_most(fmt::format("{}：每一步都等于公式", k.name), error, 1e-6);  // 结果是 f32：ε 的八倍之内
  }

  lesson.section("二、到目标要几步，最后停在哪里");
  ModelConfig sizes;
  sizes.model_type = "llama", sizes.vocab_size = 34, sizes.hidden_size = 32, sizes.intermediate_size = 64;
  sizes.num_hidden_layers = 2, sizes.num_attention_heads = sizes.num_key_value_heads = 2, sizes.head_dim = 16;
  const double target = 1;
  const int seeds = lesson.quick() ? 1 : 3;
  const std::vector<double> rates = lesson.quick() ? std::vector<double>{0.01} : std::vector<double>{0.003, 0.01, 0.03};
  const std::vector<data::Sample> test = rows(60, lesson.seed() + 77, false);
  report::Table table({"学习率", "调度", "到目标的步数，各种子", "最后的损失，各种子"});
  double worst_learnt = 0;
  for (const double rate : rates)
    for (const Kind& k : kinds) {
      std::vector<double> reached, last;
      for (int s = 0; s < seeds; ++s) {
        const uint64_t seed = lesson.seed() + uint64_t(s);
        Runtime runtime(1);
        RandomFactory factory(runtime.pool, runtime.arena, seed);
        const auto model = build_model(sizes, factory);
        Context ctx = runtime.context(Compute::kF32);
        const auto optimizer = make_optimizer(ctx, factory.parameters(), {});
        const data::Loader loader(rows(800, seed, true), {.batch_size = 8, .seed = seed});
        const Schedule schedule{.type = k.type, .learning_rate = rate, .warmup = warmup, .total = total};
        Tape tape;
        report::Values at, losses;
        reached.push_back(double(total));
        for (int64_t step = 0; step < total; ++step) {
          const data::StepBatch batch = loader.batch(step);
          train_on(ctx, tape, *model, batch, double(batch.label_tokens), false);
          optimizer->step(ctx, schedule.at(step), clip_scale(optimizer->gradient_norm(ctx), 1), step);
          if ((step + 1) % 4) continue;
          at.push_back(double(step + 1)), losses.push_back(evaluate_loss(ctx, *model, test));
          if (losses.back() <= target) reached.back() = std::min(reached.back(), double(step + 1));
        }
        last.push_back(losses.back());
        if (s == 0 && rate == 0.01) curves.line(k.name, at, losses);
      }
      std::string steps_text, loss_text;
      for (const double each : reached) steps_text += each < double(total) ? fmt::format("{:.0f}  ", each) : "没到  ";
      for (const double each : last) loss_text += fmt::format("{:.3f}  ", each);
      table.row({fmt::format("{}", rate), k.name, steps_text, loss_text});
      std::ranges::sort(reached), std::ranges::sort(last);
      const std::string key = fmt::format("{}_{:.0f}", k.key, rate * 1000);
      lesson.value("steps_" + key, reached[reached.size() / 2], "到目标的步数，中位数");
      lesson.value("loss_" + key, last[last.size() / 2], "最后的损失，中位数");
      lesson.value("low_" + key, last.front()), lesson.value("high_" + key, last.back());
      if (rate == 0.01) worst_learnt = std::max(worst_learnt, last.back());
    }
  lesson.table(table);
  lesson.value("target", target), lesson.value("total", double(total));
  lesson.at_most("η = 0.01 时三种都学到了：比瞎猜（ln 29）好得多", worst_learnt, std::log(29.0) / 2);
  curves.log_y().horizontal(target, "目标").sized({440, 310});
  shapes.sized({380, 310});
  lesson.picture("schedules", report::Figure("", 2).add(shapes).add(curves));
  return lesson.finish();
}
