// 第 9 周第 1 天  梯度裁剪：步子太大就缩短，方向不变
//
//   g ← g · min(1, max_norm / ‖g‖)          ‖g‖ 是所有参数的梯度合在一起的长度
//
// 同一个矩阵连乘 T 次，梯度里就有 W 的 T − 1 次方：W 稍大于 1 就爆炸。裁剪按“全部参数合起来的长度”等比例缩短，
// 所以方向不变；按每个参数各自缩短，方向就变了。
#include <cmath>

#include "base/random.h"
#include "compute/ops/elementwise.h"
#include "compute/ops/linear.h"
#include "course/frame/lesson.h"
#include "report/plot.h"
#include "train/optim/optimizer.h"

using namespace sedum;
using course::Lesson;

int main(int argc, char** argv) {
  Lesson lesson(
      argc, argv,
      {.title = "梯度裁剪",
       .difficulty = "梯度爆炸问题",
       .remedy = "设置梯度最大范数 max_norm = 1.0",
       .bugs = {{"per_parameter", "每个参数各自裁剪：方向变了"}, {"local", "分成几份时，各份只用自己的长度裁剪"}}});
  lesson.predict("连乘 24 次，开始时梯度的长度是 1 的几倍（数量级）？", "first_norm");
  constexpr int64_t kWidth = 12, kRows = 16;
  constexpr int kDepth = 24;
  constexpr float kMaxNorm = 1.0f;
  ThreadPool pool(1);
  Arena arena;
  Context ctx{.pool = &pool, .arena = &arena};
  const auto normal = [&](const Shape& shape, float deviation, uint32_t stream) {
    Tensor t = Tensor::empty(arena, DType::kF32, shape);
    const Random random(lesson.seed(), Purpose::kTest, stream);
    for (int64_t i = 0; i < t.count(); ++i) t.data<float>()[i] = deviation * random.normal(uint64_t(i));
    return t;
  };
  // 一个循环网络：h ← W h，24 次；最后 y = v · h。要学会输出 1。
  struct Net {
    Variable w, v;
  };
  const auto make = [&] {
    // 标准差 1.4 / √宽：每乘一次，长度平均变成 1.4 倍。
    return Net{Variable::parameter(normal({kWidth, kWidth}, 1.4f / std::sqrt(float(kWidth)), 1), "w"),
               Variable::parameter(normal({1, kWidth}, 0.3f, 2), "v")};
  };
  const Tensor x = normal({kRows, kWidth}, 0.1f, 3);
  Tensor minus_one = Tensor::empty(arena, DType::kF32, {kRows, 1});
  for (int64_t i = 0; i < kRows; ++i) minus_one.data<float>()[i] = -1;
  const auto gradients = [&](const Net& net) {  // 损失；梯度在 net 里
    Tape tape;
    Context recording = ctx;
    recording.tape = &tape;
    Variable h(x);
    for (int t = 0; t < kDepth; ++t) h = ops::linear(recording, h, {net.w});
    const Variable error = ops::add(recording, ops::linear(recording, h, {net.v}), Variable(minus_one));
    const Variable loss =
        ops::scale(recording, ops::sum(recording, ops::multiply(recording, error, error)), 1 / float(kRows));
    tape.backward(recording, loss);
    return double(*loss.value().data<float>());
  };
  const auto flat = [](const Net& net, double scale_w, double scale_v) {
    std::vector<double> g;
    for (int64_t i = 0; i < net.w.gradient().count(); ++i)
      g.push_back(scale_w * double(net.w.gradient().data<float>()[i]));
    for (int64_t i = 0; i < net.v.gradient().count(); ++i)
      g.push_back(scale_v * double(net.v.gradient().data<float>()[i]));
    return g;
  };
  const auto length = [](const std::vector<double>& g, size_t from, size_t to) {
    double sum = 0;
    for (size_t i = from; i < to; ++i) sum += g[i] * g[i];
    return std::sqrt(sum);
  };

  lesson.section("一次裁剪：长度不超过 1，方向不变");
  const Net net = make();
  gradients(net);
  const std::vector<double> raw = flat(net, 1, 1);
  const auto optimizer = make_optimizer(ctx, {net.w, net.v}, {});
  const double norm = lesson.value("first_norm", optimizer->gradient_norm(ctx), "裁剪之前");
  const size_t split = size_t(kWidth * kWidth);
  double scale_w = double(clip_scale(norm, kMaxNorm)), scale_v = scale_w;
  if (lesson.broken("per_parameter"))
    scale_w = double(clip_scale(length(raw, 0, split), kMaxNorm)),
    scale_v = double(clip_scale(length(raw, split, raw.size()), kMaxNorm));
  const std::vector<double> clipped = flat(net, scale_w, scale_v);
  double product = 0;
  for (size_t i = 0; i < raw.size(); ++i) product += raw[i] * clipped[i];
  const double clipped_norm = lesson.value("clipped_norm", length(clipped, 0, clipped.size()));
  lesson.at_most("裁剪之后的长度", clipped_norm, double(kMaxNorm) * (1 + 1e-5));
  lesson.at_least("方向不变：夹角的余弦", product / norm / clipped_norm, 1 - 1e-6);
  lesson.equal("本来就短的不动：长度 0.5 时的倍数", double(clip_scale(0.5, kMaxNorm)), 1);

  lesson.section("分成四份（四个进程各管一份）：先合起长度，再各自缩短");
  double squares = 0, whole_error = 0;
  std::vector<double> pieces(raw.size());
  const size_t part = (raw.size() + 3) / 4;
  for (size_t r = 0; r < 4; ++r) squares += std::pow(length(raw, r * part, std::min(raw.size(), (r + 1) * part)), 2);
  for (size_t r = 0; r < 4; ++r) {
    const size_t end = std::min(raw.size(), (r + 1) * part);
    const double used = lesson.broken("local") ? length(raw, r * part, end) : std::sqrt(squares);
    for (size_t i = r * part; i < end; ++i) pieces[i] = raw[i] * double(clip_scale(used, kMaxNorm));
  }
  for (size_t i = 0; i < raw.size(); ++i)
    whole_error = std::max(whole_error, std::abs(pieces[i] - raw[i] * double(clip_scale(norm, kMaxNorm))));
  lesson.at_most("四份裁剪 = 整个裁剪，最大的差", whole_error, 1e-6);

  lesson.section("训练：裁剪与不裁剪");
  const int steps = lesson.quick() ? 150 : 400;
  const auto train = [&](bool clip) {
    const Net n = make();
    const auto norms = make_optimizer(ctx, {n.w, n.v}, {});
    report::Values losses;
    for (int step = 0; step < steps; ++step) {
      const double loss = gradients(n);
      losses.push_back(loss);
      if (!std::isfinite(loss)) break;
      const float scale = clip ? clip_scale(norms->gradient_norm(ctx), kMaxNorm) : 1;
      for (Variable p : {n.w, n.v}) {  // 最朴素的梯度下降，学习率 0.02
        for (int64_t i = 0; i < p.value().count(); ++i)
          p.value().data<float>()[i] -= 0.02f * scale * p.gradient().data<float>()[i];
        p.gradient() = Tensor();
      }
    }
    return losses;
  };
  const report::Values without = train(false), with = train(true);
  lesson.value("steps_until_nan", double(without.size()), "不裁剪：第几步损失不再是数");
  lesson.value("clipped_final_loss", with.back());
  lesson.claim("不裁剪：炸了", !std::isfinite(without.back()) || without.back() > 1e6);
  lesson.at_most("裁剪：损失比开始时小", with.back() / with.front(), 0.5);
  report::Values at;
  for (int i = 0; i < steps; ++i) at.push_back(i);
  report::Plot plot("连乘 24 次的网络", "步数", "损失");
  plot.log_y()
      .line("裁剪到 1.0", at, with)
      .line("不裁剪", report::Values(at.begin(), at.begin() + long(without.size())), without);
  lesson.picture("clipping", plot);
  return lesson.finish();
}
