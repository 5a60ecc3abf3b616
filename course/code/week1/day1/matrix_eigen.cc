// 第 1 周第 1 天  特征值分解的几何意义
//
//   A v = λ v
//
// 矩阵 A 一般既转动又拉伸向量；特征向量 v 是少数几个“只被拉伸、不被转动”的方向，特征值 λ 是拉伸的倍数。
// 本课先画图，再写一个真正的特征值算法（带位移的 QR 迭代），最后看三种麻烦：不对称、复特征值、缺少特征向量。
#include <cmath>
#include <complex>
#include <limits>
#include <numbers>

#include "base/random.h"
#include "course/frame/lesson.h"
#include "report/plot.h"

using namespace sedum;
using course::Lesson;
using Complex = std::complex<double>;
using Vector = std::vector<Complex>;
using Matrix = std::vector<Vector>;  // A[i][j]：第 i 行第 j 列，(n, n)

struct Eigen {
  Vector values;   // λ_k
  Matrix vectors;  // vectors[k]：长度为 1 的 v_k
  int sweeps = 0;  // QR 迭代了几次
};

double norm(const Matrix& a) {  // Frobenius 范数：所有元素平方和的平方根
  double sum = 0;
  for (const Vector& row : a)
    for (const Complex x : row) sum += std::norm(x);
  return std::sqrt(sum);
}

// 把 A 变成上三角 T = Qᴴ A Q，Q 酉（实数时就是正交）。相似变换不改变特征值，而上三角矩阵的特征值就写在对角线上。
// 每一步：T − μI = QR，然后 T ← RQ + μI = Qᴴ(T − μI)Q + μI。位移 μ 取右下角 2×2 块的特征值，收敛就快得多（Wilkinson）。
Eigen eigen(const Matrix& a, const Lesson& lesson) {
  const int n = int(a.size());
  const double tiny = std::numeric_limits<double>::epsilon() * norm(a);
  Matrix t = a, q(n, Vector(n));
  for (int i = 0; i < n; ++i) q[i][i] = 1;
  Eigen result;
  for (int m = n - 1; m > 0;) {  // 第 m 行对角线左边都成了 0，λ_m 就定了
    double left = 0;
    for (int j = 0; j < m; ++j) left += std::abs(t[m][j]);
    if (left <= tiny || result.sweeps > 200 * n) {
      for (int j = 0; j < m; ++j) t[m][j] = 0;
      --m;
      continue;
    }
    ++result.sweeps;
    const Complex half = (t[m - 1][m - 1] + t[m][m]) / 2.0;
    const Complex root = std::sqrt(half * half - t[m - 1][m - 1] * t[m][m] + t[m - 1][m] * t[m][m - 1]);
    Complex mu = std::abs(half + root - t[m][m]) < std::abs(half - root - t[m][m]) ? half + root : half - root;
    if (result.sweeps % 11 == 10) mu += left;  // 少见的原地打转：换一个位移
    for (int i = 0; i < n; ++i) t[i][i] -= mu;
    struct Rotation {
      int i, j;
      Complex c, s;
    };
    std::vector<Rotation> rotations;
    for (int j = 0; j < m; ++j) {  // Givens 旋转：转第 j、i 行，使 t[i][j] = 0
      for (int i = j + 1; i <= m; ++i) {
        const double length = std::hypot(std::abs(t[j][j]), std::abs(t[i][j]));
        if (length == 0) continue;
        const Complex c = t[j][j] / length, s = t[i][j] / length;
        for (int k = 0; k < n; ++k) {
          const Complex x = t[j][k], y = t[i][k];
          t[j][k] = std::conj(c) * x + std::conj(s) * y;
          t[i][k] = -s * x + c * y;
        }
        rotations.push_back({i, j, c, s});
      }
    }
    for (const Rotation& r : rotations)  // 右乘 Q：同样的旋转作用在列上
      for (Matrix* matrix : {&t, &q})
        for (Vector& row : *matrix) {
          const Complex x = row[r.j], y = row[r.i];
          row[r.j] = x * r.c + y * r.s;
          row[r.i] = -x * std::conj(r.s) + y * std::conj(r.c);
        }
    if (!lesson.broken("shift"))
      for (int i = 0; i < n; ++i) t[i][i] += mu;
  }
  // (T − λ_k I) y = 0 从下往上解，v = Q y。分母为 0（重特征值）时用 ε‖A‖ 代替，误差仍是 ε‖A‖ 这一级。
  for (int k = 0; k < n; ++k) {
    Vector y(n), v(n);
    y[k] = 1;
    for (int i = k - 1; i >= 0; --i) {
      Complex sum = 0, below = t[i][i] - t[k][k];
      for (int j = i + 1; j <= k; ++j) sum += t[i][j] * y[j];
      y[i] = -sum / (std::abs(below) < tiny ? Complex(tiny) : below);
    }
    double length = 0;
    for (int i = 0; i < n; ++i) {
      for (int j = 0; j < n; ++j) v[i] += (lesson.broken("adjoint") ? std::conj(q[j][i]) : q[i][j]) * y[j];
      length = std::hypot(length, std::abs(v[i]));
    }
    for (Complex& x : v) x /= length;
    result.values.push_back(lesson.broken("order") ? t[n - 1 - k][n - 1 - k] : t[k][k]);
    result.vectors.push_back(v);
  }
  return result;
}

