// 第 9 周第 2 天  梯度累积：分几次算，加起来一样
//
//   L = Σ_全部记号 −log p / 全部记号数           ≠           各小批平均的平均
//
// 内存只够一小批时，就分几次算梯度，加起来再走一步。句子长短不同时，各小批的记号数不同：要按记号加权，
// 先求平均再平均就把短的那批看重了。
#include <algorithm>
#include <cmath>

#include "base/random.h"
#include "course/frame/lesson.h"
#include "data/loader.h"
#include "model/checkpoint/factory.h"
#include "model/runtime_model.h"
#include "report/plot.h"
#include "train/train.h"

using namespace sedum;
using course::Lesson;

int main(int argc, char** argv) {
  Lesson lesson(argc, argv,
                {.title = "梯度累积",
                 .difficulty = "批次大小受限",
                 .remedy = "用梯度累积模拟大批次，与不分的比较",
                 .bugs = {{"mean_of_means", "每一小批除以自己的记号数，再平均：长短不一时不对"},
                          {"forgot_zero", "走完一步忘了清零：上一步的梯度又加了一次"}}});
  lesson.exercise("两小批，一批 10 个记号、平均损失 2，一批 90 个、平均损失 1。整批的平均损失是多少？",
                  "weighted_example");
  lesson.value("weighted_example", (10 * 2.0 + 90 * 1.0) / 100, "不是 1.5");

  // 八句，长度从 4 到 60。
  std::vector<data::Sample> samples;
  const Random random(lesson.seed(), Purpose::kTest);
  for (int i = 0; i < 8; ++i) {
    data::Sample s;
    for (int j = 0; j < 4 + 8 * i; ++j) s.ids.push_back(int32_t(random.below(50, uint64_t(i * 100 + j))));
    s.labels = s.ids;
    samples.push_back(s);
  }
  ModelConfig config;
  config.model_type = "llama", config.vocab_size = 50, config.hidden_size = 64, config.intermediate_size = 128;
  config.num_hidden_layers = 3, config.num_attention_heads = 4, config.num_key_value_heads = 4, config.head_dim = 16;

  struct Outcome {
    double loss = 0;
    std::vector<float> gradient;
    double peak = 0;
  };
  const auto run = [&](int batch, int accumulation) {
    Runtime runtime(1);
    RandomFactory factory(runtime.pool, runtime.arena, lesson.seed());
    const auto model = build_model(config, factory);
    const data::Loader loader(samples,
                              {.batch_size = batch, .shuffle = false, .gradient_accumulation_steps = accumulation});
    Context ctx = runtime.context(Compute::kF32);
    Tape tape;
    Outcome outcome;
    const double before = double(runtime.arena.live_bytes());
    for (int pass = 0; pass < (lesson.broken("forgot_zero") && accumulation > 1 ? 2 : 1); ++pass) {
      outcome.loss = 0;
      for (int micro = 0; micro < accumulation; ++micro) {
        const data::StepBatch part = loader.batch(0, micro);
        const double divisor =
            lesson.broken("mean_of_means") ? double(part.label_tokens * accumulation) : double(loader.label_tokens(0));
        outcome.loss += train_on(ctx, tape, *model, part, divisor, false);
      }
    }
    for (const Variable& p : factory.parameters())
      outcome.gradient.insert(outcome.gradient.end(), p.gradient().data<float>(),
                              p.gradient().data<float>() + p.gradient().count());
    outcome.peak = (double(runtime.arena.peak_live_bytes()) - before) / (1 << 20);
    return outcome;
  };

  lesson.section("8 × 1、4 × 2、2 × 4、1 × 8：同一步");
  const std::vector<std::pair<int, int>> ways = {{8, 1}, {4, 2}, {2, 4}, {1, 8}};
  std::vector<Outcome> outcomes;
  report::Table table({"小批 × 累积", "损失", "与不分的梯度之差", "激活与梯度的峰值 (MiB)"});
  report::Values peaks;
  for (const auto& [batch, accumulation] : ways) {
    outcomes.push_back(run(batch, accumulation));
    double difference = 0, size = 0;
    for (size_t i = 0; i < outcomes[0].gradient.size(); ++i) {
      difference =
          std::max(difference, std::abs(double(outcomes.back().gradient[i]) - double(outcomes[0].gradient[i])));
      size = std::max(size, std::abs(double(outcomes[0].gradient[i])));
    }
    const std::string name = fmt::format("{}_{}", batch, accumulation);
    lesson.value("peak_mib_" + name, outcomes.back().peak);
    // f32：同样的和，次序不同。最长的和约 250 项，取 √250 · ε 的二十倍。
    lesson.at_most(fmt::format("{} × {}：梯度与不分的相同（以最大的分量计）", batch, accumulation), difference / size,
                   20 * std::sqrt(250.0) * 6e-8);
    lesson.at_most(fmt::format("{} × {}：损失与不分的相同", batch, accumulation),
                   std::abs(outcomes.back().loss / outcomes[0].loss - 1), 1e-6);
    table.row({fmt::format("{} × {}", batch, accumulation), fmt::format("{:.6f}", outcomes.back().loss),
               fmt::format("{:.1e}", difference / size), fmt::format("{:.2f}", outcomes.back().peak)});
    peaks.push_back(outcomes.back().peak);
  }
  lesson.table(table);
  lesson.value("loss", outcomes[0].loss);
  lesson.at_most("一句一句地算，峰值小得多", peaks.back() / peaks.front(), 0.6);
  report::Plot plot("同样的梯度，不同的内存", "", "激活与梯度的峰值 (MiB)");
  plot.categories({"8 × 1", "4 × 2", "2 × 4", "1 × 8"}).bars("峰值", peaks);
  lesson.picture("memory", plot);
  return lesson.finish();
}
