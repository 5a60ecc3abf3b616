#include "compute/kernels/product_terms.h"
#include "compute/kernels/quantised.h"
#include "compute/kernels/rows.h"
#include "compute/ops/check.h"
#include "compute/ops/elementwise.h"
#include "compute/ops/linear_terms.h"

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

// products_nt and products_nn of tensors; in the shape-only mode their working memory is noted.
struct TensorTerm {
  const Tensor& b;
  Tensor& c;
  bool accumulate = false;
};
void products(Context& ctx, Compute compute, Product product, const Tensor& a, std::span<const TensorTerm> terms) {
  std::vector<ProductTerm> all;
  int64_t columns = 0;
  for (const TensorTerm& t : terms) {
    if (ctx.runs())
      all.push_back({matrix(t.b), mutable_matrix(t.c), t.accumulate});
    else if (ctx.working)  // alone too: results that end in an incomplete panel are summed in working memory
      ctx.working->product(compute, product, t.c.shape().rows(), t.c.size(-1), a.size(-1), t.c.dtype());
    columns += (t.c.size(-1) + 31) / 32 * 32;
  }
  if (!ctx.runs()) {
    if (ctx.working) ctx.working->product(compute, product, a.shape().rows(), columns, a.size(-1), DType::kF32);
  } else if (product == Product::kNT) {
    products_nt(*ctx.pool, compute, matrix(a), all);
  } else {
    products_nn(*ctx.pool, compute, matrix(a), all);
  }
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

// What a term computes: y, and with an adapter u = factor · x · Aᵀ.
struct TermResult {
  Tensor y, u;
};

void check_adapter(const Variable& x, const AdaptedTerm& t) {
  const int64_t rank = t.a->shape()[0];
  check(t.a->shape() == Shape{rank, t.weight->in_features()} && t.b->shape() == Shape{t.weight->out_features(), rank},
        "lora_linear",
        "A " + t.a->shape().text() + " and B " + t.b->shape().text() + " do not fit the weight " +
            t.weight->stored.shape().text());
  if (t.low.defined()) check_same_shape("lora_linear", x, t.low);
}

// Everything that reads x and is not packed already goes together: weights and A's.
std::vector<TermResult> forward(Context& ctx, const Variable& x, std::span<const AdaptedTerm> terms) {
  const Compute compute = product_compute(ctx);
  std::vector<TermResult> results;
  for (const AdaptedTerm& t : terms) {
    check_linear(t.a ? "lora_linear" : "linear", x, *t.weight, t.bias);
    if (t.a) check_adapter(x, t);
    results.push_back({ctx.empty(x.dtype(), with_last(x.shape(), t.weight->out_features())),
                       t.a ? ctx.empty(x.dtype(), with_last(x.shape(), t.a->shape()[0])) : Tensor()});
  }
  std::vector<TensorTerm> together;
  std::vector<PackedProduct> quantised;
  for (size_t i = 0; i < terms.size(); ++i) {
    const AdaptedTerm& t = terms[i];
    if (!fits(ctx, t.weight->packed))
      together.push_back({t.weight->stored.value(), results[i].y});
    else if (ctx.runs() && ctx.compute == Compute::kInt8)
      quantised.push_back({*t.weight->packed, mutable_matrix(results[i].y), false});
    else if (ctx.runs())
      product_packed(*ctx.pool, matrix(x.value()), *t.weight->packed, mutable_matrix(results[i].y));
    if (t.a && !t.low.defined()) together.push_back({t.a->value(), results[i].u});
  }
  if (!together.empty()) products(ctx, compute, Product::kNT, x.value(), together);
  if (!quantised.empty()) product_packed_int8(*ctx.pool, matrix(x.value()), quantised);
  for (size_t i = 0; i < terms.size(); ++i) {
    const AdaptedTerm& t = terms[i];
    add_bias(ctx, t.bias, results[i].y);
    if (!t.a) continue;
    if (t.low.defined()) product_nt(ctx, compute, t.low.value(), t.a->value(), results[i].u);
    scale_by(ctx, t.factor, results[i].u);
    product_nt(ctx, compute, results[i].u, t.b->value(), results[i].y, true);
  }
  return results;
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

Variable record_linear(Context& ctx, const Variable& x, const AdaptedTerm& t, const Tensor& y) {
  const Variable none;
  return record(ctx, "linear", {&x, &t.weight->stored, t.bias ? t.bias : &none}, y,
                [xv = x.value(), w = *t.weight](BackwardPass& pass) {
                  backward_parameters(pass, xv);
                  backward_data(pass, w);
                });
}

// factor · dy · B and, where x wants it, dx = dy · W: dy is packed once for both.
Tensor backward_low(BackwardPass& pass, Compute compute, const Weight& weight, const Tensor& b, int64_t rank) {
  Context& ctx = pass.context();
  const Tensor& dy = pass.gradient();
  Tensor du = ctx.empty(dy.dtype(), with_last(dy.shape(), rank));
  std::vector<TensorTerm> terms{{b, du}};
  Tensor dx;
  if (pass.wants(0) && !fits(ctx, weight.packed_transposed)) {
    auto [to, accumulate] = pass.target(0);
    dx = to;
    terms.push_back({weight.stored.value(), dx, accumulate});
  }
  products(ctx, compute, Product::kNN, dy, terms);
  if (!dx.defined()) backward_data(pass, weight);
  return du;
}

Variable record_lora(Context& ctx, const Variable& x, const AdaptedTerm& t, const TermResult& result) {
  const Variable none;
  const size_t low_input = t.low.defined() ? 5 : 0;
  return record(ctx, "lora_linear",
                {&x, &t.weight->stored, t.bias ? t.bias : &none, t.a, t.b, t.low.defined() ? &t.low : &none}, result.y,
                [xv = x.value(), seen = t.low.defined() ? t.low.value() : x.value(), w = *t.weight, av = t.a->value(),
                 bv = t.b->value(), u = result.u, factor = t.factor, compute = product_compute(ctx),
                 low_input](BackwardPass& pass) {
                  Context& c = pass.context();
                  const Tensor& dy = pass.gradient();
                  backward_parameters(pass, xv);
                  if (pass.wants(4)) {  // dB = dyᵀ · u
                    auto [db, accumulate] = pass.target(4);
                    product_tn(c, compute, dy, u, db, accumulate);
                  }
                  Tensor du = backward_low(pass, compute, w, bv, u.size(-1));
                  scale_by(c, factor, du);
                  if (pass.wants(3)) {  // dA = duᵀ · x
                    auto [da, accumulate] = pass.target(3);
                    product_tn(c, compute, du, seen, da, accumulate);
                  }
                  if (pass.wants(low_input)) {  // dx += du · A
                    auto [dx, accumulate] = pass.target(low_input);
                    product_nn(c, compute, du, av, dx, accumulate);
                  }
                });
}

}  // namespace

std::vector<Variable> linear_terms(Context& ctx, const Variable& x, std::span<const AdaptedTerm> terms) {
  const std::vector<TermResult> results = forward(ctx, x, terms);
  std::vector<Variable> recorded;
  for (size_t i = 0; i < terms.size(); ++i)
    recorded.push_back(terms[i].a ? record_lora(ctx, x, terms[i], results[i])
                                  : record_linear(ctx, x, terms[i], results[i].y));
  return recorded;
}

Variable head_logits(Context& ctx, const Variable& x, const Weight& head) {
  const Variable logits = linear(ctx, x, head);
  return head.soft_cap > 0 ? soft_cap(ctx, logits, head.soft_cap) : logits;
}

std::vector<Variable> linear_group(Context& ctx, const Variable& x, std::span<const LinearTerm> terms) {
  check(!ctx.tape, "linear_group", "is for steps without a tape");
  std::vector<AdaptedTerm> plain;
  for (const LinearTerm& t : terms) plain.push_back({.weight = t.weight, .bias = t.bias});
  return linear_terms(ctx, x, plain);
}

Variable linear(Context& ctx, const Variable& x, const Weight& weight, const Variable* bias) {
  const AdaptedTerm term{.weight = &weight, .bias = bias};
  return linear_terms(ctx, x, {&term, 1})[0];
}

void add_low_rank(Context& ctx, const Variable& x, const Variable& a, const Variable& b, float factor, Tensor& y) {
  Tensor u = ctx.empty(x.dtype(), with_last(x.shape(), a.shape()[0]));
  if (!ctx.runs()) return;
  product_nt(*ctx.pool, product_compute(ctx), matrix(x.value()), matrix(a.value()), mutable_matrix(u));
  scale_by(ctx, factor, u);
  product_nt(*ctx.pool, product_compute(ctx), matrix(u), matrix(b.value()), mutable_matrix(y), true);
}

Variable lora_linear(Context& ctx, const Variable& x, const Weight& weight, const Variable* bias, const Variable& a,
                     const Variable& b, float factor, const Variable* low) {
  const AdaptedTerm term{
      .weight = &weight, .bias = bias, .a = &a, .b = &b, .factor = factor, .low = low ? *low : Variable()};
  return linear_terms(ctx, x, {&term, 1})[0];
}

}  // namespace sedum::ops