// max_k ‖A v_k − λ_k v_k‖ / (ε ‖A‖)：定义本身就是检验。
double residual(const Matrix& a, const Eigen& e) {
  double worst = 0;
  for (size_t k = 0; k < a.size(); ++k) {
    double sum = 0;
    for (size_t i = 0; i < a.size(); ++i) {
      Complex r = -e.values[k] * e.vectors[k][i];
      for (size_t j = 0; j < a.size(); ++j) r += a[i][j] * e.vectors[k][j];
      sum += std::norm(r);
    }
    worst = std::max(worst, std::sqrt(sum));
  }
  return worst / (std::numeric_limits<double>::epsilon() * norm(a));
}

// 单位圆 (cos t, sin t) 和它的像 A (cos t, sin t)；箭头是实特征向量 v 和 A v。
report::Plot circle(const std::string& title, const Matrix& a, const Eigen& e) {
  report::Values x, y, ax, ay;
  for (int i = 0; i <= 120; ++i) {
    const double t = 2 * std::numbers::pi * i / 120, c = std::cos(t), s = std::sin(t);
    x.push_back(c), y.push_back(s);
    ax.push_back(a[0][0].real() * c + a[0][1].real() * s), ay.push_back(a[1][0].real() * c + a[1][1].real() * s);
  }
  report::Plot plot(title, "x₁", "x₂");
  plot.line("单位圆 x", x, y).line("它的像 A x", ax, ay).equal().sized({330, 330});
  bool first = true;
  for (int k = 0; k < 2; ++k) {
    if (std::abs(e.values[k].imag()) > 1e-9) continue;
    const double vx = e.vectors[k][0].real(), vy = e.vectors[k][1].real(), l = e.values[k].real();
    plot.arrow({0, 0}, {l * vx, l * vy}, first ? "A v = λ v" : "");
    plot.note({(l + 0.12) * vx, (l + 0.12) * vy + 0.12}, "λ = " + report::short_number(l));
    if (k == 0) plot.like_previous();
    first = false;
  }
  return plot;
}

