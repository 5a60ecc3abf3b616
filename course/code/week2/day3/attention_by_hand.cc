// 第 2 周第 3 天  自注意力：三个记号，手算一遍
//
//   Attention(Q, K, V) = softmax(Q Kᵀ / √d) V                （Vaswani 等，2017）
//
// 每个记号问一个问题（Q），每个记号有一个标签（K）和一份内容（V）。问题与标签的内积越大，取那份内容就越多。
// 数字选得小，可以用笔跟着算；最后与库里的注意力核对。
#include <cmath>

#include "compute/ops/attention.h"
#include "course/frame/lesson.h"
#include "report/heatmap.h"

using namespace sedum;
using course::Lesson;
using Matrix = std::vector<std::vector<double>>;  // (记号, d)

int main(int argc, char** argv) {
  Lesson lesson(argc, argv,
                {.title = "Transformer：自注意力的手算",
                 .difficulty = "自注意力机制原理模糊",
                 .remedy = "拆解 Q、K、V 的计算，手算三个记号",
                 .bugs = {{"no_scale", "忘了除以 √d"}, {"columns", "softmax 沿列做，而不是沿行"}}});
  lesson.exercise("“吃”问“鱼”：q = (1, 1, 0, 0)，k = (1, 0, 1, 0)，d = 4。分数 q·k / √d 是多少？", "score_eat_fish");
  const std::vector<std::string> words = {"猫", "吃", "鱼"};
  const Matrix q = {{1, 0, 1, 0}, {1, 1, 0, 0}, {0, 1, 0, 1}};  // 问题
  const Matrix k = {{0, 1, 1, 0}, {1, 1, 0, 1}, {1, 0, 1, 0}};  // 标签
  const Matrix v = {{1, 0, 0, 0}, {0, 2, 0, 0}, {0, 0, 3, 0}};  // 内容：看得出来自谁
  const size_t n = 3, d = 4;

  lesson.section("一、分数：S = Q Kᵀ / √d");
  Matrix s(n, std::vector<double>(n));
  for (size_t i = 0; i < n; ++i)
    for (size_t j = 0; j < n; ++j) {
      for (size_t c = 0; c < d; ++c) s[i][j] += q[i][c] * k[j][c];
      if (!lesson.broken("no_scale"))
        s[i][j] /= std::sqrt(double(d));  // 不除的话，d 大时 softmax 几乎只剩一个 1，梯度没了
    }
  lesson.value("score_eat_fish", s[1][2]);

  lesson.section("二、权重：每一行做 softmax");
  Matrix w = s;
  for (size_t i = 0; i < n; ++i) {
    double sum = 0;
    for (size_t j = 0; j < n; ++j) sum += std::exp(lesson.broken("columns") ? s[j][i] : s[i][j]);
    for (size_t j = 0; j < n; ++j)
      (lesson.broken("columns") ? w[j][i] : w[i][j]) = std::exp(lesson.broken("columns") ? s[j][i] : s[i][j]) / sum;
  }
  double worst_row = 0;
  for (const auto& row : w) worst_row = std::max(worst_row, std::abs(row[0] + row[1] + row[2] - 1));
  lesson.value("weight_eat_eat", w[1][1]), lesson.value("weight_eat_fish", w[1][2]);
  lesson.at_most("每一行之和是 1：是在分配注意力", worst_row, 1e-15 * 4);

  lesson.section("三、输出：权重乘内容");
  Matrix out(n, std::vector<double>(d));
  for (size_t i = 0; i < n; ++i)
    for (size_t j = 0; j < n; ++j)
      for (size_t c = 0; c < d; ++c) out[i][c] += w[i][j] * v[j][c];
  for (size_t i = 0; i < n; ++i)
    lesson.say("{}：({:.3f}, {:.3f}, {:.3f}, {:.0f})  = {:.3f}·猫 + {:.3f}·吃 + {:.3f}·鱼", words[i], out[i][0],
               out[i][1], out[i][2], out[i][3], w[i][0], w[i][1], w[i][2]);

  lesson.section("四、与库里的算子核对，没有掩码的和因果的");
  ThreadPool pool(1);
  Arena arena;
  Context ctx{.pool = &pool, .arena = &arena};
  const auto tensor = [&](const Matrix& m) {
    Tensor t = Tensor::empty(arena, DType::kF32, {int64_t(n), int64_t(d)});
    for (size_t i = 0; i < n * d; ++i) t.data<float>()[i] = float(m[i / d][i % d]);
    return Variable(t);
  };
  const auto kernel = [&](bool causal) {
    const AttentionShape shape{
        .num_heads = 1, .num_key_value_heads = 1, .head_dim = int(d), .scale = 0.5f, .causal = causal};
    const auto segments =
        std::make_shared<const std::vector<AttentionSegment>>(std::vector<AttentionSegment>{{0, 3, 0, 3}});
    return ops::attention(ctx, tensor(q), tensor(k), tensor(v), shape, segments);
  };
  const Variable full = kernel(false), causal = kernel(true);
  double worst = 0;
  for (size_t i = 0; i < n * d; ++i)
    worst = std::max(worst, std::abs(double(full.value().data<float>()[i]) - out[i / d][i % d]));
  // f32：三项之和、一次 exp，几个 ε。数的大小不到 3。
  lesson.at_most("手算 = 库里的核，最大的差", worst, 3 * 8 * 6e-8);
  Matrix masked = s;  // 因果：第 i 个记号只看 0 … i
  for (size_t i = 0; i < n; ++i) {
    double sum = 0;
    for (size_t j = 0; j <= i; ++j) sum += std::exp(s[i][j]);
    for (size_t j = 0; j < n; ++j) masked[i][j] = j <= i ? std::exp(s[i][j]) / sum : 0;
  }
  double masked_worst = 0;
  for (size_t i = 0; i < n; ++i)
    for (size_t c = 0; c < d; ++c) {
      double sum = 0;
      for (size_t j = 0; j < n; ++j) sum += masked[i][j] * v[j][c];
      masked_worst = std::max(masked_worst, std::abs(sum - double(causal.value().data<float>()[i * d + c])));
    }
  lesson.at_most("加上因果掩码也相同，最大的差", masked_worst, 3 * 8 * 6e-8);
  lesson.equal("因果：第一个记号只看自己", masked[0][0], 1);

  report::Heatmap scores("分数 Q Kᵀ / √d", s), weights("权重：每行之和为 1", w), mask("因果掩码：不看后面", masked);
  for (report::Heatmap* heat : {&scores, &weights, &mask})
    heat->rows(words, "问").columns(words, "被看").cell({56, 40});
  lesson.picture("attention", report::Figure("三个记号的自注意力", 3).add(scores).add(weights).add(mask));
  return lesson.finish();
}
