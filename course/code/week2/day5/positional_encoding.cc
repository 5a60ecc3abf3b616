// 第 2 周第 5 天  位置编码：没有它，注意力分不清先后
//
//   PE(pos, 2i) = sin(pos / 10000^(2i/d))      PE(pos, 2i+1) = cos(pos / 10000^(2i/d))      （Vaswani 等，2017）
//
// 注意力对每个记号一视同仁：把输入的次序打乱，输出只是跟着打乱（置换等变）。所以没有位置信息时，“甲在乙前”和“乙在甲前”
// 对它是同一个问题。任务：一句里有一个 A、一个 B，其余是杂字；问：A 在前吗？
#include <cmath>

#include "base/random.h"
#include "compute/ops/attention.h"
#include "compute/ops/elementwise.h"
#include "compute/ops/linear.h"
#include "compute/ops/loss.h"
#include "course/frame/lesson.h"
#include "report/heatmap.h"
#include "report/plot.h"
#include "train/optim/optimizer.h"

using namespace sedum;
using course::Lesson;

constexpr int64_t kLength = 12, kWidth = 32, kHeads = 2;

double encoding(int64_t position, int64_t i) {
  const double angle = double(position) / std::pow(10000.0, double(i / 2 * 2) / double(kWidth));
  return i % 2 == 0 ? std::sin(angle) : std::cos(angle);
}

// 一层编码器：x → x + 注意力 → 加上前馈；最后一个位置（问号）给出两类的分数。没有掩码，每个记号看得见所有记号。
struct Encoder {
  Variable table, wq, wk, wv, wo, w1, w2, head;
  std::vector<Variable> all() const { return {table, wq, wk, wv, wo, w1, w2, head}; }
  Variable hidden(Context& ctx, const ops::Ids& ids, const Tensor* positions) const {
    const int64_t rows = int64_t(ids->size());
    std::vector<AttentionSegment> segments;
    for (int64_t at = 0; at < rows; at += kLength) segments.push_back({at, kLength, at, kLength});
    Variable x = ops::embedding(ctx, table, ids);
    if (positions) x = ops::add(ctx, x, Variable(*positions));
    const AttentionShape shape{.num_heads = kHeads,
                               .num_key_value_heads = kHeads,
                               .head_dim = kWidth / kHeads,
                               .scale = 1 / std::sqrt(float(kWidth / kHeads)),
                               .causal = false};
    const Variable mixed =
        ops::attention(ctx, ops::linear(ctx, x, {wq}), ops::linear(ctx, x, {wk}), ops::linear(ctx, x, {wv}), shape,
                       std::make_shared<const std::vector<AttentionSegment>>(segments));
    x = ops::add(ctx, x, ops::linear(ctx, mixed, {wo}));
    return ops::add(ctx, x, ops::linear(ctx, ops::silu(ctx, ops::linear(ctx, x, {w1})), {w2}));
  }
};

