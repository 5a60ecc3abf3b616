// 第 2 周第 4 天  多头注意力：维度一步一步对
//
//   head_i = Attention(x W_Qⁱ, x W_Kⁱ, x W_Vⁱ)        MultiHead = concat(head_1 … head_h) W_O
//
// 一个头只有一种“看法”；h 个头各看各的，再拼起来。实现时并不真的做 h 次：一次乘法算出所有头的 Q（宽 h·d），
// 再当作 (T, h, d) 来看。拼接和拆分只是换一种看法，不搬内存；弄错的往往就是这一步。
#include <cmath>
#include <cstring>

#include "base/random.h"
#include "compute/ops/attention.h"
#include "compute/ops/linear.h"
#include "course/frame/lesson.h"
#include "report/diagram.h"

using namespace sedum;
using course::Lesson;

int main(int argc, char** argv) {
  Lesson lesson(argc, argv,
                {.title = "多头注意力",
                 .difficulty = "多头拼接维度计算错误",
                 .remedy = "核对维度变换，打印中间张量，与逐个头的循环对照",
                 .bugs = {{"interleave", "取一个头的列时按“每隔 h 列”取，而头是连续的 d 列"},
                          {"scale", "除以了 √(h·d)，应当是 √d"}}});
  lesson.exercise("hidden = 48，6 个头。每个头的 d 是多少？", "head_dim");
  const int64_t T = 10, hidden = 48, heads = 6, d = hidden / heads;
  ThreadPool pool(1);
  Arena arena;
  Context ctx{.pool = &pool, .arena = &arena};
  const auto normal = [&](const Shape& shape, uint32_t stream, float deviation) {
    Tensor t = Tensor::empty(arena, DType::kF32, shape);
    const Random random(lesson.seed(), Purpose::kTest, stream);
    for (int64_t i = 0; i < t.count(); ++i) t.data<float>()[i] = deviation * random.normal(uint64_t(i));
    return Variable(t);
  };
  const float scale = 1 / std::sqrt(float(hidden));
  const Variable x = normal({T, hidden}, 0, 1), wq = normal({hidden, hidden}, 1, scale),
                 wk = normal({hidden, hidden}, 2, scale), wv = normal({hidden, hidden}, 3, scale),
                 wo = normal({hidden, hidden}, 4, scale);
  const auto segments =
      std::make_shared<const std::vector<AttentionSegment>>(std::vector<AttentionSegment>{{0, T, 0, T}});

  lesson.section("一次算所有的头");
  report::Table table({"张量", "怎么来", "形状"});
  const auto note = [&](const char* name, const char* how, const Variable& v) {
    table.row({name, how, v.shape().text()});
  };
  note("x", "输入", x);
  const Variable q = ops::linear(ctx, x, {wq}), k = ops::linear(ctx, x, {wk}), v = ops::linear(ctx, x, {wv});
  note("Q", "x W_Qᵀ", q), note("K", "x W_Kᵀ", k), note("V", "x W_Vᵀ", v);
  note("Q 按头看", "reshape，不搬内存", Variable(q.value().reshape({T, heads, d})));
  const AttentionShape shape{.num_heads = int(heads),
                             .num_key_value_heads = int(heads),
                             .head_dim = int(d),
                             .scale = 1 / std::sqrt(float(lesson.broken("scale") ? hidden : d)),
                             .causal = false};
  const Variable mixed = ops::attention(ctx, q, k, v, shape, segments);
  note("各头的输出，拼好", "softmax(QKᵀ/√d) V", mixed);
  const Variable out = ops::linear(ctx, mixed, {wo});
  note("输出", "乘 W_Oᵀ", out);
  lesson.table(table);
  lesson.value("head_dim", double(d), "48 / 6");
  lesson.claim("按头看，仍是同一块内存", q.value().reshape({T, heads, d}).shares_storage_with(q.value()));

  lesson.section("一个头一个头地算，用最朴素的循环");
  // 第 h 个头：W_Q 的第 h·d … h·d + d − 1 行。
  std::vector<double> looped(size_t(T * hidden));
  for (int64_t h = 0; h < heads; ++h) {
    const auto project = [&](const Variable& w, int64_t t, int64_t c) {  // 第 t 个记号、这个头的第 c 个分量
      const int64_t row = lesson.broken("interleave") ? c * heads + h : h * d + c;
      double sum = 0;
      for (int64_t i = 0; i < hidden; ++i)
        sum += double(w.value().data<float>()[row * hidden + i]) * double(x.value().data<float>()[t * hidden + i]);
      return sum;
    };
    for (int64_t i = 0; i < T; ++i) {
      std::vector<double> weight(static_cast<size_t>(T));
      double total = 0;
      for (int64_t j = 0; j < T; ++j) {
        double score = 0;
        for (int64_t c = 0; c < d; ++c) score += project(wq, i, c) * project(wk, j, c);
        total += weight[size_t(j)] = std::exp(score / std::sqrt(double(d)));
      }
      for (int64_t c = 0; c < d; ++c)
        for (int64_t j = 0; j < T; ++j)
          looped[size_t(i * hidden + h * d + c)] += weight[size_t(j)] / total * project(wv, j, c);
    }
  }
  double worst = 0;
  for (int64_t i = 0; i < T * hidden; ++i)
    worst = std::max(worst, std::abs(looped[size_t(i)] - double(mixed.value().data<float>()[i])));
  lesson.value("difference", worst);
  // f32：48 项的内积三层（投影、分数、加权），数的大小约 1，几十个 ε。
  lesson.at_most("h 个头 = h 次单头，最大的差", worst, 3 * 48 * 6e-8 * 4);

  lesson.section("参数与计算量");
  lesson.value("parameters", 4.0 * double(hidden * hidden), "W_Q、W_K、W_V、W_O：与头数无关");
  lesson.value("score_operations", 2.0 * double(T * T * hidden), "分数：2 T² · hidden，也与头数无关");

  report::Diagram flow("维度的变化：T = 10，hidden = 48，6 个头，d = 8");
  using Look = report::Diagram::Look;
  flow.box("x", "x\n(10, 48)", 0, 1)
      .box("q", "Q (10, 48)", 1, 0)
      .box("k", "K (10, 48)", 1, 1)
      .box("v", "V (10, 48)", 1, 2);
  flow.box("qh", "(10, 6, 8)", 2, 0, Look::kSoft)
      .box("kh", "(10, 6, 8)", 2, 1, Look::kSoft)
      .box("vh", "(10, 6, 8)", 2, 2, Look::kSoft);
  flow.box("s", "6 张分数表\n(6, 10, 10)", 3, 0.5, Look::kStrong)
      .box("m", "(10, 6, 8)\n= (10, 48)", 4, 1)
      .box("o", "输出\n(10, 48)", 5, 1);
  flow.arrow("x", "q", "W_Q")
      .arrow("x", "k", "W_K")
      .arrow("x", "v", "W_V")
      .arrow("q", "qh")
      .arrow("k", "kh")
      .arrow("v", "vh");
  flow.arrow("qh", "s").arrow("kh", "s").arrow("s", "m", "softmax").arrow("vh", "m").arrow("m", "o", "W_O");
  lesson.picture("shapes", flow);
  return lesson.finish();
}