int main(int argc, char** argv) {
  Lesson lesson(argc, argv,
                {.title = "矩阵运算、特征值分解",
                 .difficulty = "特征值分解的几何意义模糊",
                 .remedy = "把单位圆画成椭圆，看哪些方向没有被转动",
                 .bugs = {{"shift", "QR 一步之后忘了把位移 μ 加回对角线"},
                          {"adjoint", "特征向量用了 Qᴴ y，应当是 Q y"},
                          {"order", "特征值和特征向量没有配成对：次序反了"}}});
  lesson.exercise("A = [[2, 1], [1, 2]]，较大的特征值是多少？", "symmetric_large");
  lesson.exercise("B = [[2, 1], [0, 1]] 不对称。较小的特征值？", "triangular_small");
  lesson.exercise("旋转 90°：R = [[0, −1], [1, 0]]。特征值的虚部（取正的）？", "rotation_imaginary");
  const double epsilon = std::numeric_limits<double>::epsilon();

  lesson.section("四个 2×2 矩阵：圆变成什么");
  const std::vector<std::pair<std::string, Matrix>> cases = {
      {"对称：两个特征向量垂直，就是椭圆的轴", {{2, 1}, {1, 2}}},
      {"不对称：特征向量不垂直，也不是椭圆的轴", {{2, 1}, {0, 1}}},
      {"旋转 90°：没有不被转动的实方向", {{0, -1}, {1, 0}}},
      {"剪切（亏损）：两个特征值，一个方向", {{1, 1}, {0, 1}}}};
  report::Figure figure("A v = λ v：只被拉伸、不被转动的方向", 2);
  std::vector<Eigen> solved;
  for (const auto& [name, a] : cases) {
    solved.push_back(eigen(a, lesson));
    figure.add(circle(name, a, solved.back()));
    // 舍入误差的账：每次 QR 有至多 n²/2 个旋转，每个旋转使两行的相对误差不超过约 6ε；再加上解三角方程的 nε 和代替 0 的 1ε。
    const double n = 2, c = 3 * n * n * (solved.back().sweeps + 1) + n;
    lesson.at_most(name + "：‖Av − λv‖ / (ε‖A‖)", residual(a, solved.back()), c);
  }
  lesson.picture("ellipse", figure);
  const auto sorted = [](const Eigen& e, bool large) {
    return large == (e.values[0].real() > e.values[1].real()) ? e.values[0].real() : e.values[1].real();
  };
  lesson.value("symmetric_large", sorted(solved[0], true), "λ² − 4λ + 3 = (λ − 3)(λ − 1)");
  lesson.value("symmetric_small", sorted(solved[0], false));
  lesson.value("triangular_small", sorted(solved[1], false), "三角矩阵：特征值就是对角线");
  lesson.value("rotation_imaginary", std::abs(solved[2].values[0].imag()), "λ = cos 90° ± i sin 90°");

  lesson.section("特征向量之间的夹角");
  const auto cosine = [](const Eigen& e) {
    return std::abs(std::conj(e.vectors[0][0]) * e.vectors[1][0] + std::conj(e.vectors[0][1]) * e.vectors[1][1]);
  };
  lesson.at_most("对称矩阵的特征向量互相垂直：|cos|", cosine(solved[0]), 100 * epsilon);
  lesson.value("triangular_cosine", cosine(solved[1]), "不对称：夹角 45°，|cos| = 1/√2");
  lesson.at_least("亏损矩阵只有一个方向：|cos|", cosine(solved[3]), 1 - 1e-12);

  lesson.section("更大的矩阵：同一个算法");
  // 友矩阵：特征多项式是 (λ−1)(λ−2)(λ−3)(λ−4) = λ⁴ − 10λ³ + 35λ² − 50λ + 24，所以答案是 1、2、3、4。
  const Matrix companion = {{10, -35, 50, -24}, {1, 0, 0, 0}, {0, 1, 0, 0}, {0, 0, 1, 0}};
  const Eigen planted = eigen(companion, lesson);
  double worst = 0;
  for (int k = 1; k <= 4; ++k) {
    double nearest = 1e300;
    for (const Complex l : planted.values) nearest = std::min(nearest, std::abs(l - double(k)));
    worst = std::max(worst, nearest);
  }
  // 这些特征值的条件数不到 10⁴，乘上 ε‖A‖ ≈ 1.5e-14 的后向误差。
  lesson.at_most("友矩阵的特征值是 1、2、3、4", worst, 1e-9);
  const int n = lesson.quick() ? 6 : 24;
  const Random random(lesson.seed(), Purpose::kTest);
  Matrix big(n, Vector(n));
  Complex trace = 0, sum = 0;
  for (int i = 0; i < n; ++i)
    for (int j = 0; j < n; ++j) big[i][j] = random.normal(uint64_t(i * n + j));
  const Eigen many = eigen(big, lesson);
  for (int k = 0; k < n; ++k) trace += big[k][k], sum += many.values[k];
  lesson.value("random_size", n);
  lesson.value("random_sweeps", many.sweeps, "QR 迭代次数：每个特征值两三次");
  lesson.value("random_residual", residual(big, many), "以 ε‖A‖ 为单位");
  lesson.at_most("随机矩阵：‖Av − λv‖ / (ε‖A‖)", residual(big, many), 3.0 * n * n * (many.sweeps + 1));
  lesson.at_most("特征值之和等于迹", std::abs(trace - sum), 3.0 * n * n * (many.sweeps + 1) * epsilon * norm(big));
  return lesson.finish();
}
