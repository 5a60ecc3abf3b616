#include "model/adapters/low_rank.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/error.h"
#include "compute/kernels/products.h"

namespace sedum {
namespace {

// A few long vectors, one a row: contiguous for dot products.
struct Block {
  int64_t count, length;
  std::vector<float> values;
  Block(int64_t c, int64_t l) : count(c), length(l), values(size_t(c * l)) {}
  float* row(int64_t i) { return values.data() + i * length; }
  const float* row(int64_t i) const { return values.data() + i * length; }
  ConstMatrix in() const { return {DType::kF32, values.data(), count, length, size_t(length) * 4}; }
  MutableMatrix out() { return {DType::kF32, values.data(), count, length, size_t(length) * 4}; }
};

double dot(const float* a, const float* b, int64_t n) {
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += double(a[i]) * double(b[i]);
  return sum;
}

// Gram and Schmidt, twice, which leaves vectors orthogonal to rounding (Giraud et al. 2005). A vector that nothing is left of becomes 0.
void orthonormalise(Block& b) {
  for (int64_t i = 0; i < b.count; ++i) {
    const double before = std::sqrt(dot(b.row(i), b.row(i), b.length));
    for (int pass = 0; pass < 2; ++pass)
      for (int64_t j = 0; j < i; ++j) {
        const float c = float(dot(b.row(i), b.row(j), b.length));
        for (int64_t k = 0; k < b.length; ++k) b.row(i)[k] -= c * b.row(j)[k];
      }
    const double length = std::sqrt(dot(b.row(i), b.row(i), b.length));
    const float scale = length > 1e-6 * before && length > 0 ? float(1 / length) : 0;
    for (int64_t k = 0; k < b.length; ++k) b.row(i)[k] *= scale;
  }
}

Block random_block(int64_t count, int64_t length, const Random& random) {
  Block b(count, length);
  for (size_t i = 0; i < b.values.size(); ++i) b.values[i] = random.normal(uint64_t(i));
  return b;
}

// Rows of x (k,n) through W (m,n): (k,m); and of y (k,m) through Wᵀ: (k,n).
struct Operator {
  ThreadPool& pool;
  ConstMatrix w;
  Block apply(const Block& x) const {
    Block y(x.count, w.rows);
    product_nt(pool, Compute::kF32, x.in(), w, y.out());
    return y;
  }
  Block transposed(const Block& y) const {
    Block x(y.count, w.cols);
    product_nn(pool, Compute::kF32, y.in(), w, x.out());
    return x;
  }
};

// Eigenvalues of a symmetric matrix (k,k), descending, and their vectors as rows: Jacobi's rotations.
struct Eigen {
  std::vector<double> values, vectors;
};
Eigen symmetric_eigen(std::vector<double> a, int64_t k) {
  std::vector<double> v(size_t(k * k));
  for (int64_t i = 0; i < k; ++i) v[size_t(i * k + i)] = 1;
  const auto at = [&](int64_t i, int64_t j) -> double& { return a[size_t(i * k + j)]; };
  for (int sweep = 0; sweep < 30; ++sweep) {
    double off = 0, diagonal = 0;
    for (int64_t i = 0; i < k; ++i)
      for (int64_t j = 0; j < k; ++j) (i == j ? diagonal : off) += at(i, j) * at(i, j);
    if (off <= 1e-28 * diagonal) break;
    for (int64_t p = 0; p < k; ++p)
      for (int64_t q = p + 1; q < k; ++q) {
        if (at(p, q) == 0) continue;
        const double z = (at(q, q) - at(p, p)) / (2 * at(p, q));
        const double t = std::copysign(1 / (std::abs(z) + std::sqrt(1 + z * z)), z), c = 1 / std::sqrt(1 + t * t),
                     s = c * t;
        for (int64_t i = 0; i < k; ++i) {
          const double x = at(i, p), y = at(i, q);
          at(i, p) = c * x - s * y, at(i, q) = s * x + c * y;
        }
        for (int64_t i = 0; i < k; ++i) {
          const double x = at(p, i), y = at(q, i);
          at(p, i) = c * x - s * y, at(q, i) = s * x + c * y;
          const double f = v[size_t(p * k + i)], g = v[size_t(q * k + i)];
          v[size_t(p * k + i)] = c * f - s * g, v[size_t(q * k + i)] = s * f + c * g;
        }
      }
  }
  std::vector<int64_t> order(static_cast<size_t>(k));
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [&](int64_t i, int64_t j) { return at(i, i) > at(j, j); });
  Eigen e;
  for (const int64_t i : order) {
    e.values.push_back(at(i, i));
    e.vectors.insert(e.vectors.end(), v.begin() + i * k, v.begin() + (i + 1) * k);
  }
  return e;
}

// The first r rows of rotation (k,k) · b (k,length).
Block rotated(const std::vector<double>& rotation, const Block& b, int64_t r) {
  Block result(r, b.length);
  for (int64_t i = 0; i < r; ++i)
    for (int64_t j = 0; j < b.count; ++j) {
      const double c = rotation[size_t(i * b.count + j)];
      for (int64_t l = 0; l < b.length; ++l) result.row(i)[l] += float(c * double(b.row(j)[l]));
    }
  return result;
}

// Of orthonormal right vectors v (k,n) and y = v · Wᵀ (k,m): singular values and vectors within their space.
LowRank within(const Block& v, const Block& y, int64_t r) {
  std::vector<double> gram(size_t(y.count * y.count));
  for (int64_t i = 0; i < y.count; ++i)
    for (int64_t j = 0; j <= i; ++j)
      gram[size_t(i * y.count + j)] = gram[size_t(j * y.count + i)] = dot(y.row(i), y.row(j), y.length);
  const Eigen e = symmetric_eigen(std::move(gram), y.count);
  LowRank top;
  const Block left = rotated(e.vectors, y, r);
  top.left.resize(size_t(y.length * r));
  for (int64_t i = 0; i < r; ++i) {
    top.values.push_back(std::sqrt(std::max(0.0, e.values[size_t(i)])));
    const double scale = top.values.back() > 0 ? 1 / top.values.back() : 0;
    for (int64_t l = 0; l < y.length; ++l) top.left[size_t(l * r + i)] = float(double(left.row(i)[l]) * scale);
  }
  top.right = rotated(e.vectors, v, r).values;
  return top;
}

void check(const char* where, int64_t m, int64_t n, int64_t r) {
  if (r < 1 || r > std::min(m, n))
    throw ApiError(where,
                   "rank " + std::to_string(r) + " of a matrix (" + std::to_string(m) + ", " + std::to_string(n) + ")");
}

// How far the row space of b (r,n) is from that of a: √Σ sin² of the angles between them. Rows orthonormal.
double turned(const std::vector<float>& a, const std::vector<float>& b, int64_t r) {
  const auto n = int64_t(a.size()) / r;
  double missing = 0;
  for (int64_t i = 0; i < r; ++i) {
    std::vector<float> rest(b.begin() + i * n, b.begin() + (i + 1) * n);
    for (int64_t j = 0; j < r; ++j) {
      const float c = float(dot(rest.data(), a.data() + j * n, n));
      for (int64_t l = 0; l < n; ++l) rest[size_t(l)] -= c * a[size_t(j * n + l)];
    }
    missing += dot(rest.data(), rest.data(), n);
  }
  return std::sqrt(missing);
}

}  // namespace

