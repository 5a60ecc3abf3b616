// 第 7 周第 6 天  过拟合：权重衰减、数据增强、早停
//
//   差距 = 没见过的行的损失 − 训练行的损失
//
// 训练行的损失一直降，说明不了什么；没见过的行的损失掉头往上，才是过拟合。四条路用同样的模型和步数，三个种子：
// 什么也不做；权重衰减；数据增强（整行平移，规律不变）；早停，再把最好的检查点装回来。哪一条好没有定论，只量；
// 能断言的是：什么也不做的那条会掉头，早停停得下来，装回来的真是最好的那一个。
#include <algorithm>
#include <cmath>

#include <unistd.h>

#include "base/random.h"
#include "course/frame/lesson.h"
#include "report/plot.h"
#include "train/state.h"
#include "train/train.h"

using namespace sedum;
using course::Lesson;
namespace fs = std::filesystem;

// 第一个记号说步长 d，第二个是起点，之后每个数 = 前一个 + d（模 29）。noisy：标签有一成半是错的，背得下来，学不会。
data::Sample row(uint64_t at, uint64_t seed, bool noisy, int shift = 0) {
  const Random random(seed, Purpose::kTest);
  const int a = int(random.below(29, at * 64)) + shift, d = 1 + int(random.below(4, at * 64 + 1));
  data::Sample s;
  s.ids.push_back(29 + d);
  for (int i = 0; i < 12; ++i) s.ids.push_back((a + d * i) % 29);
  s.labels = s.ids;
  s.labels[0] = s.labels[1] = data::kIgnored;
  for (size_t i = 2; noisy && i < s.labels.size(); ++i)
    if (random.uniform(at * 64 + 8 + i) < 0.15f)
      s.labels[i] = int32_t((random.below(29, at * 64 + 32 + i) + uint64_t(shift)) % 29);
  return s;
}
std::vector<data::Sample> rows(int count, uint64_t seed, bool noisy) {
  std::vector<data::Sample> all;
  for (int i = 0; i < count; ++i) all.push_back(row(uint64_t(i), seed, noisy));
  return all;
}

struct Arm {
  const char *name, *key;
  float weight_decay;
  bool augment;
  int patience;  // 0：不早停
};
struct Outcome {
  report::Values at, fitted, unseen;  // 每次评估
  double best = 0, restored = 0, last = 0;
  int64_t stopped = 0;
};

