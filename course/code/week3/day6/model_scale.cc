// 第 3 周第 6 天  7B、13B、70B：参数、内存、算力
//
//   参数 ≈ 12 · 层数 · 宽度²（加上词表）      训练一个记号 ≈ 6 N 次运算      推理一个记号 ≈ 2 N 次
//
// 先从配置里的几个数算出精确的参数个数，再用它算内存和算力；最后训练四个很小的模型，看损失怎样随规模下降。
#include <algorithm>
#include <cmath>

#include "base/random.h"
#include "course/frame/lesson.h"
#include "model/checkpoint/factory.h"
#include "model/runtime_model.h"
#include "report/plot.h"
#include "train/optim/optimizer.h"
#include "train/train.h"

using namespace sedum;
using course::Lesson;

ModelConfig llama(int64_t hidden, int64_t inner, int64_t layers, int64_t heads, int64_t kv, int64_t vocabulary) {
  ModelConfig c;
  c.model_type = "llama", c.vocab_size = vocabulary, c.hidden_size = hidden, c.intermediate_size = inner;
  c.num_hidden_layers = layers, c.num_attention_heads = heads, c.num_key_value_heads = kv, c.head_dim = hidden / heads;
  return c;
}

// 逐项相加。每层：q 和 o 各 h·h，k 和 v 各 h·(h·kv/heads)，门、上、下各 h·f，两个归一化各 h；外加两张词表和最后的归一化。
double parameters(const ModelConfig& c, bool forget_gate) {
  const double h = double(c.hidden_size), f = double(c.intermediate_size),
               kv = double(c.num_key_value_heads * c.head_dim);
  const double attention = 2 * h * h + 2 * h * kv, feed_forward = (forget_gate ? 2 : 3) * h * f;
  return double(c.num_hidden_layers) * (attention + feed_forward + 2 * h) + 2 * double(c.vocab_size) * h + h;
}

// 一个很小的语言模型在“星期几”这样的循环文字上训练：词表 32，句子是周期为 2 … 7 的记号，模型要从前文看出周期。
double trained_loss(int64_t width, int steps, uint64_t seed) {
  Runtime runtime(1);
  RandomFactory factory(runtime.pool, runtime.arena, seed);
  const auto model = build_model(llama(width, 2 * width, 2, 2, 2, 32), factory);
  Context ctx = runtime.context(Compute::kF32);
  const auto optimizer = make_optimizer(ctx, factory.parameters(), {});
  const Random random(seed, Purpose::kTest);
  Tape tape;
  double recent = 0;
  const int64_t sequences = 8, length = 24;
  for (int step = 0; step < steps; ++step) {
    data::StepBatch batch;
    for (int64_t s = 0; s < sequences; ++s) {
      const uint64_t at = uint64_t(step * sequences + s) * 16;
      const uint64_t period = 2 + random.below(6, at);
      batch.segments.push_back({int32_t(s * length), int32_t(length)});
      for (int64_t i = 0; i < length; ++i) {
        const auto token = [&](int64_t j) { return int32_t(random.below(32, at + 1 + uint64_t(j) % period)); };
        batch.ids.push_back(token(i)), batch.positions.push_back(int32_t(i));
        batch.targets.push_back(i + 1 < length ? token(i + 1) : data::kIgnored);
      }
    }
    batch.label_tokens = sequences * (length - 1);
    const double loss = train_on(ctx, tape, *model, batch, double(batch.label_tokens), false);
    optimizer->step(ctx, 3e-3f, clip_scale(optimizer->gradient_norm(ctx), 1), step);
    if (step >= steps - steps / 5) recent += loss / double(steps / 5);
  }
  return recent;
}