LowRank largest_singular(ThreadPool& pool, const float* w, int64_t m, int64_t n, int64_t r) {
  check("largest_singular", m, n, r);
  constexpr int kMostIterations = 500, kEach = 5;
  const Operator op{pool, {DType::kF32, w, m, n, size_t(n) * 4}};
  const int64_t width = std::min({m, n, r + std::max<int64_t>(r, 32)});
  Block v = random_block(width, n, Random(0, Purpose::kInit));
  orthonormalise(v);
  LowRank top;
  for (int i = 0; i < kMostIterations; i += kEach) {
    for (int j = 0; j < kEach; ++j) v = op.transposed(op.apply(v)), orthonormalise(v);
    const std::vector<float> before = std::move(top.right);
    top = within(v, op.apply(v), r);
    if (!before.empty() && turned(before, top.right, r) < kEach * 1e-6) break;
  }
  return top;
}

LowRank sketched_singular(ThreadPool& pool, const float* w, int64_t m, int64_t n, int64_t r, int iterations,
                          const Random& random) {
  check("sketched_singular", m, n, r);
  const Operator op{pool, {DType::kF32, w, m, n, size_t(n) * 4}};
  Block q = op.apply(random_block(r, n, random));
  orthonormalise(q);
  for (int i = 0; i < iterations; ++i) {
    Block v = op.transposed(q);
    orthonormalise(v);
    q = op.apply(v);
    orthonormalise(q);
  }
  // W ≈ Qᵀ(QW): the singular vectors of QW (r,n) are those of its transpose, with sides exchanged.
  const LowRank other = within(q, op.transposed(q), r);  // left (n,r), right (r,m)
  LowRank top{
      .values = other.values, .left = std::vector<float>(size_t(m * r)), .right = std::vector<float>(size_t(n * r))};
  for (int64_t i = 0; i < r; ++i) {
    for (int64_t l = 0; l < m; ++l) top.left[size_t(l * r + i)] = other.right[size_t(i * m + l)];
    for (int64_t l = 0; l < n; ++l) top.right[size_t(i * n + l)] = other.left[size_t(l * r + i)];
  }
  return top;
}

LowRank leading_qr(ThreadPool& pool, const float* w, int64_t m, int64_t n, int64_t r) {
  check("leading_qr", m, n, r);
  Block q(r, m);  // the first r columns of W, which alone make the first r of Q
  for (int64_t i = 0; i < r; ++i)
    for (int64_t l = 0; l < m; ++l) q.row(i)[l] = w[l * n + i];
  orthonormalise(q);
  const Operator op{pool, {DType::kF32, w, m, n, size_t(n) * 4}};
  LowRank top{.values = std::vector<double>(size_t(r), 1.0),
              .left = std::vector<float>(size_t(m * r)),
              .right = op.transposed(q).values};
  for (int64_t i = 0; i < r; ++i)
    for (int64_t l = 0; l < m; ++l) top.left[size_t(l * r + i)] = q.row(i)[l];
  return top;
}

}  // namespace sedum
