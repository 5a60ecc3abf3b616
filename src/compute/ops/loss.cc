#include "compute/ops/loss.h"

#include <algorithm>

#include "compute/kernels/rows.h"
#include "compute/ops/check.h"

namespace sedum::ops {
namespace {

constexpr int64_t kChunkBytes = 32 << 20;  // of logits at a time

void check_labels(const char* op, const Ids& labels, int64_t rows, int64_t vocabulary) {
  check(int64_t(labels->size()) == rows, op,
        std::to_string(labels->size()) + " labels for " + std::to_string(rows) + " rows");
  for (const int32_t label : *labels)
    check(label == kIgnored || (label >= 0 && label < vocabulary), op,
          "label " + std::to_string(label) + " is not below " + std::to_string(vocabulary));
}

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

DType statistic_type(DType dtype) { return dtype == DType::kF64 ? DType::kF64 : DType::kF32; }

// t · s, in place where s is not 1.
void scale_by(Context& ctx, Tensor& t, double s) {
  if (!ctx.runs() || s == 1) return;
  with_type("cross_entropy", t.dtype(),
            [&]<class T>(T) { sedum::scale<T>(*ctx.pool, t.data<T>(), float(s), t.count(), t.data<T>()); });
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
                            std::vector<float>* losses) {
  check(hidden.shape()[-1] == weight.in_features(), "cross_entropy_head",
        "hidden " + hidden.shape().text() + " does not fit the weight " + weight.stored.shape().text());
  const int64_t vocabulary = weight.out_features(), all_rows = hidden.shape().rows();
  check_labels("cross_entropy_head", labels, all_rows, vocabulary);

  auto rows = std::make_shared<std::vector<int32_t>>();
  std::vector<int32_t> kept;
  for (size_t i = 0; i < labels->size(); ++i)
    if ((*labels)[i] != kIgnored) rows->push_back(int32_t(i)), kept.push_back((*labels)[i]);
  const Variable x = select_rows(ctx, hidden, rows);
  const int64_t count = int64_t(rows->size());

  const bool wants_x = recording(ctx, {&hidden}), wants_w = recording(ctx, {&weight.stored});
  const DType statistic = statistic_type(hidden.dtype());
  Tensor y = ctx.empty(statistic, {}), each = ctx.empty(statistic, {count});
  Tensor dx = wants_x ? ctx.empty(x.dtype(), x.shape()) : Tensor(),
         dw = wants_w ? ctx.empty(statistic, weight.stored.shape()) : Tensor();
  const int64_t chunk =
      std::clamp<int64_t>(kChunkBytes / int64_t(row_bytes(statistic, vocabulary)), 1, std::max<int64_t>(count, 1));
  const Compute compute = ctx.compute == Compute::kInt8 ? Compute::kBF16 : ctx.compute;
  const auto fits = [&](const auto& packed) { return packed && packed->compute() == ctx.compute; };
  {
    Tensor logits = ctx.empty(statistic, {chunk, vocabulary});
    for (int64_t begin = 0; begin < count && (ctx.runs() || begin == 0); begin += chunk) {
      const int64_t n = std::min(chunk, count - begin);
      Tensor part = x.value().slice(0, begin, begin + n), some = logits.slice(0, 0, n);
      if (!fits(weight.packed))
        product_nt(ctx, compute, part, weight.stored.value(), some);
      else if (ctx.runs())
        product_packed(*ctx.pool, matrix(part), *weight.packed, mutable_matrix(some));
      if (ctx.runs())
        with_statistic(statistic, [&]<class T>(T) {
          sedum::cross_entropy<T>(*ctx.pool, some.data<T>(), kept.data() + begin, factor, n, vocabulary,
                                  each.data<T>() + begin, !wants_x && !wants_w);
        });
      if (wants_x) {
        Tensor dpart = dx.slice(0, begin, begin + n);
        if (!fits(weight.packed_transposed))
          product_nn(ctx, compute, some, weight.stored.value(), dpart);
        else if (ctx.runs())
          product_packed(*ctx.pool, matrix(some), *weight.packed_transposed, mutable_matrix(dpart));
      }
      if (wants_w) product_tn(ctx, compute, some, part, dw, begin > 0);
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
