#include "compute/ops/attention.h"

#include "compute/kernels/rows.h"
#include "compute/ops/check.h"
#include "compute/ops/dropout.h"

namespace sedum::ops {
namespace {

// bf16 runs, and those that train through int8 layers, whose gradients are bf16.
bool multiplies_bf16(const Context& ctx, bool records) {
  return ctx.compute == Compute::kBF16 || (ctx.compute == Compute::kInt8 && records);
}

KeysValues rows_of(const Tensor& k, const Tensor& v) { return {k.dtype(), k.raw(), v.raw(), k.size(-1), 0, 0}; }

}  // namespace

Variable attention(Context& ctx, const Variable& q, const Variable& k, const Variable& v, const AttentionShape& wanted,
                   const Segments& segments, float dropout, uint32_t site) {
  AttentionShape shape = wanted;
  shape.bf16_products = multiplies_bf16(ctx, recording(ctx, {&q, &k, &v}));
  const int64_t width = int64_t(shape.num_heads) * shape.head_dim,
                kv_width = int64_t(shape.num_key_value_heads) * shape.head_dim;
  check_same_shape("attention", k, v);
  check(q.shape()[-1] == width && k.shape()[-1] == kv_width && shape.num_heads % shape.num_key_value_heads == 0,
        "attention",
        "q " + q.shape().text() + ", k " + k.shape().text() + " do not fit " + std::to_string(shape.num_heads) +
            " heads over " + std::to_string(shape.num_key_value_heads) + " of " + std::to_string(shape.head_dim));
  check(q.dtype() == k.dtype(), "attention", "types of q and k differ");
  for (const auto& s : *segments)
    check(s.query_begin >= 0 && s.query_begin + s.query_count <= q.shape().rows() && s.key_begin >= 0 &&
              s.key_begin + s.key_count <= k.shape().rows(),
          "attention", "a segment reaches beyond the rows");
  const int64_t rows = q.shape().rows();
  const std::optional<CountedDropout> drop = counted_dropout(ctx, dropout, site, rows);
  Tensor out = ctx.empty(q.dtype(), q.shape());
  Tensor lse = recording(ctx, {&q, &k, &v})
                   ? ctx.empty(q.dtype() == DType::kF64 ? DType::kF64 : DType::kF32, {rows, shape.num_heads})
                   : Tensor();
  if (ctx.runs())
    with_type("attention", q.dtype(), [&]<class T>(T) {
      attention_forward<T>(*ctx.pool, shape, *segments, q.value().data<T>(), width, rows_of(k.value(), v.value()),
                           out.data<T>(), width, lse.defined() ? statistics<T>(lse) : nullptr,
                           drop ? &drop->dropout : nullptr);
    });
  else if (ctx.working)
    ctx.working->attention(shape, *segments, false);
  return record(
      ctx, "attention", {&q, &k, &v}, out,
      [qv = q.value(), kv = k.value(), vv = v.value(), out, lse, shape, segments, width, drop](BackwardPass& pass) {
        Context& c = pass.context();
        Tensor dq = c.empty(qv.dtype(), qv.shape()), dk = c.empty(kv.dtype(), kv.shape()),
               dv = c.empty(vv.dtype(), vv.shape());
        if (c.runs())
          with_type("attention", qv.dtype(), [&]<class T>(T) {
            attention_backward<T>(*c.pool, shape, *segments, pass.gradient().data<T>(), qv.data<T>(), width,
                                  rows_of(kv, vv), out.data<T>(), width, statistics<T>(lse), dq.data<T>(), dk.data<T>(),
                                  dv.data<T>(), drop ? &drop->dropout : nullptr);
          });
        else if (c.working)
          c.working->attention(shape, *segments, true);
        if (pass.wants(0)) pass.add(0, dq);
        if (pass.wants(1)) pass.add(1, dk);
        if (pass.wants(2)) pass.add(2, dv);
      });
}

Variable rope(Context& ctx, const Variable& x, const Tensor& cos, const Tensor& sin, int64_t head_dim) {
  const int64_t rows = x.shape().rows(), width = x.shape()[-1], half = cos.size(-1);
  check(width % head_dim == 0 && 2 * half <= head_dim && cos.shape() == Shape{rows, half} && sin.shape() == cos.shape(),
        "rope",
        "tables " + cos.shape().text() + " do not fit x " + x.shape().text() + " with heads of " +
            std::to_string(head_dim));
  const auto turn = [cos, sin, rows, width, head_dim, half](Context& c, const Tensor& from, float sign, Tensor& to) {
    if (!c.runs()) return;
    with_type("rope", from.dtype(), [&]<class T>(T) {
      sedum::rope<T>(*c.pool, from.data<T>(), statistics<T>(cos), statistics<T>(sin), rows, width / head_dim, head_dim,
                     half, sign, to.data<T>());
    });
  };
  Tensor y = ctx.empty(x.dtype(), x.shape());
  turn(ctx, x.value(), 1, y);
  return record(ctx, "rope", {&x}, y, [turn](BackwardPass& pass) {
    Tensor dx = pass.context().empty(pass.gradient().dtype(), pass.gradient().shape());
    turn(pass.context(), pass.gradient(), -1, dx);
    pass.add(0, dx);
  });
}

}  // namespace sedum::ops
