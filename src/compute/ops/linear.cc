#include "compute/ops/linear.h"

#include "compute/kernels/quantised.h"
#include "compute/kernels/rows.h"
#include "compute/ops/check.h"

namespace sedum::ops {
namespace {

// int8 means the packed panels of frozen weights; where there are none the next best are bf16 operands.
Compute product_compute(const Context& ctx) { return ctx.compute == Compute::kInt8 ? Compute::kBF16 : ctx.compute; }

void check_linear(const char* op, const Variable& x, const Weight& weight, const Variable* bias) {
  check(weight.stored.shape().rank() == 2, op, "the weight " + weight.stored.shape().text() + " is no matrix");
  check(x.shape().rank() >= 1 && x.shape()[-1] == weight.in_features(), op,
        "x " + x.shape().text() + " does not fit the weight " + weight.stored.shape().text());
  check(!bias || bias->shape() == Shape{weight.out_features()}, op,
        "the bias does not fit the weight " + weight.stored.shape().text());
  check_contiguous(op, x.value());
}

void add_bias(Context& ctx, const Variable* bias, Tensor& y) {
  if (!bias || !ctx.runs()) return;
  with_type("linear", y.dtype(), [&]<class T>(T) {
    add_row_vector<T>(*ctx.pool, y.data<T>(), statistics<T>(bias->value()), y.shape().rows(), y.size(-1), y.data<T>());
  });
}

void scale_by(Context& ctx, float factor, Tensor& t) {
  if (!ctx.runs()) return;
  with_type("lora_linear", t.dtype(),
            [&]<class T>(T) { sedum::scale<T>(*ctx.pool, t.data<T>(), factor, t.count(), t.data<T>()); });
}

bool fits(const Context& ctx, const std::shared_ptr<const PackedMatrix>& packed) {
  return packed && packed->compute() == ctx.compute;
}

void forward(Context& ctx, const Variable& x, const Weight& weight, const Variable* bias, Tensor& y) {
  if (!fits(ctx, weight.packed))
    product_nt(ctx, product_compute(ctx), x.value(), weight.stored.value(), y);
  else if (ctx.runs())
    product_packed(*ctx.pool, matrix(x.value()), *weight.packed, mutable_matrix(y));
  add_bias(ctx, bias, y);
}

// dW += dyᵀ·x and db += column sums of dy, for inputs 1 and 2.
void backward_parameters(BackwardPass& pass, const Tensor& x) {
  Context& ctx = pass.context();
  if (pass.wants(1)) {
    auto [dw, accumulate] = pass.target(1);
    product_tn(ctx, product_compute(ctx), pass.gradient(), x, dw, accumulate);
  }
  if (pass.wants(2)) {
    Tensor db = pass.sum(2);
    if (ctx.runs())
      with_type("linear", x.dtype(), [&]<class T>(T) {
        add_column_sums<T>(*ctx.pool, pass.gradient().data<T>(), pass.gradient().shape().rows(),
                           pass.gradient().size(-1), statistics<T>(db));
      });
  }
}

void backward_data(BackwardPass& pass, const Weight& weight) {
  if (!pass.wants(0)) return;
  Context& ctx = pass.context();
  auto [dx, accumulate] = pass.target(0);
  if (!fits(ctx, weight.packed_transposed))
    product_nn(ctx, product_compute(ctx), pass.gradient(), weight.stored.value(), dx, accumulate);
  else if (ctx.runs())
    product_packed(*ctx.pool, matrix(pass.gradient()), *weight.packed_transposed, mutable_matrix(dx), accumulate);
}

}  // namespace

Variable linear(Context& ctx, const Variable& x, const Weight& weight, const Variable* bias) {
  check_linear("linear", x, weight, bias);
  Tensor y = ctx.empty(x.dtype(), with_last(x.shape(), weight.out_features()));
  forward(ctx, x, weight, bias, y);
  const Variable none;
  return record(ctx, "linear", {&x, &weight.stored, bias ? bias : &none}, y,
                [xv = x.value(), w = weight](BackwardPass& pass) {
                  backward_parameters(pass, xv);
                  backward_data(pass, w);
                });
}

std::vector<Variable> linear_group(Context& ctx, const Variable& x, std::span<const LinearTerm> terms) {
  check(!ctx.tape, "linear_group", "is for steps without a tape");
  std::vector<Variable> results;
  std::vector<PackedProduct> packed;
  for (const LinearTerm& term : terms) {
    check_linear("linear_group", x, *term.weight, term.bias);
    results.push_back(Variable(ctx.empty(x.dtype(), with_last(x.shape(), term.weight->out_features()))));
    if (ctx.runs() && fits(ctx, term.weight->packed))
      packed.push_back({*term.weight->packed, mutable_matrix(results.back().value()), false});
  }
  if (!ctx.runs()) return results;
  const bool together = packed.size() == terms.size() && ctx.compute == Compute::kInt8;
  if (together) product_packed_int8(*ctx.pool, matrix(x.value()), packed);
  for (size_t i = 0; i < terms.size(); ++i) {
    if (together)
      add_bias(ctx, terms[i].bias, results[i].value());
    else
      forward(ctx, x, *terms[i].weight, terms[i].bias, results[i].value());
  }
  return results;
}

void add_low_rank(Context& ctx, const Variable& x, const Variable& a, const Variable& b, float factor, Tensor& y) {
  Tensor u = ctx.empty(x.dtype(), with_last(x.shape(), a.shape()[0]));
  if (!ctx.runs()) return;
  product_nt(*ctx.pool, product_compute(ctx), matrix(x.value()), matrix(a.value()), mutable_matrix(u));
  with_type("lora_linear", u.dtype(),
            [&]<class T>(T) { sedum::scale<T>(*ctx.pool, u.data<T>(), factor, u.count(), u.data<T>()); });
  product_nt(*ctx.pool, product_compute(ctx), matrix(u), matrix(b.value()), mutable_matrix(y), true);
}

Variable lora_linear(Context& ctx, const Variable& x, const Weight& weight, const Variable* bias, const Variable& a,
                     const Variable& b, float factor, const Variable* low) {
  check_linear("lora_linear", x, weight, bias);
  const int64_t rank = a.shape()[0];
  check(a.shape() == Shape{rank, weight.in_features()} && b.shape() == Shape{weight.out_features(), rank},
        "lora_linear",
        "A " + a.shape().text() + " and B " + b.shape().text() + " do not fit the weight " +
            weight.stored.shape().text());
  if (low) check_same_shape("lora_linear", x, *low);
  const Tensor seen = low ? low->value() : x.value();
  Tensor y = ctx.empty(x.dtype(), with_last(x.shape(), weight.out_features()));
  Tensor u = ctx.empty(x.dtype(), with_last(x.shape(), rank));  // factor · x · Aᵀ
  const Compute compute = product_compute(ctx);
  forward(ctx, x, weight, bias, y);
  product_nt(ctx, compute, seen, a.value(), u);
  scale_by(ctx, factor, u);
  product_nt(ctx, compute, u, b.value(), y, true);
  const Variable none;
  const size_t low_input = low ? 5 : 0;
  return record(ctx, "lora_linear", {&x, &weight.stored, bias ? bias : &none, &a, &b, low ? low : &none}, y,
                [xv = x.value(), seen, w = weight, av = a.value(), bv = b.value(), u, factor, compute,
                 low_input](BackwardPass& pass) {
                  Context& c = pass.context();
                  const Tensor& dy = pass.gradient();
                  backward_parameters(pass, xv);
                  if (pass.wants(4)) {  // dB = dyᵀ · u
                    auto [db, accumulate] = pass.target(4);
                    product_tn(c, compute, dy, u, db, accumulate);
                  }
                  Tensor du = c.empty(u.dtype(), u.shape());  // factor · dy · B
                  product_nn(c, compute, dy, bv, du);
                  scale_by(c, factor, du);
                  if (pass.wants(3)) {  // dA = duᵀ · x
                    auto [da, accumulate] = pass.target(3);
                    product_tn(c, compute, du, seen, da, accumulate);
                  }
                  backward_data(pass, w);
                  if (pass.wants(low_input)) {  // dx += du · A
                    auto [dx, accumulate] = pass.target(low_input);
                    product_nn(c, compute, du, av, dx, accumulate);
                  }
                });
}

}  // namespace sedum::ops
