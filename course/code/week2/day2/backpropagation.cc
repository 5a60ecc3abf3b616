// 第 2 周第 2 天  反向传播：逐层求导
//
//   z₁ = W₁ x + b₁    a₁ = tanh z₁    z₂ = W₂ a₁ + b₂    p = softmax z₂    L = −log p[y]
//
// 链式法则从后往前：每一层只做两件事，用后面传来的 δ 算自己参数的梯度，再把 δ 传给前一层。
//
//   δ₂ = p − onehot(y)      dW₂ = δ₂ a₁ᵀ      δ₁ = (W₂ᵀ δ₂) ⊙ (1 − a₁²)      dW₁ = δ₁ xᵀ
//
// 手写一遍，再与两个独立的答案对照：有限差分（只用到 L 的定义），和库里的自动求导。
#include <cmath>

#include "base/random.h"
#include "compute/ops/elementwise.h"
#include "compute/ops/linear.h"
#include "compute/ops/loss.h"
#include "course/frame/lesson.h"
#include "report/diagram.h"

using namespace sedum;
using course::Lesson;
using Vector = std::vector<double>;
using Matrix = std::vector<Vector>;

struct Network {
  Matrix w1;  // (4, 3)
  Vector b1;  // (4)
  Matrix w2;  // (3, 4)
  Vector b2;  // (3)
};

Vector affine(const Matrix& w, const Vector& x, const Vector& b) {
  Vector z = b;
  for (size_t i = 0; i < w.size(); ++i)
    for (size_t j = 0; j < x.size(); ++j) z[i] += w[i][j] * x[j];
  return z;
}
Vector softmax(Vector z) {
  double sum = 0;
  for (double& v : z) v = std::exp(v), sum += v;
  for (double& v : z) v /= sum;
  return z;
}
Vector hidden(const Network& n, const Vector& x) {
  Vector a = affine(n.w1, x, n.b1);
  for (double& v : a) v = std::tanh(v);
  return a;
}
double loss(const Network& n, const Vector& x, int y) {
  return -std::log(softmax(affine(n.w2, hidden(n, x), n.b2))[size_t(y)]);
}

