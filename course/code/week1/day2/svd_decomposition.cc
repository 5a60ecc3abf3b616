// 第 1 周第 2 天  奇异值分解（SVD）
//
//   A = U Σ Vᵀ        A (m, n)   U (m, m)   Σ (m, n)   V (n, n)
//
// U 的列是“输出方向”，和 A 的列一样长（m）；V 的列是“输入方向”，和 A 的行一样长（n）。A 把第 i 个输入方向变成第 i 个输出方向，
// 拉伸 σ_i 倍：A v_i = σ_i u_i。先用一个 2×3 的小矩阵一步一步算，再写通用的算法，最后看 SVD 为什么重要：最好的低秩近似。
#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "base/error.h"
#include "base/random.h"
#include "course/frame/lesson.h"
#include "report/heatmap.h"
#include "report/plot.h"

using namespace sedum;
using course::Lesson;
using Matrix = std::vector<std::vector<double>>;  // a[i][j]：第 i 行第 j 列

Matrix zeros(size_t rows, size_t columns) { return Matrix(rows, std::vector<double>(columns)); }

Matrix transpose(const Matrix& a) {
  Matrix t = zeros(a[0].size(), a.size());
  for (size_t i = 0; i < a.size(); ++i)
    for (size_t j = 0; j < a[0].size(); ++j) t[j][i] = a[i][j];
  return t;
}

Matrix product(const Matrix& a, const Matrix& b) {  // (m, k) (k, n) → (m, n)
  if (a[0].size() != b.size())
    throw ApiError("product",
                   fmt::format("({}, {}) 乘 ({}, {})：中间两个数不相等", a.size(), a[0].size(), b.size(), b[0].size()));
  Matrix c = zeros(a.size(), b[0].size());
  for (size_t i = 0; i < a.size(); ++i)
    for (size_t k = 0; k < b.size(); ++k)
      for (size_t j = 0; j < b[0].size(); ++j) c[i][j] += a[i][k] * b[k][j];
  return c;
}

Matrix minus(Matrix a, const Matrix& b) {
  for (size_t i = 0; i < a.size(); ++i)
    for (size_t j = 0; j < a[0].size(); ++j) a[i][j] -= b[i][j];
  return a;
}

double norm(const Matrix& a) {  // ‖A‖_F
  double sum = 0;
  for (const auto& row : a) sum += std::inner_product(row.begin(), row.end(), row.begin(), 0.0);
  return std::sqrt(sum);
}

double from_identity(const Matrix& q) {  // ‖QᵀQ − I‖
  Matrix gram = product(transpose(q), q);
  for (size_t i = 0; i < gram.size(); ++i) gram[i][i] -= 1;
  return norm(gram);
}

struct Svd {
  Matrix u;                   // (m, r)，列两两垂直，r = n
  std::vector<double> sigma;  // 从大到小
  Matrix v;                   // (n, n)
};

// 单边 Jacobi（Hestenes 1958），m ≥ n：每次转动 A 的两列 p、q，使它们垂直；同样的转动记在 V 里。转到所有列两两垂直时，
// A V 的列就是 σ_i u_i：列的长度是奇异值，方向是 u_i。
Svd svd(Matrix a, const Lesson& lesson) {
  const size_t m = a.size(), n = a[0].size();
  Matrix v = zeros(n, n);
  for (size_t i = 0; i < n; ++i) v[i][i] = 1;
  for (bool rotated = true; rotated;) {
    rotated = false;
    for (size_t p = 0; p + 1 < n; ++p)
      for (size_t q = p + 1; q < n; ++q) {
        double pp = 0, qq = 0, pq = 0;
        for (const auto& row : a) pp += row[p] * row[p], qq += row[q] * row[q], pq += row[p] * row[q];
        if (std::abs(pq) <= 4e-16 * std::sqrt(pp * qq)) continue;
        const double zeta = (qq - pp) / (2 * pq), t = std::copysign(1 / (std::abs(zeta) + std::hypot(1, zeta)), zeta);
        const double c = 1 / std::hypot(1, t), s = c * t;
        for (Matrix* matrix : {&a, &v})
          for (auto& row : *matrix) {
            const double x = row[p], y = row[q];
            row[p] = c * x - s * y, row[q] = s * x + c * y;
          }
        rotated = true;
      }
  }
  Svd result{zeros(m, n), {}, zeros(n, n)};
  std::vector<double> lengths(n);
  for (size_t j = 0; j < n; ++j)
    for (size_t i = 0; i < m; ++i) lengths[j] = std::hypot(lengths[j], a[i][j]);
  std::vector<size_t> order(n);
  std::iota(order.begin(), order.end(), 0);
  if (!lesson.broken("order")) std::ranges::sort(order, [&](size_t x, size_t y) { return lengths[x] > lengths[y]; });
  for (size_t k = 0; k < n; ++k) {
    const size_t j = order[k];
    result.sigma.push_back(lengths[j]);
    for (size_t i = 0; i < m; ++i) result.u[i][k] = lengths[j] > 0 ? a[i][j] / lengths[j] : 0;
    for (size_t i = 0; i < n; ++i) result.v[i][k] = v[i][j];
  }
  return result;
}

