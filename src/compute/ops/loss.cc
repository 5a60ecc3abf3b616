#include "compute/ops/loss.h"

#include <algorithm>

#include "compute/kernels/rows.h"
#include "compute/ops/check.h"
#include "compute/ops/vocabulary.h"

namespace sedum::ops {
namespace {

template <class T>
double total(const T* values, int64_t n) {
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += double(values[i]);
  return sum;
}

void store_scalar(Tensor& y, double value) {
  if (y.dtype() == DType::kF64)
    *y.data<double>() = value;
  else
    *y.data<float>() = float(value);
}

double load_scalar(const Tensor& y) { return y.dtype() == DType::kF64 ? *y.data<double>() : double(*y.data<float>()); }

// t · s, in place where s is not 1.
void scale_by(Context& ctx, Tensor& t, double s) {
  if (!ctx.runs() || s == 1) return;
  with_type("cross_entropy", t.dtype(),
            [&]<class T>(T) { sedum::scale<T>(*ctx.pool, t.data<T>(), float(s), t.count(), t.data<T>()); });
}

// The mean of each row.
template <class T>
std::vector<double> row_means(Context& ctx, const T* x, int64_t rows, int64_t cols) {
  std::vector<double> means(static_cast<size_t>(rows));
  ctx.pool->parallel_for(rows, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) means[size_t(r)] = total(x + r * cols, cols) / double(cols);
  });
  return means;
}

// From cross-entropy with the label to cross-entropy with the smoothed target: the loss grows by ε (logit of the label − mean logit), its
// gradient by factor · ε (one-hot − 1/V).
struct Smoothing {
  const std::vector<double>&means, &of_label;
  const int32_t* labels;
  float smoothing, factor;
  bool gradient;
};
template <class T>
void smooth(Context& ctx, const Smoothing& s, int64_t cols, T* gradients, T* losses) {
  const T even = T(s.factor * s.smoothing / float(cols));
  ctx.pool->parallel_for(int64_t(s.means.size()), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      losses[r] += T(double(s.smoothing) * (s.of_label[size_t(r)] - s.means[size_t(r)]));
      if (!s.gradient) continue;
      T* g = gradients + r * cols;
      for (int64_t c = 0; c < cols; ++c) g[c] -= even;
      g[s.labels[r]] += T(s.factor * s.smoothing);
    }
  });
}

}  // namespace

Variable cross_entropy(Context& ctx, const Variable& logits, const Ids& labels, float factor) {
  const int64_t rows = logits.shape().rows(), vocabulary = logits.shape()[-1];
  check_labels("cross_entropy", labels, rows, vocabulary);
  Tensor y = ctx.empty(statistic_type(logits.dtype()), {}), losses = ctx.empty(y.dtype(), {rows}),
         gradient = ctx.empty(logits.dtype(), logits.shape());
  if (ctx.runs())
    with_type("cross_entropy", logits.dtype(), [&]<class T>(T) {
      std::copy_n(logits.value().data<T>(), logits.value().count(), gradient.data<T>());
      sedum::cross_entropy<T>(*ctx.pool, gradient.data<T>(), labels->data(), factor, rows, vocabulary,
                              statistics<T>(losses), false);
      store_scalar(y, total(statistics<T>(losses), rows) * factor);
    });
  return record(ctx, "cross_entropy", {&logits}, y, [gradient](BackwardPass& pass) mutable {
    scale_by(pass.context(), gradient, pass.context().runs() ? load_scalar(pass.gradient()) : 1);
    pass.add(0, gradient);
  });
}

