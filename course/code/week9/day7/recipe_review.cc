// 第 9 周复盘  梯度累积 × 混合精度 × 余弦退火：2³ 的组合
//
//   主效应 = 用它的四组的平均 − 不用它的四组的平均        交互 = 两个一起用，比各自的效应之和多出来的
//
// “组合方案”不能凭感觉：三样各有用和不用，八组都跑，每组三个种子，数据、次序、记号数都一样，只差这三样。
// 先断言这一点（不然比的是别的东西），再看哪一样的效应大于种子之间的差。
#include <algorithm>
#include <cmath>

#include "base/random.h"
#include "course/frame/lesson.h"
#include "report/plot.h"
#include "train/train.h"

using namespace sedum;
using course::Lesson;

// 第一个记号说步长 d，第二个是起点，之后每个数 = 前一个 + d（模 29），长短不一；标签有一成是错的。
std::vector<data::Sample> rows(int count, uint64_t seed, bool noisy) {
  const Random random(seed, Purpose::kTest);
  std::vector<data::Sample> all;
  for (int r = 0; r < count; ++r) {
    const uint64_t at = uint64_t(r) * 64;
    const int a = int(random.below(29, at)), d = 1 + int(random.below(4, at + 1)),
              length = 4 + int(random.below(16, at + 2));
    data::Sample s;
    s.ids.push_back(29 + d);
    for (int i = 0; i < length; ++i) s.ids.push_back((a + d * i) % 29);
    s.labels = s.ids;
    s.labels[0] = s.labels[1] = data::kIgnored;
    for (size_t i = 2; noisy && i < s.labels.size(); ++i)
      if (random.below(10, at + 8 + i) == 0) s.labels[i] = int32_t(random.below(29, at + 32 + i));
    all.push_back(s);
  }
  return all;
}

struct Outcome {
  double first = 0, unseen = 0, peak_kib = 0;
  int64_t tokens = 0;
  uint64_t data = 1469598103934665603u;  // 见过的记号，按次序的指纹
};

