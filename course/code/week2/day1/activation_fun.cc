// 第 2 周第 1 天  前馈网络与激活函数：会“死”的 ReLU
//
//   ReLU(z) = max(z, 0)          LeakyReLU(z) = max(z, 0.01 z)
//
// z 对所有样本都是负数时，ReLU 的输出是 0，梯度也是 0：这个神经元从此不再学习，叫做“死”了。学习率太大，一步迈过头，
// 就容易这样。LeakyReLU 在负的一边留一点斜率，梯度永远不是 0，还有机会回来。
#include <algorithm>
#include <cmath>

#include "base/random.h"
#include "compute/ops/elementwise.h"
#include "compute/ops/linear.h"
#include "course/frame/lesson.h"
#include "report/plot.h"

using namespace sedum;
using course::Lesson;

// 一个算子：前向算 y，同时在磁带上记下怎样往回走。slope 是负的一边的斜率，ReLU 就是 slope = 0。
Variable leaky_relu(Context& ctx, const Variable& z, float slope) {
  Tensor y = ctx.empty(DType::kF32, z.shape());
  for (int64_t i = 0; i < y.count(); ++i) {
    const float v = z.value().data<float>()[i];
    y.data<float>()[i] = v > 0 ? v : slope * v;
  }
  return record(ctx, "leaky_relu", {&z}, y, [zv = z.value(), slope](BackwardPass& pass) {
    Tensor dz = pass.context().empty(DType::kF32, zv.shape());
    for (int64_t i = 0; i < zv.count(); ++i)  // dL/dz = dL/dy · y'(z)
      dz.data<float>()[i] = pass.gradient().data<float>()[i] * (zv.data<float>()[i] > 0 ? 1 : slope);
    pass.add(0, dz);
  });
}

struct Net {  // y = w₂ · f(W₁ x + b₁) + b₂
  Variable w1, b1, w2, b2;
};

