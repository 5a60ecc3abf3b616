// 第 2 周第 6 天  编码器的一层：分步组装
//
//   h = LayerNorm(x + W_o · MultiHead(x))          注意力，然后 Add & Norm
//   y = LayerNorm(h + W₂ · GELU(W₁ h))             前馈，然后 Add & Norm
//
// 一步一步搭：自注意力 → 加残差 → 归一化 → 前馈 → 再加残差、再归一化。每加一步都看一眼数的大小，
// 最后与 transformers 里 BERT 的一层逐个数核对。
#include <cmath>
#include <filesystem>

#include "base/random.h"
#include "compute/ops/attention.h"
#include "compute/ops/elementwise.h"
#include "compute/ops/linear.h"
#include "course/frame/lesson.h"
#include "formats/numpy.h"
#include "report/diagram.h"
#include "report/plot.h"

using namespace sedum;
using course::Lesson;

constexpr int64_t kTokens = 5, kHidden = 16, kHeads = 2, kInner = 32;

// 一行减去平均、除以标准差，再乘 γ 加 β。归一化让每个记号的数都在同样的大小上，层叠多了也不会越来越大或越来越小。
Variable layer_norm(Context& ctx, const Variable& x, const Tensor& gamma, const Tensor& beta, double eps) {
  Tensor y = ctx.empty(DType::kF32, x.shape());
  const int64_t cols = x.shape()[-1];
  for (int64_t r = 0; r < x.shape().rows(); ++r) {
    const float* in = x.value().data<float>() + r * cols;
    double mean = 0, variance = 0;
    for (int64_t c = 0; c < cols; ++c) mean += double(in[c]) / double(cols);
    for (int64_t c = 0; c < cols; ++c) variance += std::pow(double(in[c]) - mean, 2) / double(cols);
    for (int64_t c = 0; c < cols; ++c)
      y.data<float>()[r * cols + c] =
          float((double(in[c]) - mean) / std::sqrt(variance + eps)) * gamma.data<float>()[c] + beta.data<float>()[c];
  }
  return Variable(y);
}

// GELU(z) = z · Φ(z)，Φ 是标准正态的分布函数（Hendrycks、Gimpel，2016；BERT 用精确的 erf）。
Variable gelu(Context& ctx, const Variable& z) {
  Tensor y = ctx.empty(DType::kF32, z.shape());
  for (int64_t i = 0; i < y.count(); ++i) {
    const double v = double(z.value().data<float>()[i]);
    y.data<float>()[i] = float(v * 0.5 * (1 + std::erf(v / std::sqrt(2.0))));
  }
  return Variable(y);
}

double size_of(const Variable& x) {  // 均方根：数的典型大小
  double sum = 0;
  for (int64_t i = 0; i < x.value().count(); ++i) sum += std::pow(double(x.value().data<float>()[i]), 2);
  return std::sqrt(sum / double(x.value().count()));
}

struct Layer {
  Tensor wq, bq, wk, bk, wv, bv, wo, bo, gamma1, beta1, w1, b1, w2, b2, gamma2, beta2;
};

