#include "compute/ops/activations.h"

#include <cmath>

#include "compute/ops/check.h"
#include "compute/ops/elementwise.h"

namespace sedum::ops {
namespace {

// y[i] = f(a[i], b[i]) in the type that statistics have: f32, or f64 beside f64.
template <class F>
void each(Context& ctx, const char* op, const Tensor& a, const Tensor& b, Tensor& y, F&& f) {
  if (!ctx.runs()) return;
  with_type(op, y.dtype(), [&]<class T>(T) {
    using S = stat_t<T>;
    const T *first = a.data<T>(), *second = b.data<T>();
    T* to = y.data<T>();
    ctx.pool->parallel_for(
        y.count(),
        [&](int64_t begin, int64_t end) {
          for (int64_t i = begin; i < end; ++i)
            to[i] = T(static_cast<S>(f(static_cast<S>(first[i]), static_cast<S>(second[i]))));
        },
        1024);
  });
}

}  // namespace

Variable relu(Context& ctx, const Variable& x) {
  check_contiguous("relu", x.value());
  Tensor y = ctx.empty(x.dtype(), x.shape());
  each(ctx, "relu", x.value(), x.value(), y, [](auto v, auto) { return v > 0 ? v : 0; });
  return record(ctx, "relu", {&x}, y, [y](BackwardPass& pass) {
    Tensor dx = pass.context().empty(y.dtype(), y.shape());
    each(pass.context(), "relu", pass.gradient(), y, dx, [](auto g, auto v) { return v > 0 ? g : 0; });
    pass.add(0, dx);
  });
}

Variable tanh(Context& ctx, const Variable& x) {
  check_contiguous("tanh", x.value());
  Tensor y = ctx.empty(x.dtype(), x.shape());
  each(ctx, "tanh", x.value(), x.value(), y, [](auto v, auto) { return std::tanh(v); });
  return record(ctx, "tanh", {&x}, y, [y](BackwardPass& pass) {
    Tensor dx = pass.context().empty(y.dtype(), y.shape());
    each(pass.context(), "tanh", pass.gradient(), y, dx, [](auto g, auto v) { return g * (1 - v * v); });
    pass.add(0, dx);
  });
}

Variable activation(Context& ctx, const std::string& name, const Variable& x) {
  if (name == "gelu") return gelu(ctx, x);
  if (name == "gelu_new" || name == "gelu_pytorch_tanh") return gelu_tanh(ctx, x);
  if (name == "relu") return relu(ctx, x);
  if (name == "silu") return silu(ctx, x);
  throw ApiError("activation", "\"" + name + "\" is not known");
}

}  // namespace sedum::ops
