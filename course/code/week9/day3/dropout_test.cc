// 第 9 周第 3 天  Dropout 放在哪里
//
//   训练：y = x · m / (1 − p)，m 以概率 1 − p 是 1，否则是 0         评估：y = x
//
// 除以 1 − p，平均值才不变，评估时才能什么也不做。放在哪里（注意力的概率，还是前馈的输出）、放多少，没有定论：
// 小数据上各跑三个种子，看没见过的行。
#include "compute/ops/dropout.h"

#include <algorithm>
#include <cmath>

#include "base/random.h"
#include "compute/ops/elementwise.h"
#include "compute/ops/loss.h"
#include "course/frame/lesson.h"
#include "model/checkpoint/factory.h"
#include "model/runtime_model.h"
#include "report/plot.h"
#include "train/objective.h"

using namespace sedum;
using course::Lesson;

// 前馈最后一层的输出上加 dropout。
class Dropped : public Linear {
 public:
  Dropped(std::unique_ptr<Linear> inner, float p, uint32_t site) : inner_(std::move(inner)), p_(p), site_(site) {}
  Variable forward(Context& ctx, const Variable& x) const override {
    return ops::dropout(ctx, inner_->forward(ctx, x), p_, site_);
  }
  int64_t in_features() const override { return inner_->in_features(); }
  int64_t out_features() const override { return inner_->out_features(); }
  const DenseLinear& dense() const override { return inner_->dense(); }
  void adapt(Context& ctx, const Variable& x, Tensor& y) const override { inner_->adapt(ctx, x, y); }

 private:
  std::unique_ptr<Linear> inner_;
  float p_;
  uint32_t site_;
};
class FeedForwardDropout : public LayerFactory {
 public:
  FeedForwardDropout(LayerFactory& base, float p) : base_(base), p_(p) {}
  std::unique_ptr<Linear> linear(const std::string& name, int64_t out, int64_t in, bool bias) override {
    auto layer = base_.linear(name, out, in, bias);
    if (!name.ends_with("mlp.down_proj")) return layer;
    return std::make_unique<Dropped>(std::move(layer), p_, stream_of(name));
  }
  Variable vector(const std::string& name, int64_t size) override { return base_.vector(name, size); }
  ops::Weight table(const std::string& name, int64_t rows, int64_t cols) override {
    return base_.table(name, rows, cols);
  }

 private:
  LayerFactory& base_;
  float p_;
};

