// 第 9 周第 6 天  训练调试：先问第一个坏数从哪里来
//
//   损失是 NaN 时，什么都已经是 NaN 了。要找的是第一个：哪一步、哪个算子、哪个权重、哪一行数据。
//
// 这里注入四种毛病（坏的参数、坏的标签、异常的样本、梯度消失），看守卫说出的是不是注入的那一个。
#include <cmath>

#include "base/error.h"
#include "base/random.h"
#include "compute/ops/elementwise.h"
#include "compute/ops/linear.h"
#include "compute/ops/loss.h"
#include "course/frame/lesson.h"
#include "model/checkpoint/factory.h"
#include "report/plot.h"
#include "train/diagnosis.h"

using namespace sedum;
using course::Lesson;

int main(int argc, char** argv) {
  Lesson lesson(argc, argv,
                {.title = "训练调试指南",
                 .difficulty = "NaN 损失排查难",
                 .remedy = "逐个算子看第一个坏数；检查异常的数据；看每一层的梯度",
                 .bugs = {{"last", "只看最后的损失，不看中间：说不出是哪里"},
                          {"from_zero", "行号从 0 数起：说的是前面一行"},
                          {"no_residual", "残差也去掉了：梯度照样消失"}}});
  lesson.predict("24 层的网络去掉残差，中间一层的梯度是有残差时的多少倍（10 的几次方）？", "vanished_power");
  ModelConfig sizes;
  sizes.model_type = "llama", sizes.vocab_size = 34, sizes.hidden_size = 32, sizes.intermediate_size = 64;
  sizes.num_hidden_layers = 3, sizes.num_attention_heads = sizes.num_key_value_heads = 2, sizes.head_dim = 16;
  std::vector<data::Sample> samples;  // 8 行；记号 33 只在第 6 行出现
  const Random random(lesson.seed(), Purpose::kTest);
  for (uint64_t r = 0; r < 8; ++r) {
    data::Sample s;
    for (uint64_t i = 0; i < 10; ++i) s.ids.push_back(int32_t(random.below(33, r * 16 + i)));
    if (r == 5) s.ids[4] = 33;
    s.labels = s.ids;
    samples.push_back(s);
  }
  const data::Loader loader(samples, {.batch_size = 8, .shuffle = false});
  struct Outcome {
    double loss = 0;
    std::string what, rows;  // 守卫说的：算子和权重；哪几行
  };
  const TrainConfig plain;
  // 一步：sabotage 可以改参数和批次。
  const auto step = [&](const auto& sabotage) {
    Runtime runtime(1);
    RandomFactory factory(runtime.pool, runtime.arena, lesson.seed());
    const auto model = build_model(sizes, factory);
    Context ctx = runtime.context(Compute::kF32);
    data::StepBatch batch = loader.batch(0);
    std::vector<Variable> parameters = factory.parameters();
    sabotage(parameters, batch);
    NanWatch watch(ctx);
    const ScopedObserver watching(lesson.broken("last") ? Observer([](const Seen&) {}) : watch.observer());
    Tape tape;
    Context recording = training_context(ctx, tape, batch);
    Outcome o;
    try {
      const Variable loss = ops::cross_entropy_head(
          recording, model->hidden_states(recording, to_batch(batch, plain)), model->head(),
          std::make_shared<const std::vector<int32_t>>(batch.targets), 1 / float(batch.label_tokens));
      o.loss = double(*loss.value().data<float>());
      tape.backward(recording, loss);
    } catch (const std::exception& e) {
      return Outcome{NAN, e.what(), ""};
    }
    if (watch.found()) o.what = watch.what(), o.rows = name_rows(batch, watch.token());
    return o;
  };
  const auto parameter = [](std::vector<Variable>& all, const std::string& name) -> Tensor& {
    for (Variable& p : all)
      if (p.name() == name) return p.value();
    throw Error("no " + name);
  };
  report::Table table({"注入的", "损失", "守卫说"});
  const auto tell = [&](const std::string& name, const Outcome& o) {
    table.row(
        {name, fmt::format("{:.4f}", o.loss), o.what.empty() ? "—" : o.what + (o.rows.empty() ? "" : "；" + o.rows)});
    return o;
  };
  const auto mentions = [](const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
  };

  lesson.section("一、四种毛病");
  const Outcome healthy = tell("没有毛病", step([](auto&, auto&) {}));
  lesson.value("healthy_loss", healthy.loss), lesson.value("uniform_loss", std::log(34.0), "瞎猜：ln 34");
  // 初始化的偏差 0.02，logits 的大小约 0.02 · √32 ≈ 0.11，损失与 ln 34 差它的平方的一半上下；留十倍。
  lesson.at_most("没有训练过的模型：损失就是 ln(词表)", std::abs(healthy.loss - std::log(34.0)), 0.1);
  lesson.claim("没有毛病时守卫不作声", healthy.what.empty());

  const std::string weight = "model.layers.1.mlp.up_proj.weight";
  const Outcome sick =
      tell("一个权重是 NaN", step([&](auto& all, auto&) { parameter(all, weight).template data<float>()[5] = NAN; }));
  lesson.claim("损失是 NaN，可是从损失看不出哪里", std::isnan(sick.loss));
  lesson.claim("守卫说出第一个坏的权重：第 1 层的 up_proj", mentions(sick.what, weight));

  const Outcome label = tell("标签 99，词表只有 34", step([](auto&, auto& batch) { batch.targets[12] = 99; }));
  lesson.claim("坏标签在算之前就被拒绝，说出是多少", mentions(label.what, "99") && mentions(label.what, "34"));

  const Outcome outlier = tell("第 6 行的输入溢出成了无穷", step([&](auto& all, auto&) {
                                 float* row =
                                     parameter(all, "model.embed_tokens.weight").template data<float>() + 33 * 32;
                                 for (int i = 0; i < 32; ++i) row[i] = INFINITY;
                               }));
  const std::string expected = lesson.broken("from_zero") ? "training row 5" : "training row 6";
  lesson.claim("守卫说出是第 6 行", !outlier.rows.empty() && mentions(outlier.rows, expected));
  lesson.table(table);
  lesson.say("  行：{}", outlier.rows);

  lesson.section("二、梯度消失：看每一层的梯度，不要只看总长度");
  constexpr int kDepth = 24;
  constexpr int64_t kWidth = 16;
  const auto layer_norms = [&](bool residual) {
    Runtime runtime(1);
    Context ctx = runtime.context(Compute::kF32);
    std::vector<Variable> weights;
    const auto normal = [&](const Shape& shape, float deviation, uint32_t stream) {
      Tensor t = ctx.empty(DType::kF32, shape);
      const Random own(lesson.seed(), Purpose::kTest, stream);
      for (int64_t i = 0; i < t.count(); ++i) t.data<float>()[i] = deviation * own.normal(uint64_t(i));
      return t;
    };
    for (int l = 0; l < kDepth; ++l)  // 每过一层，长度平均变成 0.4 倍
      weights.push_back(Variable::parameter(normal({kWidth, kWidth}, 0.1f, uint32_t(l + 1)), "w"));
    Tape tape;
    Context recording = ctx;
    recording.tape = &tape;
    Variable h(normal({8, kWidth}, 1, 99));
    for (const Variable& w : weights) {
      const Variable y = ops::linear(recording, h, {w});
      h = residual ? ops::add(recording, h, y) : y;
    }
    tape.backward(recording, ops::sum(recording, h));
    report::Values norms;
    for (const Variable& w : weights) {
      double squares = 0;
      for (int64_t i = 0; i < w.gradient().count(); ++i) squares += std::pow(double(w.gradient().data<float>()[i]), 2);
      norms.push_back(std::sqrt(squares));
    }
    return norms;
  };
  // 没有残差时每层的梯度是“前面的输入 × 后面的梯度”，两者都是 0.4 的幂：各层的总长度一样小。与有残差的比。
  const report::Values without = layer_norms(false), with = layer_norms(!lesson.broken("no_residual"));
  const double shrink = without[kDepth / 2] / with[kDepth / 2];
  lesson.value("vanished_power", std::log10(shrink), "没有残差的中间一层与有残差的之比，10 的几次方");
  lesson.at_most("没有残差：梯度消失了", shrink, 1e-6);
  lesson.at_least("有残差：第一层的梯度与最后一层的同样大小",
                  std::min(with.front(), with.back()) / std::max(with.front(), with.back()), 0.05);
  report::Values layers;
  for (int l = 0; l < kDepth; ++l) layers.push_back(l + 1);
  report::Plot plot("24 层：每一层的梯度", "层", "梯度的长度");
  plot.log_y().line("没有残差", layers, without).line("有残差", layers, with).sized({520, 320});
  lesson.picture("gradients", plot);
  return lesson.finish();
}