int main(int argc, char** argv) {
  Lesson lesson(
      argc, argv,
      {.title = "前馈网络与激活函数",
       .difficulty = "ReLU 死亡神经元问题",
       .remedy = "同样的初值、同样的学习率，只换激活函数",
       .bugs = {{"no_slope", "LeakyReLU 的反向忘了负的一边的斜率"}, {"one_sample", "只看一个样本就说神经元死了"}}});
  lesson.predict("学习率很大时，ReLU 网络的 64 个神经元有百分之几会死？", "relu_dead_percent");

  const int64_t rows = 256, hidden = 64;
  const int epochs = lesson.quick() ? 60 : 200;
  const float rate = 0.12f;  // 故意太大
  ThreadPool pool(1);
  Arena arena;
  Context ctx{.pool = &pool, .arena = &arena};
  const Random random(lesson.seed(), Purpose::kTest);
  uint64_t drawn = 0;
  const auto normal = [&](const Shape& shape, float deviation) {
    Tensor t = Tensor::empty(arena, DType::kF32, shape);
    for (int64_t i = 0; i < t.count(); ++i) t.data<float>()[i] = deviation * random.normal(drawn++);
    return t;
  };
  const auto copy = [&](const Tensor& from) {
    Tensor t = Tensor::empty(arena, DType::kF32, from.shape());
    std::copy_n(from.data<float>(), from.count(), t.data<float>());
    return t;
  };

  lesson.section("数据：y = sin 3x，x 在 −1 与 1 之间");
  Tensor x = Tensor::empty(arena, DType::kF32, {rows, 1}), y = Tensor::empty(arena, DType::kF32, {rows, 1});
  for (int64_t i = 0; i < rows; ++i) {
    x.data<float>()[i] = 2 * float(i) / float(rows - 1) - 1;
    y.data<float>()[i] = std::sin(3 * x.data<float>()[i]);
  }
  const Tensor w1 = normal({hidden, 1}, 1.5f), b1 = normal({hidden}, 0.5f), w2 = normal({1, hidden}, 0.3f);

  // 一个神经元有百分之几的样本梯度是 0。ReLU：z ≤ 0 的样本。LeakyReLU：没有。
  struct Curve {
    report::Values epoch, loss, dead;
    double zero_gradient = 0, negative = 0;  // 最后：对所有样本梯度都是 0 的、对所有样本都是负数的神经元的比例
    double moved = 0;                        // 最后说它死了，参数的梯度却不是 0 的神经元
  };
  const auto train = [&](float slope) {
    Net net{Variable::parameter(copy(w1), "w1"), Variable::parameter(copy(b1), "b1"),
            Variable::parameter(copy(w2), "w2"), Variable::parameter(Tensor::zeros(arena, DType::kF32, {1}), "b2")};
    Curve curve;
    for (int epoch = 0; epoch <= epochs; ++epoch) {
      Tape tape;
      Context recording = ctx;
      recording.tape = &tape;
      const Variable z = ops::linear(recording, Variable(x), {net.w1}, &net.b1);  // (rows, hidden)
      const Variable out = ops::linear(recording, leaky_relu(recording, z, slope), {net.w2}, &net.b2);  // (rows, 1)
      const Variable error = ops::add(recording, out, ops::scale(ctx, Variable(y), -1));
      const Variable loss =
          ops::scale(recording, ops::sum(recording, ops::multiply(recording, error, error)), 1 / float(rows));
      double zero = 0, negative = 0;
      std::vector<int64_t> dead;
      for (int64_t j = 0; j < hidden; ++j) {
        bool never = true;
        for (int64_t i = 0; i < (lesson.broken("one_sample") ? 1 : rows); ++i)
          never = never && z.value().data<float>()[i * hidden + j] <= 0;
        negative += never;
        if (never && slope == 0) ++zero, dead.push_back(j);
      }
      curve.epoch.push_back(epoch), curve.loss.push_back(double(*loss.value().data<float>()));
      curve.dead.push_back(100 * zero / double(hidden));
      curve.zero_gradient = zero / double(hidden), curve.negative = negative / double(hidden);
      tape.backward(recording, loss);
      curve.moved = 0;
      for (const int64_t j : dead) curve.moved += net.w1.gradient().data<float>()[j] != 0;
      for (Variable* p : {&net.w1, &net.b1, &net.w2, &net.b2}) {
        for (int64_t i = 0; i < p->value().count(); ++i)
          p->value().data<float>()[i] -= rate * p->gradient().data<float>()[i];
        p->gradient() = Tensor();
      }
    }
    return curve;
  };
  const Curve relu = train(0), leaky = train(lesson.broken("no_slope") ? 0.0f : 0.01f);

  lesson.section("学习率 0.12：谁死了");
  lesson.value("neurons", double(hidden));
  lesson.value("relu_dead_percent", 100 * relu.zero_gradient, "对所有样本都是负数，梯度全是 0");
  lesson.value("leaky_negative_percent", 100 * leaky.negative, "也对所有样本都是负数，但梯度不是 0");
  lesson.value("leaky_dead_percent", 100 * leaky.zero_gradient);
  lesson.value("relu_dead_at_start_percent", relu.dead.front(), "初值造成的");
  lesson.value("relu_loss", relu.loss.back());
  lesson.value("leaky_loss", leaky.loss.back());
  lesson.at_least("ReLU：有神经元死了", relu.zero_gradient, 1 / double(hidden));
  lesson.at_least("ReLU：大多死在训练中，不是生来就死的（百分点）", 100 * relu.zero_gradient - relu.dead.front(), 0.5);
  lesson.equal("LeakyReLU：梯度全是 0 的神经元", leaky.zero_gradient, 0);
  lesson.equal("说它死了的，梯度确实是 0：还在动的", relu.moved, 0);
  lesson.at_most("不是所有神经元都死了", relu.zero_gradient, 0.98);

  report::Plot dead("死神经元", "轮", "百分之几"), loss("损失", "轮", "均方误差");
  dead.line("ReLU", relu.epoch, relu.dead).line("LeakyReLU", leaky.epoch, leaky.dead).sized({380, 300});
  loss.log_y().line("ReLU", relu.epoch, relu.loss).line("LeakyReLU", leaky.epoch, leaky.loss).sized({380, 300});
  report::Plot shape("两种激活函数", "z", "f(z)");
  report::Values zs, rs, ls;
  for (int i = -20; i <= 20; ++i)
    zs.push_back(i / 10.0), rs.push_back(std::max(0.0, i / 10.0)), ls.push_back(i > 0 ? i / 10.0 : 0.1 * i / 10.0);
  shape.line("ReLU", zs, rs).line("LeakyReLU（斜率画成 0.1）", zs, ls).sized({380, 300});
  lesson.picture("dead", report::Figure("学习率 0.12：ReLU 的神经元死了就回不来", 3).add(shape).add(dead).add(loss));
  return lesson.finish();
}