int main(int argc, char** argv) {
  Lesson lesson(argc, argv,
                {.title = "反向传播",
                 .difficulty = "链式求导步骤繁琐",
                 .remedy = "拆成一层一层，每层只算两件事",
                 .bugs = {{"derivative", "tanh 的导数写成了 1 − a，少了平方"},
                          {"transpose", "往回传时用了 W₂ 而不是它的转置（取错了下标）"},
                          {"onehot", "δ₂ 忘了减去正确答案的 1"}}});
  lesson.exercise("p = (0.2, 0.5, 0.3)，正确答案是第 0 类。δ₂ 的第 0 个分量是多少？", "delta_example");
  const Random random(lesson.seed(), Purpose::kTest);
  uint64_t drawn = 0;
  const auto normal = [&](size_t rows, size_t cols) {
    Matrix m(rows, Vector(cols));
    for (Vector& row : m)
      for (double& v : row) v = random.normal(drawn++);
    return m;
  };
  Network n{normal(4, 3), normal(1, 4)[0], normal(3, 4), normal(1, 3)[0]};
  const Vector x = normal(1, 3)[0];
  const int y = 0;

  lesson.section("前向：一层一层");
  const Vector a1 = hidden(n, x), p = softmax(affine(n.w2, a1, n.b2));
  lesson.say("x (3) → z₁ (4) → a₁ (4) → z₂ (3) → p (3) = ({:.3f}, {:.3f}, {:.3f})", p[0], p[1], p[2]);
  lesson.value("loss", loss(n, x, y), "−log p[0]");
  lesson.value("delta_example", 0.2 - 1, "p − onehot");

  lesson.section("反向：从后往前");
  Vector delta2 = p;
  if (!lesson.broken("onehot")) delta2[size_t(y)] -= 1;
  Network g = n;  // 梯度，形状与参数相同
  for (size_t i = 0; i < 3; ++i) {
    g.b2[i] = delta2[i];
    for (size_t j = 0; j < 4; ++j) g.w2[i][j] = delta2[i] * a1[j];  // dW₂ = δ₂ a₁ᵀ
  }
  Vector delta1(4);
  for (size_t j = 0; j < 4; ++j) {
    for (size_t i = 0; i < 3; ++i)
      delta1[j] += (lesson.broken("transpose") ? n.w2[j % 3][i] : n.w2[i][j]) * delta2[i];  // W₂ᵀ δ₂
    delta1[j] *= lesson.broken("derivative") ? 1 - a1[j] : 1 - a1[j] * a1[j];               // tanh'
    g.b1[j] = delta1[j];
    for (size_t k = 0; k < 3; ++k) g.w1[j][k] = delta1[j] * x[k];  // dW₁ = δ₁ xᵀ
  }

  lesson.section("对照一：有限差分");
  // (L(θ + h) − L(θ − h)) / 2h，误差是 O(h²) 的截断加 O(ε/h) 的舍入；h = 1e-5 时两者都在 1e-10 上下。
  report::Table table({"参数", "手算", "有限差分", "差"});
  double worst = 0;
  const auto compare = [&](const std::string& name, double& parameter, double by_hand) {
    const double h = 1e-5, kept = parameter;
    parameter = kept + h;
    const double up = loss(n, x, y);
    parameter = kept - h;
    const double down = loss(n, x, y);
    parameter = kept;
    const double numeric = (up - down) / (2 * h);
    worst = std::max(worst, std::abs(numeric - by_hand));
    table.row({name, fmt::format("{:.6f}", by_hand), fmt::format("{:.6f}", numeric),
               fmt::format("{:.0e}", std::abs(numeric - by_hand))});
  };
  for (size_t i = 0; i < 3; ++i)
    for (size_t j = 0; j < 4; ++j) compare(fmt::format("W₂[{}][{}]", i, j), n.w2[i][j], g.w2[i][j]);
  for (size_t i = 0; i < 3; ++i) compare(fmt::format("b₂[{}]", i), n.b2[i], g.b2[i]);
  for (size_t j = 0; j < 4; ++j)
    for (size_t k = 0; k < 3; ++k) compare(fmt::format("W₁[{}][{}]", j, k), n.w1[j][k], g.w1[j][k]);
  for (size_t j = 0; j < 4; ++j) compare(fmt::format("b₁[{}]", j), n.b1[j], g.b1[j]);
  lesson.table(table);
  lesson.value("parameters", double(table.rows()));
  lesson.at_most("手算 = 有限差分，最大的差", worst, 1e-8);

  lesson.section("对照二：库里的自动求导");
  // 磁带记下每个算子，再倒着走一遍：与上面做的是同一件事。tanh z = 2 σ(2z) − 1；这里用 silu 拼：σ(u) = silu(u) / u。
  // 因此只对照第二层：把 a₁ 当作输入。
  ThreadPool pool(1);
  Arena arena;
  Tape tape;
  Context ctx{.pool = &pool, .arena = &arena, .tape = &tape};
  const auto tensor = [&](const Matrix& m, const Shape& shape) {
    Tensor t = Tensor::empty(arena, DType::kF64, shape);
    int64_t at = 0;
    for (const Vector& row : m)
      for (const double v : row) t.data<double>()[at++] = v;
    return t;
  };
  const Variable input = Variable::parameter(tensor({a1}, {1, 4}), "a1"),
                 w2 = Variable::parameter(tensor(n.w2, {3, 4}), "w2"),
                 b2 = Variable::parameter(tensor({n.b2}, {3}), "b2");
  const Variable logits = ops::linear(ctx, input, {w2}, &b2);
  const Variable l =
      ops::cross_entropy(ctx, logits, std::make_shared<const std::vector<int32_t>>(std::vector<int32_t>{y}), 1);
  tape.backward(ctx, l);
  double tape_worst = std::abs(*l.value().data<double>() - loss(n, x, y));
  for (size_t i = 0; i < 3; ++i)
    for (size_t j = 0; j < 4; ++j)
      tape_worst = std::max(tape_worst, std::abs(w2.gradient().data<double>()[i * 4 + j] - g.w2[i][j]));
  for (size_t j = 0; j < 4; ++j) {  // 传回来的是 W₂ᵀ δ₂；再乘 tanh' 就是 δ₁
    const double back = input.gradient().data<double>()[j] * (1 - a1[j] * a1[j]);
    tape_worst = std::max(tape_worst, std::abs(back - g.b1[j]));
  }
  lesson.at_most("手算 = 自动求导，最大的差", tape_worst, 1e-12);

  report::Diagram flow("前向（实线）与反向（虚线）");
  flow.box("x", "x (3)", 0, 0)
      .box("z1", "W₁ x + b₁\n(4)", 1, 0, report::Diagram::Look::kStrong)
      .box("a1", "tanh\n(4)", 2, 0);
  flow.box("z2", "W₂ a₁ + b₂\n(3)", 3, 0, report::Diagram::Look::kStrong)
      .box("p", "softmax\n(3)", 4, 0)
      .box("l", "L", 5, 0);
  flow.arrow("x", "z1").arrow("z1", "a1").arrow("a1", "z2").arrow("z2", "p").arrow("p", "l");
  flow.box("g1", "dW₁ = δ₁ xᵀ", 1, 1, report::Diagram::Look::kSoft)
      .box("d1", "δ₁ = W₂ᵀδ₂ ⊙ (1 − a₁²)", 2, 1, report::Diagram::Look::kDashed);
  flow.box("g2", "dW₂ = δ₂ a₁ᵀ", 3, 1, report::Diagram::Look::kSoft)
      .box("d2", "δ₂ = p − onehot", 4, 1, report::Diagram::Look::kDashed);
  flow.arrow("l", "d2", "", true).arrow("d2", "g2", "", true).arrow("g2", "d1", "", true).arrow("d1", "g1", "", true);
  lesson.picture("flow", flow);
  return lesson.finish();
}