int main(int argc, char** argv) {
  Lesson lesson(argc, argv,
                {.title = "累积 × 混合精度 × 余弦",
                 .difficulty = "优化策略组合难",
                 .remedy = "三样各有用和不用，八组都跑，看主效应和交互",
                 .bugs = {{"more_tokens", "累积的那几组每步看了四倍的数据"},
                          {"mean_of_means", "每一小批除以自己的记号数再平均：长短不一时不对"},
                          {"no_cosine", "余弦写进了配方，却没有用上"}}});
  lesson.exercise("三样各有用和不用，几组？", "arms");
  lesson.predict("三样里，哪一样的主效应最大，多少（没见过的行的损失，负的是变好）？", "largest_effect");
  ModelConfig sizes;
  sizes.model_type = "llama", sizes.vocab_size = 34, sizes.hidden_size = 64, sizes.intermediate_size = 128;
  sizes.num_hidden_layers = 2, sizes.num_attention_heads = sizes.num_key_value_heads = 4, sizes.head_dim = 16;
  const int steps = lesson.quick() ? 40 : 240, seeds = lesson.quick() ? 1 : 3;

  const auto run = [&](bool accumulate, bool mixed, bool cosine, uint64_t seed) {
    Runtime runtime(1);
    RandomFactory factory(runtime.pool, runtime.arena, seed);
    const auto model = build_model(sizes, factory);
    Context ctx = runtime.context(mixed ? Compute::kBF16 : Compute::kF32);  // 主权重和动量总是 f32
    const auto optimizer = make_optimizer(ctx, factory.parameters(), {});
    const bool falls = cosine && !lesson.broken("no_cosine");
    const Schedule schedule{.type = falls ? Scheduler::kCosine : Scheduler::kConstantWithWarmup,
                            .learning_rate = 1e-2,
                            .warmup = 10,
                            .total = steps};
    const int micro = accumulate ? 4 : 1;
    const data::Loader loader(rows(512, seed, true), {.batch_size = lesson.broken("more_tokens") ? 16 : 16 / micro,
                                                      .seed = seed,
                                                      .gradient_accumulation_steps = micro});
    const double before = double(runtime.arena.live_bytes());
    Tape tape;
    Outcome o;
    for (int64_t step = 0; step < steps; ++step) {
      double loss = 0;
      for (int m = 0; m < micro; ++m) {
        const data::StepBatch part = loader.batch(step, m);
        const double divisor =
            lesson.broken("mean_of_means") ? double(part.label_tokens * micro) : double(loader.label_tokens(step));
        loss += train_on(ctx, tape, *model, part, divisor, false), o.tokens += int64_t(part.ids.size());
        for (const int32_t id : part.ids) o.data = (o.data ^ uint64_t(id)) * 1099511628211u;
      }
      if (step == 0) o.first = loss;
      optimizer->step(ctx, schedule.at(step), clip_scale(optimizer->gradient_norm(ctx), 1), step);
    }
    o.peak_kib = (double(runtime.arena.peak_live_bytes()) - before) / 1024;
    o.unseen = evaluate_loss(ctx, *model, rows(100, seed + 77, false));
    return o;
  };

  lesson.section("八组，同样的数据，同样的记号数");
  report::Table table({"累积", "bf16", "余弦", "激活与梯度的峰值 (KiB)", "没见过的行（各种子）"});
  std::vector<std::vector<double>> losses(8);
  std::vector<double> peaks(8);
  double other_data = 0, first_apart = 0, rounding_apart = 0;
  std::vector<Outcome> plain;  // 三样都不用，按种子
  for (int arm = 0; arm < 8; ++arm) {
    std::string text;
    for (int s = 0; s < seeds; ++s) {
      const Outcome o = run(arm & 1, arm & 2, arm & 4, lesson.seed() + uint64_t(s));
      if (arm == 0) plain.push_back(o);
      other_data += o.tokens != plain[size_t(s)].tokens || o.data != plain[size_t(s)].data;
      double& apart = arm & 2 ? rounding_apart : first_apart;
      apart = std::max(apart, std::abs(o.first / plain[size_t(s)].first - 1));
      losses[size_t(arm)].push_back(o.unseen), peaks[size_t(arm)] = o.peak_kib;
      text += fmt::format("{:.3f}  ", o.unseen);
    }
    const auto mark = [&](int bit) { return arm & bit ? "用" : "–"; };
    table.row({mark(1), mark(2), mark(4), fmt::format("{:.0f}", peaks[size_t(arm)]), text});
    std::vector<double> sorted = losses[size_t(arm)];
    std::ranges::sort(sorted);
    lesson.value(fmt::format("loss_{}{}{}", arm & 1, arm >> 1 & 1, arm >> 2 & 1), sorted[sorted.size() / 2],
                 "累积、bf16、余弦");
  }
  lesson.table(table);
  lesson.value("arms", double(losses.size())), lesson.value("tokens", double(plain[0].tokens));
  lesson.equal("八组看的是同样的记号，同样的次序：不同的", other_data, 0);
  // 第一步的损失：同样的参数。f32 只差求和的次序；bf16 的乘数有 8 位，一层的相对误差约 2⁻⁹ ÷ √项数，两层叠起来不到 1 %。
  lesson.at_most("累积不改变第一步的损失（f32，相对差）", first_apart, 1e-5);
  lesson.at_most("bf16 的第一步只差舍入（相对差）", rounding_apart, 0.01);
  const double peak_share = lesson.value("peak_share", peaks[1] / peaks[0], "累积的峰值 ÷ 不累积的");
  lesson.at_most("累积换来的是内存", peak_share, 0.75);

  lesson.section("主效应和交互（每个种子先配对相减）");
  const char* names[] = {"累积", "bf16", "余弦", "累积 × bf16", "累积 × 余弦", "bf16 × 余弦"};
  const char* keys[] = {"accumulation", "bf16", "cosine", "accumulation_bf16", "accumulation_cosine", "bf16_cosine"};
  const int bits[] = {1, 2, 4, 1 | 2, 1 | 4, 2 | 4};
  report::Values means, spread;
  report::Table effects({"", "效应（平均）", "种子之间"});
  double largest = 0;
  for (int e = 0; e < 6; ++e) {
    std::vector<double> each;
    for (size_t s = 0; s < size_t(seeds); ++s) {
      double sum = 0;
      for (int arm = 0; arm < 8; ++arm)  // 两样的积：符号相乘
        sum += (__builtin_popcount(unsigned(arm & bits[e])) % 2 == __builtin_popcount(unsigned(bits[e])) % 2 ? 1 : -1) *
               losses[size_t(arm)][s] / 4;
      each.push_back(sum);
    }
    double mean = 0, most = 0;
    for (const double x : each) mean += x / seeds;
    for (const double x : each) most = std::max(most, std::abs(x - mean));
    means.push_back(lesson.value(fmt::format("effect_{}", keys[e]), mean)),
        spread.push_back(lesson.value(fmt::format("spread_{}", keys[e]), most));
    effects.row({names[e], fmt::format("{:+.4f}", mean), fmt::format("± {:.4f}", most)});
    if (e < 3 && std::abs(mean) > std::abs(largest)) largest = mean;
  }
  lesson.table(effects);
  lesson.value("largest_effect", largest, "三个主效应里最大的");
  double same = 0;
  for (size_t arm = 0; arm < 4; ++arm)
    for (size_t s = 0; s < size_t(seeds); ++s) same += losses[arm][s] == losses[arm | 4][s];
  lesson.equal("余弦真的用上了：换了调度，结果一位不差的组", same, 0);
  report::Plot plot("效应：没见过的行的损失变了多少（负：变好）", "", "损失");
  plot.categories({"累积", "bf16", "余弦", "累积×bf16", "累积×余弦", "bf16×余弦"})
      .bars("效应", means)
      .bars("种子之间", spread)
      .sized({620, 320});
  lesson.picture("effects", plot);
  return lesson.finish();
}