int main(int argc, char** argv) {
  Lesson lesson(argc, argv,
                {.title = "过拟合：看没见过的行",
                 .difficulty = "过拟合判断指标不明确",
                 .remedy = "监控没见过的行，设早停，装回最好的检查点",
                 .bugs = {{"leak", "没见过的行混进了训练行：曲线不再掉头"},
                          {"last", "训练完装回来的是最后一个检查点，不是最好的"},
                          {"no_patience", "数“几次没有进步”的那一行忘了：永远不停"}}});
  lesson.predict("什么也不做，最后的损失是最低点的几倍？", "turn_none");
  ModelConfig sizes;
  sizes.model_type = "llama", sizes.vocab_size = 34, sizes.hidden_size = 32, sizes.intermediate_size = 64;
  sizes.num_hidden_layers = 2, sizes.num_attention_heads = sizes.num_key_value_heads = 2, sizes.head_dim = 16;
  const fs::path folder = fs::temp_directory_path() / fmt::format("sedum-lesson-overfit-{}", getpid());
  const int steps = lesson.quick() ? 200 : 400, each = 20, few = 60, seeds = lesson.quick() ? 1 : 3;

  const auto run = [&](const Arm& arm, uint64_t seed) {
    fs::remove_all(folder);
    Runtime runtime(1);
    RandomFactory factory(runtime.pool, runtime.arena, seed);
    const auto model = build_model(sizes, factory);
    Context ctx = runtime.context(Compute::kF32);
    const auto optimizer = make_optimizer(ctx, factory.parameters(), {.weight_decay = arm.weight_decay});
    const Schedule schedule{
        .type = Scheduler::kConstantWithWarmup, .learning_rate = 1e-2, .warmup = 10, .total = steps};
    std::vector<data::Sample> fitted = rows(few, seed, true);
    const std::vector<data::Sample> unseen = rows(60, seed + 77, false);
    if (lesson.broken("leak")) fitted.insert(fitted.end(), unseen.begin(), unseen.end());
    const data::Loader loader(fitted, {.batch_size = 10, .seed = seed});
    const Random shifts(seed, Purpose::kSampling);
    Tape tape;
    Outcome o;
    BestMetric best;
    for (int64_t step = 0; step < steps; ++step) {
      data::StepBatch batch = loader.batch(step);
      if (arm.augment) {  // 整行平移 0 到 28：错的标签也跟着移，规律还是那个规律
        data::StepBatch moved;
        for (size_t i = 0; i < batch.samples.size(); ++i)
          append_sample(moved, row(batch.samples[i], seed, true, int(shifts.below(29, uint64_t(step) * 64 + i))),
                        batch.samples[i]);
        batch = moved;
      }
      train_on(ctx, tape, *model, batch, double(batch.label_tokens), false);
      optimizer->step(ctx, schedule.at(step), clip_scale(optimizer->gradient_norm(ctx), 1), step);
      o.stopped = step + 1;
      if ((step + 1) % each) continue;
      o.at.push_back(double(step + 1)), o.fitted.push_back(evaluate_loss(ctx, *model, fitted));
      o.unseen.push_back(evaluate_loss(ctx, *model, unseen));
      if (best.update(step + 1, o.unseen.back(), false, 0) || lesson.broken("last"))
        save_state(folder / fmt::format("checkpoint-{}", step + 1), {.step = step + 1, .config = "lesson"}, *optimizer);
      if (arm.patience > 0 && best.without_progress >= arm.patience && !lesson.broken("no_patience")) break;
    }
    o.best = *best.value, o.last = o.unseen.back();
    load_parameters(folder, lesson.broken("last") ? o.stopped / each * each : best.step, factory.parameters());
    o.restored = evaluate_loss(ctx, *model, unseen);
    return o;
  };

  lesson.section("四条路，同样的模型、同样的步数");
  const std::vector<Arm> arms = {{"什么也不做", "none", 0, false, 0},
                                 {"权重衰减 0.3", "decay", 0.3f, false, 0},
                                 {"数据增强", "augment", 0, true, 0},
                                 {"早停", "stop", 0, false, 3}};
  report::Table table({"", "步数", "训练行", "没见过的行，最后", "最低", "差距（最后）"});
  report::Plot curves("训练行与没见过的行", "步数", "损失");
  std::vector<report::Values> heights(2);
  double turned = 1e9, wrong = 0, stopped_late = 0;
  for (const Arm& arm : arms) {
    std::vector<double> last, best, gap, turn, stop;
    for (int s = 0; s < seeds; ++s) {
      const Outcome o = run(arm, lesson.seed() + uint64_t(s));
      last.push_back(o.last), best.push_back(o.best), gap.push_back(o.last - o.fitted.back());
      turn.push_back(o.last / o.best), stop.push_back(double(o.stopped));
      wrong += o.restored != o.best;  // 同样的参数，同样的行：一位也不能差
      if (std::string(arm.key) == "none") turned = std::min(turned, turn.back());
      if (arm.patience > 0) stopped_late += o.stopped >= steps;
      if (s == 0 && std::string(arm.key) == "none") curves.line("什么也不做：训练行", o.at, o.fitted);
      if (s == 0) curves.line(arm.name, o.at, o.unseen);
    }
    const auto median = [](std::vector<double> v) {
      std::ranges::sort(v);
      return v[v.size() / 2];
    };
    const std::string key = arm.key;
    lesson.value("last_" + key, median(last), "没见过的行，最后（中位数）"), lesson.value("best_" + key, median(best));
    lesson.value("gap_" + key, median(gap)), lesson.value("turn_" + key, median(turn), "最后 ÷ 最低");
    lesson.value("steps_" + key, median(stop));
    heights[0].push_back(median(last)), heights[1].push_back(median(best));
    table.row({arm.name, fmt::format("{:.0f}", median(stop)), fmt::format("{:.3f}", median(last) - median(gap)),
               fmt::format("{:.3f}", median(last)), fmt::format("{:.3f}", median(best)),
               fmt::format("{:.3f}", median(gap))});
  }
  lesson.table(table);
  // 60 行、11 个标签、一成半是错的：背下来的人在没见过的行上必然更差。1.1 倍远大于评估的误差（同样的行，没有误差）。
  lesson.at_least("什么也不做：没见过的行的损失掉头往上（每个种子，最后 ÷ 最低）", turned, 1.1);
  lesson.equal("早停的每个种子都停在半路：没有停的", stopped_late, 0);
  lesson.equal("装回来的检查点，损失与最好的那次评估一位不差：不符的", wrong, 0);
  report::Plot bars("没见过的行的损失", "", "损失");
  bars.categories({"什么也不做", "衰减", "增强", "早停"}).bars("最后", heights[0]).bars("最低", heights[1]);
  lesson.picture("overfit", report::Figure("", 2).add(curves.sized({480, 320})).add(bars.sized({400, 320})));
  fs::remove_all(folder);
  return lesson.finish();
}