// 第一个记号说步长 d，第二个是起点，之后每个数 = 前一个 + d（模 29）；标签有一成是错的：训练行背得下来，没见过的行却会变差。
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
                {.title = "Dropout 放在哪里",
                 .difficulty = "Dropout 位置选择难",
                 .remedy = "不用、注意力、前馈、两处，各两种比例，三个种子",
                 .bugs = {{"no_scale", "没有除以 1 − p：平均值变小了"}, {"at_eval", "评估时也在丢"}}});
  lesson.exercise("p = 0.2。没有被丢掉的值乘以多少？", "kept_factor");
  lesson.predict("前馈、p = 0.1，没见过的行的损失是不用 dropout 的几倍？", "ffn_over_none");
  Runtime runtime(1);
  Context ctx = runtime.context(Compute::kF32);
  ctx.seed = lesson.seed();

  lesson.section("一、平均值不变");
  lesson.value("kept_factor", 1 / (1 - 0.2));
  const int64_t trials = lesson.quick() ? 4000 : 40000, width = 32;
  for (const float p : {0.1f, 0.3f}) {
    Tensor ones = ctx.empty(DType::kF32, {trials, width});
    std::fill_n(ones.data<float>(), ones.count(), 1.0f);
    auto keys = std::make_shared<RowKeys>();
    for (int64_t i = 0; i < trials; ++i) keys->sequence.push_back(uint32_t(i)), keys->position.push_back(0);
    Context training = ctx;
    training.rows = keys;
    Variable y = ops::dropout(training, Variable(ones), p, stream_of("place"));
    if (lesson.broken("no_scale")) y = ops::scale(training, y, 1 - p);
    double worst = 0, dropped = 0;
    for (int64_t j = 0; j < width; ++j) {
      double sum = 0;
      for (int64_t i = 0; i < trials; ++i)
        sum += double(y.value().data<float>()[i * width + j]), dropped += y.value().data<float>()[i * width + j] == 0;
      worst = std::max(worst, std::abs(sum / double(trials) - 1));
    }
    const std::string key = p < 0.2f ? "10" : "30";
    lesson.value("dropped_percent_" + key, 100 * dropped / double(trials * width));
    // 一个值的方差是 p/(1 − p)。32 个平均值里最大的偏差超过五个标准差，机会不到十万分之二。
    lesson.at_most(fmt::format("p = {}：平均值还是 1", p), worst,
                   5 * std::sqrt(double(p) / (1 - double(p)) / double(trials)));
  }

  lesson.section("二、评估时什么也不做");
  ModelConfig sizes;
  sizes.model_type = "llama", sizes.vocab_size = 34, sizes.hidden_size = 32, sizes.intermediate_size = 64;
  sizes.num_hidden_layers = 2, sizes.num_attention_heads = sizes.num_key_value_heads = 2, sizes.head_dim = 16;
  const auto build = [&](Runtime& own, float attention, float feed_forward, uint64_t seed, std::vector<Variable>& all) {
    RandomFactory random(own.pool, own.arena, seed);
    FeedForwardDropout factory(random, feed_forward);
    sizes.attention_dropout = attention;
    auto model = build_model(sizes, factory);
    all = random.parameters();
    return model;
  };
  std::vector<Variable> unused;
  const std::vector<data::Sample> test = rows(60, lesson.seed() + 77, false);
  const auto hidden = [&](const CausalModel& model, uint32_t step) {
    Context evaluating = ctx;
    evaluating.step = step;
    if (lesson.broken("at_eval")) {
      auto keys = std::make_shared<RowKeys>();
      for (uint32_t i = 0; i < 13; ++i) keys->sequence.push_back(0), keys->position.push_back(i);
      evaluating.rows = keys;
    }
    const Variable h = model.hidden_states(evaluating, Batch::of_sequences({test[0].ids}));
    return std::vector<float>(h.value().data<float>(), h.value().data<float>() + h.value().count());
  };
  const auto with = build(runtime, 0.3f, 0.3f, lesson.seed(), unused);
  const auto without = build(runtime, 0, 0, lesson.seed(), unused);
  lesson.claim("评估两次，一位不差", hidden(*with, 1) == hidden(*with, 2));
  lesson.claim("评估时，装了 dropout 的与没装的一样", hidden(*with, 1) == hidden(*without, 1));

  lesson.section("三、放在哪里，放多少");
  struct Arm {
    const char *name, *key;
    float attention, feed_forward;
  };
  const std::vector<Arm> arms = {{"不用", "none", 0, 0},
                                 {"注意力 0.1", "attention_10", 0.1f, 0},
                                 {"注意力 0.3", "attention_30", 0.3f, 0},
                                 {"前馈 0.1", "ffn_10", 0, 0.1f},
                                 {"前馈 0.3", "ffn_30", 0, 0.3f},
                                 {"两处 0.1", "both_10", 0.1f, 0.1f},
                                 {"两处 0.3", "both_30", 0.3f, 0.3f}};
  TrainConfig plain;
  plain.gradient_checkpointing = false;
  const int seeds = lesson.quick() ? 1 : 3, steps = lesson.quick() ? 60 : 500;
  report::Table table({"dropout", "训练行的损失", "没见过的行，各种子"});
  std::vector<report::Values> heights(static_cast<size_t>(seeds));
  std::vector<std::string> names;
  double none = 0, ffn = 0, none_fitted = 0, same = 0;
  for (const Arm& arm : arms) {
    std::vector<double> losses;
    double fitted = 0;
    for (int s = 0; s < seeds; ++s) {
      const uint64_t seed = lesson.seed() + uint64_t(s);
      Runtime own(1);
      std::vector<Variable> parameters;
      const auto model = build(own, arm.attention, arm.feed_forward, seed, parameters);
      Context c = own.context(Compute::kF32);
      c.seed = seed;
      const auto optimizer = make_optimizer(c, parameters, {});
      const std::vector<data::Sample> few = rows(100, seed, true);
      const data::Loader loader(few, {.batch_size = 10, .seed = seed});
      const Schedule schedule{.learning_rate = 1e-2, .warmup = 10, .total = steps};
      Tape tape;
      for (int64_t step = 0; step < steps; ++step) {
        c.step = uint32_t(step);
        const data::StepBatch batch = loader.batch(step);
        Context recording = training_context(c, tape, batch);  // 说出每一行是谁：随机数按它数，评估时没有它
        const Variable h = model->hidden_states(recording, to_batch(batch, plain));
        tape.backward(recording, ops::cross_entropy_head(recording, h, model->head(),
                                                         std::make_shared<const std::vector<int32_t>>(batch.targets),
                                                         1 / float(batch.label_tokens)));
        optimizer->step(c, schedule.at(step), clip_scale(optimizer->gradient_norm(c), 1), step);
      }
      fitted += evaluate_loss(c, *model, few) / seeds;
      losses.push_back(evaluate_loss(c, *model, test)), heights[size_t(s)].push_back(losses.back());
    }
    std::string text;
    for (const double loss : losses) text += fmt::format("{:.3f}  ", loss);
    table.row({arm.name, fmt::format("{:.3f}", fitted), text});
    names.push_back(arm.name);
    std::ranges::sort(losses);
    const double median =
        lesson.value(fmt::format("loss_{}", arm.key), losses[losses.size() / 2], "没见过的行，中位数");
    lesson.value(fmt::format("low_{}", arm.key), losses.front()),
        lesson.value(fmt::format("high_{}", arm.key), losses.back());
    lesson.value(fmt::format("fitted_{}", arm.key), fitted, "训练行（标签有错的）");
    if (std::string(arm.key) == "none") none = median;
    if (std::string(arm.key) == "ffn_10") ffn = median;
    if (std::string(arm.key) == "none")
      none_fitted = fitted;
    else
      same += fitted == none_fitted;
  }
  lesson.table(table);
  lesson.equal("训练时真的在丢：与不用的一位不差的臂", same, 0);
  lesson.value("ffn_over_none", ffn / none);
  report::Plot plot("没见过的行的损失：放在哪里，放多少", "", "损失");
  plot.categories(names).sized({680, 330});
  for (size_t s = 0; s < heights.size(); ++s) plot.bars(fmt::format("种子 {}", s + 1), heights[s]);
  lesson.picture("dropout", plot);
  return lesson.finish();
}