int main(int argc, char** argv) {
  Lesson lesson(
      argc, argv,
      {.title = "模型规模：参数、内存、算力",
       .difficulty = "参数量与性能的权衡不理解",
       .remedy = "整理 7B、13B、70B 的对比表，再拟合四个小模型",
       .bugs = {{"no_gate", "前馈只数了两个矩阵：Llama 的门控前馈有三个"}, {"bytes", "把 fp16 当成 1 字节"}}});
  lesson.exercise("Llama-2-7B 精确地有多少参数？（32 层，宽 4096，前馈 11008，词表 32000）", "parameters_7b");

  lesson.section("精确的参数个数");
  struct Known {
    const char* name;
    const char* key;
    ModelConfig config;
    double published;
  };
  const std::vector<Known> models = {{"Llama-2-7B", "7b", llama(4096, 11008, 32, 32, 32, 32000), 6738415616.0},
                                     {"Llama-2-13B", "13b", llama(5120, 13824, 40, 40, 40, 32000), 13015864320.0},
                                     {"Llama-2-70B", "70b", llama(8192, 28672, 80, 64, 8, 32000), 68976648192.0}};
  report::Table table({"模型", "参数 (十亿)", "fp16 (GiB)", "4 位 (GiB)", "AdamW 全参数训练 (GiB)",
                       "训练 2 万亿记号 (FLOP)", "推理一个记号 (GFLOP)"});
  for (const Known& m : models) {
    const double n = lesson.value(fmt::format("parameters_{}", m.key), parameters(m.config, lesson.broken("no_gate")));
    lesson.value(fmt::format("billions_{}", m.key), n / 1e9);
    lesson.equal(fmt::format("{} 与公布的相同", m.name), n, m.published);
    lesson.equal(fmt::format("{} 与库里的计算相同", m.name), n, double(m.config.parameter_count()));
    const double gib = double(1 << 30), fp16 = (lesson.broken("bytes") ? 1 : 2) * n / gib;
    lesson.value(fmt::format("fp16_gib_{}", m.key), fp16);
    // 混合精度的 AdamW：2（fp16 权重）+ 2（梯度）+ 12（f32 主权重和两个动量）= 16 字节一个参数。
    lesson.value(fmt::format("training_gib_{}", m.key), 16 * n / gib);
    lesson.value(fmt::format("training_exaflop_{}", m.key), 6 * n * 2e12 / 1e18);
    lesson.equal(fmt::format("{}：训练的内存是 fp16 权重的 8 倍", m.name), 16 * n / gib / fp16, 8);
    table.row({m.name, fmt::format("{:.3f}", n / 1e9), fmt::format("{:.1f}", fp16), fmt::format("{:.1f}", n / 2 / gib),
               fmt::format("{:.0f}", 16 * n / gib), fmt::format("{:.2e}", 6 * n * 2e12),
               fmt::format("{:.1f}", 2 * n / 1e9)});
  }
  lesson.table(table);

  lesson.section("四个小模型：损失怎样随规模下降");
  // 每个规模三个种子。log(损失) 对 log(参数) 作最小二乘直线：斜率就是幂律 L ∝ N^(−a) 的 −a。
  const int steps = lesson.quick() ? 60 : 600, seeds = lesson.quick() ? 1 : 3;
  report::Values size, loss;
  double sx = 0, sy = 0, sxx = 0, sxy = 0;
  for (const int64_t width : {8, 16, 32, 64}) {
    const double n = parameters(llama(width, 2 * width, 2, 2, 2, 32), false);
    report::Values each;
    for (int s = 0; s < seeds; ++s) each.push_back(trained_loss(width, steps, lesson.seed() + uint64_t(s)));
    std::sort(each.begin(), each.end());
    const double middle = each[each.size() / 2];
    size.push_back(n), loss.push_back(middle);
    lesson.value(fmt::format("loss_width_{}", width), middle, fmt::format("{:.0f} 个参数，{}个种子的中位数", n, seeds));
    sx += std::log(n), sy += std::log(middle), sxx += std::log(n) * std::log(n), sxy += std::log(n) * std::log(middle);
  }
  const double slope = (4 * sxy - sx * sy) / (4 * sxx - sx * sx), shift = (sy - slope * sx) / 4;
  lesson.value("exponent", -slope, "L ∝ N^(−a) 的 a；这么小的模型，只说明方向");
  lesson.at_most("最大的模型比最小的好：损失之比", loss.back() / loss.front(), 0.98);
  lesson.at_most("都比瞎猜好：最小的模型的损失 / ln 32", loss.front() / std::log(32.0), 1);
  report::Values fitted;
  for (const double n : size) fitted.push_back(std::exp(shift + slope * std::log(n)));
  report::Plot plot("损失与参数个数", "参数个数", "损失（最后五分之一步的平均）");
  plot.log_x().scatter("四个模型", size, loss).line(fmt::format("拟合：L ∝ N^(−{:.2f})", -slope), size, fitted);
  lesson.picture("scaling", plot);
  return lesson.finish();
}