// A_k = Σ_{i<k} σ_i u_i v_iᵀ
Matrix rank_k(const Svd& s, size_t k) {
  Matrix a = zeros(s.u.size(), s.v.size());
  for (size_t r = 0; r < k; ++r)
    for (size_t i = 0; i < a.size(); ++i)
      for (size_t j = 0; j < a[0].size(); ++j) a[i][j] += s.sigma[r] * s.u[i][r] * s.v[j][r];
  return a;
}

int main(int argc, char** argv) {
  Lesson lesson(argc, argv,
                {.title = "SVD 分解：公式推导与实现",
                 .difficulty = "U、V 矩阵的顺序混淆",
                 .remedy = "用 2×3 的小矩阵手动计算：形状一对，顺序就对",
                 .bugs = {{"swap", "方阵时把 U 和 V 交换了：形状看不出来，乘积变成了 Aᵀ"},
                          {"root", "奇异值忘了开平方：σ² 是 AAᵀ 的特征值，σ 才是奇异值"},
                          {"order", "奇异值没有从大到小排：前 k 个不再是最重要的 k 个"}}});
  lesson.exercise("A = [[3, 2, 2], [2, 3, −2]]，AAᵀ = [[17, 8], [8, 17]]。最大的奇异值？", "sigma_1");
  const double epsilon = std::numeric_limits<double>::epsilon();

  lesson.section("手算 2×3");
  const Matrix a = {{3, 2, 2}, {2, 3, -2}};
  const Matrix aat = product(a, transpose(a));  // 第一步：AAᵀ (2, 2)
  // 第二步：它的特征值 λ = 17 ± 8，特征向量 (1, ±1)/√2 是 u；σ = √λ。
  const double lambda[2] = {aat[0][0] + aat[0][1], aat[0][0] - aat[0][1]}, half = 1 / std::sqrt(2.0);
  const Matrix u = {{half, half}, {half, -half}};
  const double s[2] = {lesson.broken("root") ? lambda[0] : std::sqrt(lambda[0]), std::sqrt(lambda[1])};
  lesson.value("sigma_1", s[0], "√25");
  lesson.value("sigma_2", s[1], "√9");
  Matrix v = zeros(3, 3), sigma = zeros(2, 3);  // 第三步：v_i = Aᵀ u_i / σ_i
  for (int k = 0; k < 2; ++k) {
    sigma[k][k] = s[k];
    for (int i = 0; i < 3; ++i)
      for (int j = 0; j < 2; ++j) v[i][k] += a[j][i] * u[j][k] / s[k];
  }
  for (int i = 0; i < 3; ++i) {  // 第四步：v₃ = v₁ × v₂，A 把这个方向压成 0
    const int j = (i + 1) % 3, k = (i + 2) % 3;
    v[i][2] = v[j][0] * v[k][1] - v[k][0] * v[j][1];
  }
  lesson.equal("U 是 2×2：行数", double(u.size()), 2);
  lesson.equal("V 是 3×3：行数", double(v.size()), 3);
  const double scale = epsilon * norm(a);  // 每个元素不超过 3 次乘加，误差以 ε‖A‖ 计
  lesson.at_most("A = U Σ Vᵀ：误差 / (ε‖A‖)", norm(minus(product(product(u, sigma), transpose(v)), a)) / scale, 20);
  lesson.at_most("U 的列互相垂直、长度为 1", from_identity(u) / epsilon, 20);
  lesson.at_most("V 的列互相垂直、长度为 1", from_identity(v) / epsilon, 20);
  report::Figure steps("A = U Σ Vᵀ，形状 (2,3) = (2,2)(2,3)(3,3)", 4);
  for (const auto& [name, m] : {std::pair{"A =", a}, {"U ·", u}, {"Σ ·", sigma}, {"Vᵀ", transpose(v)}})
    steps.add(report::Heatmap(name, m));
  lesson.picture("steps", steps);

  lesson.section("顺序错了会怎样");
  std::string refused;
  try {
    product(product(v, sigma), transpose(u));
  } catch (const ApiError& error) {
    refused = error.what();
  }
  lesson.say("  V Σ Uᵀ → {}", refused);
  lesson.claim("2×3：交换 U、V 会被形状拦住", !refused.empty());
  const Matrix square = {{1, 2}, {3, 4}};
  Svd small = svd(square, lesson);
  if (lesson.broken("swap")) std::swap(small.u, small.v);
  const Svd swapped{small.v, small.sigma, small.u};
  lesson.at_most("2×2：U Σ Vᵀ 是 A", norm(minus(rank_k(small, 2), square)), 50 * epsilon * norm(square));
  lesson.at_most("2×2：交换之后形状仍然通过，得到的却是 Aᵀ", norm(minus(rank_k(swapped, 2), transpose(square))),
                 50 * epsilon * norm(square));
  lesson.value("swap_error", norm(minus(rank_k(swapped, 2), square)), "‖V Σ Uᵀ − A‖ = ‖Aᵀ − A‖ = √2");

  lesson.section("最好的低秩近似（Eckart–Young）");
  const int n = 32;  // 一幅图：圆环和斜线，加一点噪声
  const Random random(lesson.seed(), Purpose::kTest);
  Matrix image = zeros(n, n);
  for (int i = 0; i < n; ++i)
    for (int j = 0; j < n; ++j) {
      const double ring = std::exp(-std::pow(std::hypot(i - 15.5, j - 15.5) - 10, 2) / 6),
                   stripe = std::exp(-std::pow(i - j, 2) / 8.0);
      image[i][j] = std::max(ring, stripe) + 0.03 * random.normal(uint64_t(i * n + j));
    }
  const Svd full = svd(image, lesson);
  report::Values ks, optimal, best_random;
  double formula_error = 0, spectral_error = 0, advantage = 1e300;
  for (size_t k = 1; k <= 16; ++k) {
    const Matrix left = minus(image, rank_k(full, k));
    double tail = 0;
    for (size_t i = k; i < full.sigma.size(); ++i) tail += full.sigma[i] * full.sigma[i];
    formula_error = std::max(formula_error, std::abs(norm(left) - std::sqrt(tail)) / norm(image));
    spectral_error = std::max(spectral_error, std::abs(svd(left, lesson).sigma[0] - full.sigma[k]) / full.sigma[0]);
    // 对手：随机的 k 维子空间里最好的近似 QQᵀA（Q 由随机矩阵的 SVD 得到），取若干次中最小的误差。
    double least = 1e300;
    for (int trial = 0; trial < (lesson.quick() ? 4 : 40); ++trial) {
      Matrix mixed = zeros(n, k);  // A 的列的随机组合，所以子空间并不差
      for (size_t c = 0; c < k; ++c)
        for (int j = 0; j < n; ++j) {
          const double weight = random.normal(1000000 + ((k * 100 + uint64_t(trial)) * 40 + c) * n + uint64_t(j));
          for (int i = 0; i < n; ++i) mixed[i][c] += image[i][j] * weight;
        }
      const Matrix q = svd(mixed, lesson).u;
      least = std::min(least, norm(minus(image, product(q, product(transpose(q), image)))));
    }
    ks.push_back(double(k)), optimal.push_back(norm(left) / norm(image)), best_random.push_back(least / norm(image));
    advantage = std::min(advantage, least / norm(left));
  }
  // n 阶矩阵的几次扫描：误差以 n·ε 计，留十倍。
  lesson.at_most("‖A − A_k‖_F = √(σ²_{k+1} + … + σ²_n)", formula_error, 10 * n * epsilon);
  lesson.at_most("‖A − A_k‖₂ = σ_{k+1}", spectral_error, 10 * n * epsilon);
  lesson.at_least("没有随机子空间胜过前 k 个奇异方向：误差之比", advantage, 1 - 1e-12);
  lesson.value("rank_1_error", optimal[0], "‖A − A₁‖ / ‖A‖");
  lesson.value("rank_8_error", optimal[7]);
  lesson.value("rank_8_numbers", 8.0 * (n + n + 1) / (n * n), "秩 8 要存的数，占原来的多少");
  report::Figure figure("秩 k 近似：前几个奇异方向抓住了大部分", 3);
  report::Plot curve("误差随 k 下降", "秩 k", "‖A − A_k‖ / ‖A‖");
  curve.line("SVD：前 k 个方向", ks, optimal).line("随机子空间中最好的", ks, best_random).log_y().sized({300, 262});
  figure.add(curve);
  for (const size_t k : {1, 2, 4, 8, n})
    figure.add(report::Heatmap(k == n ? "原图" : fmt::format("秩 {}", k), rank_k(full, k))
                   .digits(0)
                   .cell({7, 7})
                   .range(-1, 1));
  lesson.picture("rank_k", figure);
  return lesson.finish();
}
