#include "compute/ops/norm.h"

#include "compute/kernels/rows.h"
#include "compute/ops/check.h"

namespace sedum::ops {

Variable rms_norm(Context& ctx, const Variable& x, const Variable& weight, float eps) {
  const int64_t rows = x.shape().rows(), cols = x.shape()[-1];
  check(weight.shape() == Shape{cols}, "rms_norm",
        "weight " + weight.shape().text() + " does not fit x " + x.shape().text());
  check_contiguous("rms_norm", x.value());
  const DType statistic = x.dtype() == DType::kF64 ? DType::kF64 : DType::kF32;
  Tensor y = ctx.empty(x.dtype(), x.shape());
  Tensor inverse = recording(ctx, {&x, &weight}) ? ctx.empty(statistic, {rows}) : Tensor();
  if (ctx.runs())
    with_type("rms_norm", x.dtype(), [&]<class T>(T) {
      rms_norm_forward<T>(*ctx.pool, x.value().data<T>(), statistics<T>(weight.value()), eps, rows, cols, y.data<T>(),
                          inverse.defined() ? statistics<T>(inverse) : nullptr);
    });
  return record(ctx, "rms_norm", {&x, &weight}, y,
                [xv = x.value(), w = weight.value(), inverse, rows, cols](BackwardPass& pass) {
                  Context& c = pass.context();
                  Tensor dx = c.empty(xv.dtype(), xv.shape());
                  Tensor dw = pass.wants(1) ? pass.sum(1) : Tensor();
                  if (c.runs())
                    with_type("rms_norm", xv.dtype(), [&]<class T>(T) {
                      rms_norm_backward<T>(*c.pool, pass.gradient().data<T>(), xv.data<T>(), statistics<T>(w),
                                           statistics<T>(inverse), rows, cols, dx.data<T>(),
                                           dw.defined() ? statistics<T>(dw) : nullptr);
                    });
                  if (pass.wants(0)) pass.add(0, dx);
                });
}

Variable layer_norm(Context& ctx, const Variable& x, const Variable& weight, const Variable& bias, float eps) {
  const int64_t rows = x.shape().rows(), cols = x.shape()[-1];
  check(weight.shape() == Shape{cols} && bias.shape() == Shape{cols}, "layer_norm",
        "weight " + weight.shape().text() + " and bias " + bias.shape().text() + " do not fit x " + x.shape().text());
  check_contiguous("layer_norm", x.value());
  const DType statistic = x.dtype() == DType::kF64 ? DType::kF64 : DType::kF32;
  const bool saves = recording(ctx, {&x, &weight, &bias});
  Tensor y = ctx.empty(x.dtype(), x.shape());
  Tensor mean = saves ? ctx.empty(statistic, {rows}) : Tensor(),
         inverse = saves ? ctx.empty(statistic, {rows}) : Tensor();
  if (ctx.runs())
    with_type("layer_norm", x.dtype(), [&]<class T>(T) {
      layer_norm_forward<T>(*ctx.pool, x.value().data<T>(), statistics<T>(weight.value()), statistics<T>(bias.value()),
                            eps, rows, cols, y.data<T>(), saves ? statistics<T>(mean) : nullptr,
                            saves ? statistics<T>(inverse) : nullptr);
    });
  return record(ctx, "layer_norm", {&x, &weight, &bias}, y,
                [xv = x.value(), w = weight.value(), mean, inverse, rows, cols](BackwardPass& pass) {
                  Context& c = pass.context();
                  Tensor dx = c.empty(xv.dtype(), xv.shape());
                  Tensor dw = pass.wants(1) ? pass.sum(1) : Tensor(), db = pass.wants(2) ? pass.sum(2) : Tensor();
                  if (c.runs())
                    with_type("layer_norm", xv.dtype(), [&]<class T>(T) {
                      layer_norm_backward<T>(*c.pool, pass.gradient().data<T>(), xv.data<T>(), statistics<T>(w),
                                             statistics<T>(mean), statistics<T>(inverse), rows, cols, dx.data<T>(),
                                             dw.defined() ? statistics<T>(dw) : nullptr,
                                             db.defined() ? statistics<T>(db) : nullptr);
                    });
                  if (pass.wants(0)) pass.add(0, dx);
                });
}

Variable softmax(Context& ctx, const Variable& x, float factor) {
  const int64_t rows = x.shape().rows(), cols = x.shape()[-1];
  check_contiguous("softmax", x.value());
  Tensor y = ctx.empty(x.dtype(), x.shape());
  if (ctx.runs())
    with_type("softmax", x.dtype(),
              [&]<class T>(T) { softmax_forward<T>(*ctx.pool, x.value().data<T>(), factor, rows, cols, y.data<T>()); });
  return record(ctx, "softmax", {&x}, y, [y, factor, rows, cols](BackwardPass& pass) {
    Tensor dx = pass.context().empty(y.dtype(), y.shape());
    if (pass.context().runs())
      with_type("softmax", y.dtype(), [&]<class T>(T) {
        softmax_backward<T>(*pass.context().pool, pass.gradient().data<T>(), y.data<T>(), factor, rows, cols,
                            dx.data<T>());
      });
    pass.add(0, dx);
  });
}

}  // namespace sedum::ops
