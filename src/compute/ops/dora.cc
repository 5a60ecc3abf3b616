#include "compute/ops/dora.h"

#include <algorithm>
#include <cmath>

#include "compute/kernels/rows.h"
#include "compute/ops/check.h"

namespace sedum::ops {
namespace {

DType norm_type(const Weight& w) { return w.stored.dtype() == DType::kF64 ? DType::kF64 : DType::kF32; }

// factor (N) = magnitude / norms
template <class S>
void column_factors(const Tensor& magnitude, const Tensor& norms, std::vector<S>& factors) {
  factors.resize(size_t(norms.count()));
  for (size_t i = 0; i < factors.size(); ++i) factors[i] = magnitude.data<S>()[i] / norms.data<S>()[i];
}

}  // namespace

Tensor row_squares(Context& ctx, const Weight& weight) {
  const Tensor& w = weight.stored.value();
  const int64_t rows = weight.out_features(), cols = weight.in_features();
  Tensor squares = ctx.empty(norm_type(weight), {rows});
  if (!ctx.runs()) return squares;
  ctx.pool->parallel_for(rows, [&](int64_t begin, int64_t end) {
    std::vector<float> row(static_cast<size_t>(cols));
    for (int64_t r = begin; r < end; ++r) {
      double sum = 0;
      if (w.dtype() == DType::kF64) {
        for (int64_t c = 0; c < cols; ++c) sum += w.data<double>()[r * cols + c] * w.data<double>()[r * cols + c];
        squares.data<double>()[r] = sum;
        continue;
      }
      decode(w.dtype(), static_cast<const char*>(w.raw()) + size_t(r) * row_bytes(w.dtype(), cols), row.data(), cols);
      for (const float v : row) sum += double(v) * v;
      squares.data<float>()[r] = float(sum);
    }
  });
  return squares;
}

Tensor adapted_norms(Context& ctx, const Weight& weight, const Tensor& squares, const Tensor& a, const Tensor& b,
                     float factor) {
  const int64_t rows = weight.out_features(), rank = a.size(0);
  const DType type = norm_type(weight);
  Tensor norms = ctx.empty(type, {rows}), aw = ctx.empty(type, {rank, rows}), aa = ctx.empty(type, {rank, rank});
  product_nt(ctx, Compute::kF32, a, weight.stored.value(), aw);
  product_nt(ctx, Compute::kF32, a, a, aa);
  if (!ctx.runs()) return norms;
  with_statistic(type, [&]<class T>(T) {
    const T *pa = aw.data<T>(), *paa = aa.data<T>(), *pb = b.data<T>();
    ctx.pool->parallel_for(rows, [&](int64_t begin, int64_t end) {
      for (int64_t n = begin; n < end; ++n) {
        double cross = 0, square = 0;
        for (int64_t i = 0; i < rank; ++i) {
          cross += double(pa[i * rows + n]) * double(pb[n * rank + i]);
          double inner = 0;
          for (int64_t j = 0; j < rank; ++j) inner += double(paa[i * rank + j]) * double(pb[n * rank + j]);
          square += inner * double(pb[n * rank + i]);
        }
        const double s = double(factor), sum = double(squares.data<T>()[n]) + 2 * s * cross + s * s * square;
        norms.data<T>()[n] = T(std::sqrt(std::max(sum, 0.0)));
      }
    });
  });
  return norms;
}

Variable scale_columns(Context& ctx, const Variable& z, const Variable& magnitude, const Tensor& norms,
                       const Variable* bias) {
  const int64_t cols = z.shape()[-1], rows = z.shape().rows();
  check(magnitude.shape() == Shape{cols} && norms.shape() == Shape{cols}, "scale_columns",
        "magnitude " + magnitude.shape().text() + " does not fit " + z.shape().text());
  check(!bias || bias->shape() == Shape{cols}, "scale_columns", "the bias does not fit " + z.shape().text());
  check_contiguous("scale_columns", z.value());
  Tensor y = ctx.empty(z.dtype(), z.shape());
  if (ctx.runs())
    with_type("scale_columns", z.dtype(), [&]<class T>(T) {
      using S = stat_t<T>;
      std::vector<S> factors;
      column_factors(magnitude.value(), norms, factors);
      const S* add = bias ? statistics<T>(bias->value()) : nullptr;
      ctx.pool->parallel_for(rows, [&](int64_t begin, int64_t end) {
        for (int64_t r = begin; r < end; ++r)
          for (int64_t c = 0; c < cols; ++c)
            y.data<T>()[r * cols + c] =
                T(static_cast<S>(z.value().data<T>()[r * cols + c]) * factors[size_t(c)] + (add ? add[c] : S(0)));
      });
    });
  const Variable none;
  return record(ctx, "scale_columns", {&z, &magnitude, bias ? bias : &none}, y,
                [zv = z.value(), m = magnitude.value(), norms, rows, cols](BackwardPass& pass) {
                  Context& c = pass.context();
                  const Tensor& dy = pass.gradient();
                  Tensor dz = pass.wants(0) ? c.empty(zv.dtype(), zv.shape()) : Tensor();
                  Tensor dm = pass.wants(1) ? pass.sum(1) : Tensor(), db = pass.wants(2) ? pass.sum(2) : Tensor();
                  if (c.runs())
                    with_type("scale_columns", zv.dtype(), [&]<class T>(T) {
                      using S = stat_t<T>;
                      const T *g = dy.data<T>(), *from = zv.data<T>();
                      if (dm.defined())  // Σ over rows of dy · z / norm: cut over columns, rows in order
                        c.pool->parallel_for(
                            cols,
                            [&](int64_t begin, int64_t end) {
                              std::vector<S> sums(size_t(end - begin), S(0));
                              for (int64_t r = 0; r < rows; ++r)
                                for (int64_t k = begin; k < end; ++k)
                                  sums[size_t(k - begin)] +=
                                      static_cast<S>(g[r * cols + k]) * static_cast<S>(from[r * cols + k]);
                              for (int64_t k = begin; k < end; ++k)
                                statistics<T>(dm)[k] += sums[size_t(k - begin)] / statistics<T>(norms)[k];
                            },
                            16);
                      if (db.defined()) add_column_sums<T>(*c.pool, g, rows, cols, statistics<T>(db));
                      if (!dz.defined()) return;
                      std::vector<S> factors;
                      column_factors(m, norms, factors);
                      c.pool->parallel_for(rows, [&](int64_t begin, int64_t end) {
                        for (int64_t r = begin; r < end; ++r)
                          for (int64_t k = 0; k < cols; ++k)
                            dz.data<T>()[r * cols + k] = T(static_cast<S>(g[r * cols + k]) * factors[size_t(k)]);
                      });
                    });
                  if (pass.wants(0)) pass.add(0, dz);
                });
}

}  // namespace sedum::ops
