#include "compute/ops/elementwise.h"

#include <algorithm>

#include "compute/kernels/rows.h"
#include "compute/ops/check.h"

namespace sedum::ops {

Variable add(Context& ctx, const Variable& a, const Variable& b) {
  check_same_shape("add", a, b);
  Tensor y = ctx.empty(a.dtype(), a.shape());
  if (ctx.runs())
    with_type("add", a.dtype(), [&]<class T>(T) {
      sedum::add<T>(*ctx.pool, a.value().data<T>(), b.value().data<T>(), y.count(), y.data<T>());
    });
  return record(ctx, "add", {&a, &b}, y, [](BackwardPass& pass) {
    for (const size_t input : {0, 1})
      if (pass.wants(input)) {
        // A copy of its own: later contributions are added in place.
        Tensor dx = pass.context().empty(pass.gradient().dtype(), pass.gradient().shape());
        if (pass.context().runs())
          with_type("add", dx.dtype(), [&]<class T>(T) {
            sedum::scale<T>(*pass.context().pool, pass.gradient().data<T>(), 1, dx.count(), dx.data<T>());
          });
        pass.add(input, dx);
      }
  });
}

Variable multiply(Context& ctx, const Variable& a, const Variable& b) {
  check_same_shape("multiply", a, b);
  Tensor y = ctx.empty(a.dtype(), a.shape());
  if (ctx.runs())
    with_type("multiply", a.dtype(), [&]<class T>(T) {
      sedum::multiply<T>(*ctx.pool, a.value().data<T>(), b.value().data<T>(), y.count(), y.data<T>());
    });
  return record(ctx, "multiply", {&a, &b}, y, [av = a.value(), bv = b.value()](BackwardPass& pass) {
    for (const size_t input : {0, 1}) {
      if (!pass.wants(input)) continue;
      const Tensor& other = input == 0 ? bv : av;
      Tensor dx = pass.context().empty(other.dtype(), other.shape());
      if (pass.context().runs())
        with_type("multiply", dx.dtype(), [&]<class T>(T) {
          sedum::multiply<T>(*pass.context().pool, pass.gradient().data<T>(), other.data<T>(), dx.count(),
                             dx.data<T>());
        });
      pass.add(input, dx);
    }
  });
}

Variable scale(Context& ctx, const Variable& x, float factor) {
  Tensor y = ctx.empty(x.dtype(), x.shape());
  if (ctx.runs())
    with_type("scale", x.dtype(),
              [&]<class T>(T) { sedum::scale<T>(*ctx.pool, x.value().data<T>(), factor, y.count(), y.data<T>()); });
  return record(ctx, "scale", {&x}, y, [factor](BackwardPass& pass) {
    Tensor dx = pass.context().empty(pass.gradient().dtype(), pass.gradient().shape());
    if (pass.context().runs())
      with_type("scale", dx.dtype(), [&]<class T>(T) {
        sedum::scale<T>(*pass.context().pool, pass.gradient().data<T>(), factor, dx.count(), dx.data<T>());
      });
    pass.add(0, dx);
  });
}

Variable silu(Context& ctx, const Variable& x) {
  Tensor y = ctx.empty(x.dtype(), x.shape());
  if (ctx.runs())
    with_type("silu", x.dtype(),
              [&]<class T>(T) { silu_forward<T>(*ctx.pool, x.value().data<T>(), y.count(), y.data<T>()); });
  return record(ctx, "silu", {&x}, y, [xv = x.value()](BackwardPass& pass) {
    Tensor dx = pass.context().empty(xv.dtype(), xv.shape());
    if (pass.context().runs())
      with_type("silu", dx.dtype(), [&]<class T>(T) {
        silu_backward<T>(*pass.context().pool, pass.gradient().data<T>(), xv.data<T>(), dx.count(), dx.data<T>());
      });
    pass.add(0, dx);
  });
}

Variable gelu(Context& ctx, const Variable& x) {
  Tensor y = ctx.empty(x.dtype(), x.shape());
  if (ctx.runs())
    with_type("gelu", x.dtype(),
              [&]<class T>(T) { gelu_forward<T>(*ctx.pool, x.value().data<T>(), y.count(), y.data<T>()); });
  return record(ctx, "gelu", {&x}, y, [xv = x.value()](BackwardPass& pass) {
    Tensor dx = pass.context().empty(xv.dtype(), xv.shape());
    if (pass.context().runs())
      with_type("gelu", dx.dtype(), [&]<class T>(T) {
        gelu_backward<T>(*pass.context().pool, pass.gradient().data<T>(), xv.data<T>(), dx.count(), dx.data<T>());
      });
    pass.add(0, dx);
  });
}

Variable gelu_tanh(Context& ctx, const Variable& x) {
  Tensor y = ctx.empty(x.dtype(), x.shape());
  if (ctx.runs())
    with_type("gelu_tanh", x.dtype(),
              [&]<class T>(T) { gelu_tanh_forward<T>(*ctx.pool, x.value().data<T>(), y.count(), y.data<T>()); });
  return record(ctx, "gelu_tanh", {&x}, y, [xv = x.value()](BackwardPass& pass) {
    Tensor dx = pass.context().empty(xv.dtype(), xv.shape());
    if (pass.context().runs())
      with_type("gelu_tanh", dx.dtype(), [&]<class T>(T) {
        gelu_tanh_backward<T>(*pass.context().pool, pass.gradient().data<T>(), xv.data<T>(), dx.count(), dx.data<T>());
      });
    pass.add(0, dx);
  });
}

Variable soft_cap(Context& ctx, const Variable& x, float cap) {
  check(cap > 0, "soft_cap", "the cap is not above 0");
  Tensor y = ctx.empty(x.dtype(), x.shape());
  if (ctx.runs())
    with_type("soft_cap", x.dtype(),
              [&]<class T>(T) { soft_cap_forward<T>(*ctx.pool, x.value().data<T>(), cap, y.count(), y.data<T>()); });
  return record(ctx, "soft_cap", {&x}, y, [y, cap](BackwardPass& pass) {
    Tensor dx = pass.context().empty(y.dtype(), y.shape());
    if (pass.context().runs())
      with_type("soft_cap", dx.dtype(), [&]<class T>(T) {
        soft_cap_backward<T>(*pass.context().pool, pass.gradient().data<T>(), y.data<T>(), cap, dx.count(),
                             dx.data<T>());
      });
    pass.add(0, dx);
  });
}

Variable swiglu(Context& ctx, const Variable& gate, const Variable& up) {
  check_same_shape("swiglu", gate, up);
  Tensor y = ctx.empty(gate.dtype(), gate.shape());
  if (ctx.runs())
    with_type("swiglu", y.dtype(), [&]<class T>(T) {
      swiglu_forward<T>(*ctx.pool, gate.value().data<T>(), up.value().data<T>(), y.count(), y.data<T>());
    });
  return record(ctx, "swiglu", {&gate, &up}, y, [g = gate.value(), u = up.value()](BackwardPass& pass) {
    Tensor dg = pass.context().empty(g.dtype(), g.shape()), du = pass.context().empty(u.dtype(), u.shape());
    if (pass.context().runs())
      with_type("swiglu", g.dtype(), [&]<class T>(T) {
        swiglu_backward<T>(*pass.context().pool, pass.gradient().data<T>(), g.data<T>(), u.data<T>(), g.count(),
                           dg.data<T>(), du.data<T>());
      });
    if (pass.wants(0)) pass.add(0, dg);
    if (pass.wants(1)) pass.add(1, du);
  });
}

Variable reshape(Context& ctx, const Variable& x, const Shape& shape) {
  // The gradient is the same numbers under the old shape: BackwardPass::add reshapes. It is this operator's own by then.
  return record(ctx, "reshape", {&x}, x.value().reshape(shape),
                [](BackwardPass& pass) { pass.add(0, pass.gradient()); });
}

Variable columns(Context& ctx, const Variable& x, int64_t begin, int64_t count) {
  const int64_t rows = x.shape().rows(), cols = x.shape()[-1];
  check(begin >= 0 && count > 0 && begin + count <= cols, "columns",
        "no columns " + std::to_string(begin) + " to " + std::to_string(begin + count) + " in " + x.shape().text());
  check_contiguous("columns", x.value());
  Tensor y = ctx.empty(x.dtype(), with_last(x.shape(), count));
  const auto each_row = [rows](Context& c, auto&& work) {
    c.pool->parallel_for(
        rows,
        [&](int64_t from, int64_t to) {
          for (int64_t r = from; r < to; ++r) work(r);
        },
        16);
  };
  if (ctx.runs())
    with_type("columns", x.dtype(), [&]<class T>(T) {
      const T* from = x.value().data<T>();
      each_row(ctx, [&](int64_t r) { std::copy_n(from + r * cols + begin, count, y.data<T>() + r * count); });
    });
  return record(ctx, "columns", {&x}, y, [each_row, begin, count, cols](BackwardPass& pass) {
    Tensor dx = pass.sum(0);
    if (!pass.context().runs()) return;
    with_type("columns", dx.dtype(), [&]<class T>(T) {
      using S = stat_t<T>;
      const T* dy = pass.gradient().data<T>();
      each_row(pass.context(), [&](int64_t r) {
        T* to = dx.data<T>() + r * cols + begin;
        for (int64_t c = 0; c < count; ++c) to[c] = T(static_cast<S>(to[c]) + static_cast<S>(dy[r * count + c]));
      });
    });
  });
}

Variable sum(Context& ctx, const Variable& x) {
  Tensor y = ctx.empty(x.dtype(), {});
  if (ctx.runs())
    with_type("sum", x.dtype(), [&]<class T>(T) {
      double total = 0;
      for (int64_t i = 0; i < x.value().count(); ++i) total += double(static_cast<stat_t<T>>(x.value().data<T>()[i]));
      *y.data<T>() = T(static_cast<stat_t<T>>(total));
    });
  return record(ctx, "sum", {&x}, y, [shape = x.shape()](BackwardPass& pass) {
    Tensor dx = pass.context().empty(pass.gradient().dtype(), shape);
    if (pass.context().runs())
      with_type("sum", dx.dtype(), [&]<class T>(T) {
        const T g = *pass.gradient().data<T>();
        for (int64_t i = 0; i < dx.count(); ++i) dx.data<T>()[i] = g;
      });
    pass.add(0, dx);
  });
}

}  // namespace sedum::ops