int main(int argc, char** argv) {
  Lesson lesson(argc, argv,
                {.title = "位置编码",
                 .difficulty = "位置编码作用不理解",
                 .remedy = "同一个模型、同一个任务，有和没有位置编码",
                 .bugs = {{"constant", "每个位置的编码都一样：pos 没有传进去"},
                          {"leak", "没有位置编码的对照组里也加了位置编码"}}});
  lesson.predict("没有位置编码，判断先后的正确率是百分之几？", "without_percent");
  ThreadPool pool(1);
  Arena arena;
  Context ctx{.pool = &pool, .arena = &arena};
  const Random random(lesson.seed(), Purpose::kTest);

  // 第 i 句：A = 1、B = 2 的位置随机，杂字 3 … 9，最后一个是问号 0。答案：A 在前是 0，B 在前是 1。
  const auto sentence = [&](uint64_t i, std::vector<int32_t>& ids) {
    const uint64_t at = i * 64;
    const int64_t a = int64_t(random.below(kLength - 1, at)),
                  b = (a + 1 + int64_t(random.below(kLength - 2, at + 1))) % (kLength - 1);
    for (int64_t p = 0; p < kLength - 1; ++p)
      ids.push_back(p == a ? 1 : p == b ? 2 : 3 + int32_t(random.below(7, at + 2 + uint64_t(p))));
    ids.push_back(0);
    return int32_t(b < a);
  };
  const auto make_positions = [&](int64_t sentences) {
    Tensor t = Tensor::empty(arena, DType::kF32, {sentences * kLength, kWidth});
    for (int64_t r = 0; r < sentences * kLength; ++r)
      for (int64_t c = 0; c < kWidth; ++c)
        t.data<float>()[r * kWidth + c] = float(encoding(lesson.broken("constant") ? 0 : r % kLength, c));
    return t;
  };

  const int steps = lesson.quick() ? 400 : 1000, batch = 32;
  const int64_t tests = 400;
  struct Result {
    report::Values step, loss;
    double accuracy = 0, permuted = 0;
  };
  const auto run = [&](bool with) {
    uint32_t stream = 1;
    const auto parameter = [&](int64_t n, int64_t k) {
      Tensor t = Tensor::empty(arena, DType::kF32, {n, k});
      const Random draw(lesson.seed(), Purpose::kTest, stream++);
      for (int64_t i = 0; i < t.count(); ++i) t.data<float>()[i] = draw.normal(uint64_t(i)) / std::sqrt(float(k));
      return Variable::parameter(t, "w" + std::to_string(stream));
    };
    const Encoder net{parameter(10, kWidth),         parameter(kWidth, kWidth), parameter(kWidth, kWidth),
                      parameter(kWidth, kWidth),     parameter(kWidth, kWidth), parameter(2 * kWidth, kWidth),
                      parameter(kWidth, 2 * kWidth), parameter(2, kWidth)};
    const auto last_rows = [](int64_t sentences) {
      std::vector<int32_t> rows;
      for (int64_t s = 0; s < sentences; ++s) rows.push_back(int32_t((s + 1) * kLength - 1));
      return std::make_shared<const std::vector<int32_t>>(rows);
    };
    Result result;
    const auto optimizer = make_optimizer(ctx, net.all(), {});
    const Tensor train_positions = make_positions(batch), test_positions = make_positions(tests);
    for (int step = 0; step < steps; ++step) {
      std::vector<int32_t> ids, answers;
      for (int s = 0; s < batch; ++s) answers.push_back(sentence(uint64_t(step * batch + s), ids));
      Tape tape;
      Context recording = ctx;
      recording.tape = &tape;
      const Variable x =
          net.hidden(recording, std::make_shared<const std::vector<int32_t>>(ids), with ? &train_positions : nullptr);
      const Variable logits = ops::linear(recording, ops::select_rows(recording, x, last_rows(batch)), {net.head});
      const Variable loss =
          ops::cross_entropy(recording, logits, std::make_shared<const std::vector<int32_t>>(answers), 1.0f / batch);
      if (step % 10 == 0) result.step.push_back(step), result.loss.push_back(double(*loss.value().data<float>()));
      tape.backward(recording, loss);
      optimizer->step(ctx, 3e-3f, clip_scale(optimizer->gradient_norm(ctx), 1), step);
    }
    std::vector<int32_t> ids, answers, swapped;
    for (int64_t s = 0; s < tests; ++s) answers.push_back(sentence(uint64_t(1000000 + s), ids));
    swapped = ids;
    for (int32_t& id : swapped) id = id == 1 ? 2 : id == 2 ? 1 : id;  // A、B 对调：答案正好相反，而记号还是那些
    const auto logits = [&](const std::vector<int32_t>& of) {
      const Variable x =
          net.hidden(ctx, std::make_shared<const std::vector<int32_t>>(of), with ? &test_positions : nullptr);
      return ops::linear(ctx, ops::select_rows(ctx, x, last_rows(tests)), {net.head});
    };
    const Variable first = logits(ids), second = logits(swapped);
    for (int64_t s = 0; s < tests; ++s) {
      const float* l = first.value().data<float>() + 2 * s;
      const float* m = second.value().data<float>() + 2 * s;
      result.accuracy += double((l[1] > l[0]) == (answers[size_t(s)] == 1)) / double(2 * tests);
      result.accuracy += double((m[1] > m[0]) == (answers[size_t(s)] == 0)) / double(2 * tests);
      result.permuted = std::max({result.permuted, double(std::abs(l[0] - m[0])), double(std::abs(l[1] - m[1]))});
    }
    return result;
  };
  lesson.section("没有位置编码");
  const Result without = run(lesson.broken("leak"));
  lesson.value("without_percent", 100 * without.accuracy, "每句与它对调 A、B 的那句各考一次");
  lesson.value("without_difference", without.permuted, "对调 A、B 之后，分数变了多少：只有求和次序的舍入");
  lesson.section("有位置编码");
  const Result with = run(true);
  lesson.value("with_percent", 100 * with.accuracy);

  // 没有位置：一句和它对调的那句，输入是同一个集合，输出相同，而答案相反：两句中恰好对一句。舍入可能使个别句子不同。
  lesson.between("没有位置编码：瞎猜", without.accuracy, 0.45, 0.55);
  lesson.at_most("没有位置编码：打乱次序，问号处的输出不变", without.permuted, 1e-3);
  lesson.at_least("有位置编码：学会了", with.accuracy, 0.99);

  report::Plot plot("判断 A、B 的先后", "步数", "损失");
  plot.line("没有位置编码", without.step, without.loss)
      .line("有位置编码", with.step, with.loss)
      .horizontal(std::log(2.0), "瞎猜")
      .sized({440, 320});
  std::vector<std::vector<double>> cells(kLength, std::vector<double>(kWidth));
  for (int64_t p = 0; p < kLength; ++p)
    for (int64_t c = 0; c < kWidth; ++c) cells[size_t(p)][size_t(c)] = encoding(p, c);
  report::Heatmap heat("PE：每个位置一行", cells);
  std::vector<std::string> names;
  for (int64_t p = 0; p < kLength; ++p) names.push_back(std::to_string(p));
  heat.rows(names, "位置").digits(0).cell({11, 20});
  lesson.picture("order", report::Figure("", 2).add(plot).add(heat));
  return lesson.finish();
}