int main(int argc, char** argv) {
  Lesson lesson(argc, argv,
                {.title = "Encoder 模块完整实现",
                 .difficulty = "模块拼接逻辑混乱",
                 .remedy = "按自注意力 → Add & Norm → 前馈分步组装，与 BERT 的一层核对",
                 .bugs = {{"no_residual", "注意力之后忘了把 x 加回来"},
                          {"pre_norm", "先归一化再进注意力：那是另一种结构（pre-norm），不是 BERT"},
                          {"relu", "前馈用了 ReLU，BERT 用 GELU"}}});
  lesson.predict("不加残差、不归一化，叠 24 层之后，数的大小（开始是 1）变成多少？", "depth_24_plain");

  // golden：一串数，依次是 x、BERT 的输出、各个权重。由 tools/golden/course_bert_layer.py 用 transformers 做出。
  const NpyArray golden = read_npy(std::filesystem::path(SEDUM_SOURCE_DIR) / "tests/golden/course/bert_layer.npy");
  ThreadPool pool(1);
  Arena arena;
  Context ctx{.pool = &pool, .arena = &arena};
  size_t at = 0;
  const auto next = [&](const Shape& shape) {
    Tensor t = Tensor::empty(arena, DType::kF32, shape);
    for (int64_t i = 0; i < t.count(); ++i) t.data<float>()[i] = golden.values<float>()[at++];
    return t;
  };
  const Tensor x = next({kTokens, kHidden}), wanted = next({kTokens, kHidden});
  const auto square = [&] { return next({kHidden, kHidden}); };
  const auto row = [&] { return next({kHidden}); };
  Layer l;
  l.wq = square(), l.bq = row(), l.wk = square(), l.bk = row(), l.wv = square(), l.bv = row(), l.wo = square(),
  l.bo = row();
  l.gamma1 = row(), l.beta1 = row(), l.w1 = next({kInner, kHidden}), l.b1 = next({kInner}),
  l.w2 = next({kHidden, kInner}), l.b2 = row();
  l.gamma2 = row(), l.beta2 = row();
  const auto linear = [&](const Variable& in, const Tensor& w, const Tensor& b) {
    const Variable bias(b);
    return ops::linear(ctx, in, {Variable(w)}, &bias);
  };
  const auto attention = [&](const Variable& in) {  // (T, hidden) → (T, hidden)
    const AttentionShape shape{.num_heads = kHeads,
                               .num_key_value_heads = kHeads,
                               .head_dim = kHidden / kHeads,
                               .scale = 1 / std::sqrt(float(kHidden / kHeads)),
                               .causal = false};
    const auto segments =
        std::make_shared<const std::vector<AttentionSegment>>(std::vector<AttentionSegment>{{0, kTokens, 0, kTokens}});
    return linear(
        ops::attention(ctx, linear(in, l.wq, l.bq), linear(in, l.wk, l.bk), linear(in, l.wv, l.bv), shape, segments),
        l.wo, l.bo);
  };
  constexpr double kEpsilon = 1e-12;  // BERT 的 layer_norm_eps

  lesson.section("分步组装，每一步看数的大小");
  const Variable in(x);
  const Variable attended =
      attention(lesson.broken("pre_norm") ? layer_norm(ctx, in, l.gamma1, l.beta1, kEpsilon) : in);
  lesson.value("size_attention", size_of(attended), "自注意力的输出");
  const Variable added = lesson.broken("no_residual") ? attended : ops::add(ctx, in, attended);
  lesson.value("size_added", size_of(added), "加上残差");
  const Variable h = layer_norm(ctx, added, l.gamma1, l.beta1, kEpsilon);
  lesson.value("size_normed", size_of(h), "归一化之后");
  const Variable z = linear(h, l.w1, l.b1);
  Variable active = gelu(ctx, z);
  if (lesson.broken("relu"))
    for (int64_t i = 0; i < z.value().count(); ++i)
      active.value().data<float>()[i] = std::max(0.0f, z.value().data<float>()[i]);
  const Variable fed = linear(active, l.w2, l.b2);
  lesson.value("size_feed_forward", size_of(fed), "前馈的输出");
  const Variable y = layer_norm(ctx, ops::add(ctx, h, fed), l.gamma2, l.beta2, kEpsilon);
  lesson.value("size_output", size_of(y), "这一层的输出");

  lesson.section("与 BERT 的一层核对");
  double worst = 0;
  for (int64_t i = 0; i < y.value().count(); ++i)
    worst = std::max(worst, std::abs(double(y.value().data<float>()[i]) - double(wanted.data<float>()[i])));
  lesson.value("difference", worst, "两边都是 f32");
  // 五次乘加的内积（最长 32 项）、两次归一化，数的大小约 3：几百个 ε。
  lesson.at_most("等于 transformers 的 BertLayer，最大的差", worst, 3 * 32 * 5 * 6e-8);

  lesson.section("拆掉一样：叠 24 层，数变成多大");
  // 随机权重，方差使乘法本身不改变大小。没有残差，信号只经过变换；没有归一化，每加一次就大一点。
  const auto depth = [&](bool residual, bool norm) {
    report::Values sizes;
    Variable state(x);
    Tensor ones = Tensor::empty(arena, DType::kF32, {kHidden}), zeros = Tensor::zeros(arena, DType::kF32, {kHidden});
    for (int64_t i = 0; i < kHidden; ++i) ones.data<float>()[i] = 1;
    for (uint32_t layer = 0; layer <= 24; ++layer) {
      sizes.push_back(size_of(state) / size_of(Variable(x)));
      Tensor w = Tensor::empty(arena, DType::kF32, {kHidden, kHidden});
      const Random random(lesson.seed(), Purpose::kTest, layer);
      for (int64_t i = 0; i < w.count(); ++i)
        w.data<float>()[i] = random.normal(uint64_t(i)) / std::sqrt(float(kHidden));
      const Variable moved = gelu(ctx, ops::linear(ctx, state, {Variable(w)}));
      state = residual ? ops::add(ctx, state, moved) : moved;
      if (norm) state = layer_norm(ctx, state, ones, zeros, kEpsilon);
    }
    return sizes;
  };
  const report::Values plain = depth(false, false), only_residual = depth(true, false), both = depth(true, true);
  lesson.value("depth_24_plain", plain.back(), "什么都没有：信号消失");
  lesson.value("depth_24_residual", only_residual.back(), "只有残差：越来越大");
  lesson.value("depth_24_both", both.back(), "残差 + 归一化");
  lesson.at_most("没有残差：信号消失", plain.back(), 1e-2);
  lesson.at_least("只有残差：越来越大", only_residual.back(), 10);
  lesson.between("残差 + 归一化：大小不变", both.back(), 0.5, 2);

  report::Values layers;
  for (int i = 0; i <= 24; ++i) layers.push_back(i);
  report::Plot plot("叠 24 层，数的大小", "层", "相对于输入");
  plot.log_y()
      .line("都没有", layers, plain)
      .line("只有残差", layers, only_residual)
      .line("残差 + 归一化", layers, both)
      .sized({420, 330});
  report::Diagram flow("BERT 的一层");
  using Look = report::Diagram::Look;
  flow.box("x", "x (T, 16)", 0, 0)
      .box("a", "自注意力", 0, 1, Look::kStrong)
      .box("p1", "+", 0, 2, Look::kSoft)
      .box("n1", "LayerNorm", 0, 3);
  flow.box("f", "W₁ → GELU → W₂", 0, 4, Look::kStrong)
      .box("p2", "+", 0, 5, Look::kSoft)
      .box("n2", "LayerNorm → y (T, 16)", 0, 6)
      .gap({30, 18});
  flow.box("r1", "残差", 1, 1, Look::kText).box("r2", "残差", 1, 4, Look::kText);
  flow.arrow("x", "a").arrow("a", "p1").arrow("p1", "n1").arrow("n1", "f").arrow("f", "p2").arrow("p2", "n2");
  flow.arrow("x", "r1", "", true).arrow("r1", "p1", "", true).arrow("n1", "r2", "", true).arrow("r2", "p2", "", true);
  lesson.picture("encoder", report::Figure("", 2).add(flow).add(plot));
  return lesson.finish();
}