Variable cross_entropy_head(Context& ctx, const Variable& hidden, const Weight& weight, const Ids& labels, float factor,
                            std::vector<float>* losses, float smoothing) {
  check(smoothing >= 0 && smoothing < 1, "cross_entropy_head", "smoothing is not in [0, 1)");
  check(hidden.shape()[-1] == weight.in_features(), "cross_entropy_head",
        "hidden " + hidden.shape().text() + " does not fit the weight " + weight.stored.shape().text());
  const int64_t vocabulary = weight.out_features(), all_rows = hidden.shape().rows();
  const LabelledRows labelled = labelled_rows("cross_entropy_head", labels, all_rows, vocabulary);
  const std::vector<int32_t>& kept = labelled.labels;
  const Ids& rows = labelled.rows;
  const Variable x = select_rows(ctx, hidden, rows);
  const int64_t count = int64_t(rows->size());

  const bool wants_x = recording(ctx, {&hidden}), wants_w = recording(ctx, {&weight.stored});
  const DType statistic = statistic_type(hidden.dtype());
  Tensor y = ctx.empty(statistic, {}), each = ctx.empty(statistic, {count});
  Tensor dx = wants_x ? ctx.empty(x.dtype(), x.shape()) : Tensor(),
         dw = wants_w ? ctx.empty(statistic, weight.stored.shape()) : Tensor();
  const int64_t chunk = chunk_rows(count, vocabulary, statistic);
  {
    Tensor logits = ctx.empty(statistic, {chunk, vocabulary});
    KeptLogits kept_logits(ctx, weight, statistic, wants_x || wants_w ? chunk : 0);
    for (int64_t begin = 0; begin < count && (ctx.runs() || begin == 0); begin += chunk) {
      const int64_t n = std::min(chunk, count - begin);
      Tensor part = x.value().slice(0, begin, begin + n), some = logits.slice(0, 0, n);
      chunk_logits(ctx, part, weight, some);
      if (wants_x || wants_w) kept_logits.keep(ctx, some);
      if (ctx.runs())
        with_statistic(statistic, [&]<class T>(T) {
          const std::vector<double> means =
              smoothing > 0 ? row_means(ctx, some.data<T>(), n, vocabulary) : std::vector<double>();
          const auto logit = [&](int64_t i) {
            return double(some.data<T>()[i * vocabulary + kept[size_t(begin + i)]]);
          };
          std::vector<double> of_label(means.size());
          for (int64_t i = 0; i < int64_t(means.size()); ++i) of_label[size_t(i)] = logit(i);
          sedum::cross_entropy<T>(*ctx.pool, some.data<T>(), kept.data() + begin, factor, n, vocabulary,
                                  each.data<T>() + begin, !wants_x && !wants_w);
          if (smoothing > 0)
            smooth<T>(ctx,
                      {.means = means,
                       .of_label = of_label,
                       .labels = kept.data() + begin,
                       .smoothing = smoothing,
                       .factor = factor,
                       .gradient = wants_x || wants_w},
                      vocabulary, some.data<T>(), each.data<T>() + begin);
        });
      if (wants_x || wants_w) kept_logits.uncap(ctx, some);
      if (wants_x) {
        Tensor dpart = dx.slice(0, begin, begin + n);
        head_gradient(ctx, some, weight, dpart);
      }
      if (wants_w) product_tn(ctx, head_compute(ctx), some, part, dw, begin > 0);
    }
  }
  if (ctx.runs()) {
    if (count == 0 && wants_w) dw = ctx.zeros(dw.dtype(), dw.shape());
    with_statistic(statistic, [&]<class T>(T) {
      store_scalar(y, total(each.data<T>(), count) * factor);
      if (!losses) return;
      losses->assign(size_t(all_rows), 0.0f);
      for (size_t i = 0; i < rows->size(); ++i) (*losses)[size_t((*rows)[i])] = float(each.data<T>()[i]);
    });
  }
  return record(ctx, "cross_entropy_head", {&x, &weight.stored}, y, [dx, dw](BackwardPass& pass) mutable {
    const double seed = pass.context().runs() ? load_scalar(pass.gradient()) : 1;
    if (pass.wants(0)) scale_by(pass.context(), dx, seed), pass.add(0, dx);
    if (pass.wants(1)) scale_by(pass.context(), dw, seed), pass.add(1, dw);
  });
}

}  // namespace sedum::ops
