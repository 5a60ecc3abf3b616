#include "quant/cholesky.h"

#include <algorithm>
#include <cmath>

#include "compute/kernels/products.h"

namespace sedum {
namespace {

constexpr int64_t kBlock = 64;

ConstMatrix in(const float* p, int64_t rows, int64_t cols, int64_t stride) {
  return {DType::kF32, p, rows, cols, size_t(stride) * 4};
}
MutableMatrix out(float* p, int64_t rows, int64_t cols, int64_t stride) {
  return {DType::kF32, p, rows, cols, size_t(stride) * 4};
}

// The diagonal block, and each row below it: x such that x · Lᵀ = row. Sums in double.
bool factor_diagonal(float* a, int64_t n, int64_t stride) {
  for (int64_t j = 0; j < n; ++j) {
    double pivot = a[j * stride + j];
    for (int64_t k = 0; k < j; ++k) pivot -= double(a[j * stride + k]) * a[j * stride + k];
    if (!(pivot > 0) || !std::isfinite(pivot)) return false;
    const double root = std::sqrt(pivot);
    a[j * stride + j] = float(root);
    for (int64_t i = j + 1; i < n; ++i) {
      double sum = a[i * stride + j];
      for (int64_t k = 0; k < j; ++k) sum -= double(a[i * stride + k]) * a[j * stride + k];
      a[i * stride + j] = float(sum / root);
    }
  }
  return true;
}
void solve_row(const float* l, int64_t n, int64_t stride, float* row) {
  for (int64_t j = 0; j < n; ++j) {
    double sum = row[j];
    for (int64_t k = 0; k < j; ++k) sum -= double(row[k]) * l[j * stride + k];
    row[j] = float(sum / l[j * stride + j]);
  }
}

// The inverse of a lower triangular block, by columns.
void invert_block(const float* l, int64_t n, int64_t stride, float* to) {
  std::fill_n(to, n * n, 0.0f);
  for (int64_t j = 0; j < n; ++j) {
    to[j * n + j] = 1 / l[j * stride + j];
    for (int64_t i = j + 1; i < n; ++i) {
      double sum = 0;
      for (int64_t k = j; k < i; ++k) sum -= double(l[i * stride + k]) * to[k * n + j];
      to[i * n + j] = float(sum / l[i * stride + i]);
    }
  }
}

}  // namespace

bool cholesky(ThreadPool& pool, float* a, int64_t n) {
  std::vector<float> negated;
  for (int64_t b = 0; b < n; b += kBlock) {
    const int64_t width = std::min(kBlock, n - b), rest = n - b - width;
    float* const diagonal = a + b * n + b;
    if (!factor_diagonal(diagonal, width, n)) return false;
    if (rest == 0) break;
    float* const below = a + (b + width) * n + b;
    negated.resize(size_t(rest * width));
    pool.parallel_for(rest, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        solve_row(diagonal, width, n, below + i * n);
        for (int64_t j = 0; j < width; ++j) negated[size_t(i * width + j)] = -below[i * n + j];
      }
    });
    // What is left less the outer product; the upper triangle comes along and is cleared at the end.
    product_nt(pool, Compute::kF32, in(negated.data(), rest, width, width), in(below, rest, width, n),
               out(a + (b + width) * n + b + width, rest, rest, n), true);
  }
  for (int64_t i = 0; i < n; ++i) std::fill(a + i * n + i + 1, a + (i + 1) * n, 0.0f);
  return true;
}

// Rows of blocks from the top: those above hold the inverse already. N_i = −D⁻¹ · (L_i · N), N_ii = D⁻¹.
void invert_lower(ThreadPool& pool, float* l, int64_t n) {
  std::vector<float> inverse(size_t(kBlock * kBlock)), product(size_t(kBlock * n));
  for (int64_t b = 0; b < n; b += kBlock) {
    const int64_t width = std::min(kBlock, n - b);
    invert_block(l + b * n + b, width, n, inverse.data());
    if (b > 0) {
      product_nn(pool, Compute::kF32, in(l + b * n, width, b, n), in(l, b, b, n), out(product.data(), width, b, b));
      for (int64_t i = 0; i < width * b; ++i) product[size_t(i)] = -product[size_t(i)];
      product_nn(pool, Compute::kF32, in(inverse.data(), width, width, width), in(product.data(), width, b, b),
                 out(l + b * n, width, b, n));
    }
    for (int64_t i = 0; i < width; ++i) std::copy_n(&inverse[size_t(i * width)], width, l + (b + i) * n + b);
  }
}

}  // namespace sedum
