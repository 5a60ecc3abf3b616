#include "compute/ops/log_probs.h"

#include <algorithm>
#include <cmath>

#include "compute/kernels/rows.h"
#include "compute/ops/vocabulary.h"

namespace sedum::ops {
namespace {

void check_head(const char* op, const Variable& hidden, const Weight& weight) {
  check(hidden.shape()[-1] == weight.in_features(), op,
        "hidden " + hidden.shape().text() + " does not fit the weight " + weight.stored.shape().text());
}

// Each row of x times its factor.
void scale_rows(Context& ctx, const Tensor& factors, Tensor& x) {
  if (!ctx.runs()) return;
  const int64_t cols = x.size(-1);
  with_type("token_log_probs", x.dtype(), [&]<class T>(T) {
    ctx.pool->parallel_for(x.shape().rows(), [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r)
        for (int64_t c = 0; c < cols; ++c)
          x.data<T>()[r * cols + c] = T(static_cast<stat_t<T>>(x.data<T>()[r * cols + c]) * statistics<T>(factors)[r]);
    });
  });
}

// One chunk after the other: logits, and what `visit` makes of them in place. visit(logits (n,V), begin, n).
template <class F>
void for_each_chunk(Context& ctx, const Tensor& x, const Weight& weight, DType statistic, F&& visit,
                    int64_t chunk_bytes = kChunkBytes) {
  const int64_t count = x.size(0), vocabulary = weight.out_features(),
                chunk = chunk_rows(count, vocabulary, statistic, chunk_bytes);
  Tensor logits = ctx.empty(statistic, {chunk, vocabulary});
  for (int64_t begin = 0; begin < count && (ctx.runs() || begin == 0); begin += chunk) {
    const int64_t n = std::min(chunk, count - begin);
    Tensor part = x.slice(0, begin, begin + n), some = logits.slice(0, 0, n);
    chunk_logits(ctx, part, weight, some);
    visit(some, begin, n);
  }
}

// losses ← −log p, logits ← −(softmax − one-hot) unless they are kept: the gradient of log p.
void log_prob_gradients(Context& ctx, Tensor& logits, const int32_t* labels, int64_t begin, int64_t n, Tensor& losses,
                        bool keep, const Weight& weight) {
  KeptLogits capped(ctx, weight, logits.dtype(), keep ? 0 : n);
  if (!ctx.runs()) return;
  if (!keep) capped.keep(ctx, logits);
  with_statistic(logits.dtype(), [&]<class T>(T) {
    sedum::cross_entropy<T>(*ctx.pool, logits.data<T>(), labels + begin, -1, n, logits.size(-1),
                            losses.data<T>() + begin, keep);
  });
  if (!keep) capped.uncap(ctx, logits);
}

// KL divergence between the softmaxes of two rows of logits over T, which are p and q already: Σ q (t − z) / T + log-sum-exps, each of
// which follows from the largest probability.
template <class T>
double divergence(const T* z, const T* t, const T* p, const T* q, int64_t n, double temperature) {
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += double(q[i]) * (double(t[i]) - double(z[i]));
  const auto log_sum_exp = [n, temperature](const T* x, const T* probability) {
    const int64_t largest = std::max_element(x, x + n) - x;
    return double(x[largest]) / temperature - std::log(double(probability[largest]));
  };
  return sum / temperature + log_sum_exp(z, p) - log_sum_exp(t, q);
}

}  // namespace

Variable token_log_probs(Context& ctx, const Variable& hidden, const Weight& weight, const Ids& labels) {
  check_head("token_log_probs", hidden, weight);
  const auto labelled = std::make_shared<const LabelledRows>(
      labelled_rows("token_log_probs", labels, hidden.shape().rows(), weight.out_features()));
  const Variable x = select_rows(ctx, hidden, labelled->rows);
  const int64_t count = x.shape()[0];
  const DType statistic = statistic_type(hidden.dtype());
  const bool wants_x = recording(ctx, {&hidden}), wants_w = recording(ctx, {&weight.stored});
  Tensor y = ctx.empty(statistic, {count});
  Tensor dx = wants_x && !wants_w ? ctx.empty(x.dtype(), x.shape()) : Tensor();  // for a gradient of 1 in every row
  for_each_chunk(ctx, x.value(), weight, statistic, [&](Tensor& some, int64_t begin, int64_t n) {
    log_prob_gradients(ctx, some, labelled->labels.data(), begin, n, y, !dx.defined(), weight);
    if (!dx.defined()) return;
    Tensor dpart = dx.slice(0, begin, begin + n);
    head_gradient(ctx, some, weight, dpart);
  });
  if (ctx.runs())
    with_statistic(statistic, [&]<class T>(T) {
      for (int64_t i = 0; i < count; ++i) y.data<T>()[i] = -y.data<T>()[i];
    });
  return record(ctx, "token_log_probs", {&x, &weight.stored}, y,
                [xv = x.value(), weight, labelled, dx, statistic](BackwardPass& pass) mutable {
                  Context& c = pass.context();
                  if (dx.defined()) {
                    scale_rows(c, pass.gradient(), dx);
                    return pass.add(0, dx);
                  }
                  Tensor dall = pass.wants(0) ? c.empty(xv.dtype(), xv.shape()) : Tensor();
                  Tensor losses = c.empty(statistic, {xv.size(0)}), dw = pass.sum(1);
                  for_each_chunk(c, xv, weight, statistic, [&](Tensor& some, int64_t begin, int64_t n) {
                    log_prob_gradients(c, some, labelled->labels.data(), begin, n, losses, false, weight);
                    scale_rows(c, pass.gradient().slice(0, begin, begin + n), some);
                    if (dall.defined()) {
                      Tensor dpart = dall.slice(0, begin, begin + n);
                      head_gradient(c, some, weight, dpart);
                    }
                    product_tn(c, head_compute(c), some, xv.slice(0, begin, begin + n), dw, true);
                  });
                  if (dall.defined()) pass.add(0, dall);
                });
}

Variable distillation_head(Context& ctx, const Variable& hidden, const Weight& weight, const Teacher& teacher,
                           const Ids& labels, const DistillationLoss& loss, float factor, double* kl,
                           double* cross_entropy) {
  check_head("distillation_head", hidden, weight);
  check_head("distillation_head", teacher.hidden, teacher.weight);
  const int64_t vocabulary = weight.out_features();
  check(teacher.weight.out_features() == vocabulary && teacher.hidden.shape().rows() == hidden.shape().rows(),
        "distillation_head",
        "teacher " + teacher.weight.stored.shape().text() + " and student " + weight.stored.shape().text() +
            " have other vocabularies or rows");
  check(loss.temperature > 0 && loss.alpha >= 0 && loss.alpha <= 1, "distillation_head",
        "the temperature is not above 0, or alpha not in [0, 1]");
  const LabelledRows labelled = labelled_rows("distillation_head", labels, hidden.shape().rows(), vocabulary);
  const Variable x = select_rows(ctx, hidden, labelled.rows);
  Context constant = ctx;
  constant.tape = nullptr;
  const Tensor t = select_rows(constant, teacher.hidden, labelled.rows).value();
  const DType statistic = statistic_type(hidden.dtype());
  const bool wants_x = recording(ctx, {&hidden}), wants_w = recording(ctx, {&weight.stored});
  Tensor y = ctx.empty(statistic, {}), dx = wants_x ? ctx.empty(x.dtype(), x.shape()) : Tensor(),
         dw = wants_w ? ctx.zeros(statistic, weight.stored.shape()) : Tensor();
  constexpr int64_t kQuarter = kChunkBytes / 4;  // four blocks are held: both logits, both softmaxes
  const int64_t chunk = chunk_rows(x.shape()[0], vocabulary, statistic, kQuarter);
  Tensor target = ctx.empty(statistic, {chunk, vocabulary}), p = ctx.empty(statistic, target.shape()),
         q = ctx.empty(statistic, target.shape()), ces = ctx.empty(statistic, {x.shape()[0]});
  std::vector<double> kls(size_t(x.shape()[0]));
  KeptLogits kept(ctx, weight, statistic, chunk);
  const auto chunk_gradient = [&]<class T>(T* z, const T* t_logits, int64_t begin, int64_t n) {
    const float temperature = loss.temperature;
    softmax_forward<T>(*ctx.pool, z, 1 / temperature, n, vocabulary, p.data<T>());
    softmax_forward<T>(*ctx.pool, t_logits, 1 / temperature, n, vocabulary, q.data<T>());
    ctx.pool->parallel_for(n, [&](int64_t from, int64_t to) {
      for (int64_t r = from; r < to; ++r) {
        const int64_t at = r * vocabulary;
        kls[size_t(begin + r)] =
            divergence(z + at, t_logits + at, p.data<T>() + at, q.data<T>() + at, vocabulary, double(temperature));
      }
    });
    sedum::cross_entropy<T>(*ctx.pool, z, labelled.labels.data() + begin, factor * (1 - loss.alpha), n, vocabulary,
                            ces.data<T>() + begin, false);
    const T soft = T(factor * loss.alpha * temperature);  // d/dz of T² KL is T (p − q)
    ctx.pool->parallel_for(n, [&](int64_t from, int64_t to) {
      for (int64_t i = from * vocabulary; i < to * vocabulary; ++i) z[i] += soft * (p.data<T>()[i] - q.data<T>()[i]);
    });
  };
  for_each_chunk(
      ctx, x.value(), weight, statistic,
      [&](Tensor& some, int64_t begin, int64_t n) {
        Tensor theirs = target.slice(0, 0, n);
        chunk_logits(ctx, t.slice(0, begin, begin + n), teacher.weight, theirs);
        kept.keep(ctx, some);
        if (ctx.runs())
          with_statistic(statistic, [&]<class T>(T) { chunk_gradient(some.data<T>(), theirs.data<T>(), begin, n); });
        kept.uncap(ctx, some);
        if (wants_x) {
          Tensor dpart = dx.slice(0, begin, begin + n);
          head_gradient(ctx, some, weight, dpart);
        }
        if (wants_w) product_tn(ctx, head_compute(ctx), some, x.value().slice(0, begin, begin + n), dw, true);
      },
      kQuarter);
  double all_kl = 0, all_ce = 0;
  for (const double v : kls) all_kl += v;
  if (ctx.runs())
    with_statistic(statistic, [&]<class T>(T) {
      for (int64_t i = 0; i < ces.count(); ++i) all_ce += double(ces.data<T>()[i]);
    });
  if (kl) *kl = all_kl;
  if (cross_entropy) *cross_entropy = all_ce;
  if (ctx.runs())
    with_statistic(statistic, [&]<class T>(T) {
      const double t2 = double(loss.temperature) * loss.temperature;
      *y.data<T>() = T(double(factor) * (loss.alpha * t2 * all_kl + (1 - double(loss.alpha)) * all_ce));
    });
  return record(ctx, "distillation_head", {&x, &weight.stored}, y, [dx, dw](BackwardPass& pass) mutable {
    Context& c = pass.context();
    const auto scaled = [&](Tensor& g) {
      if (c.runs())
        with_type("distillation_head", g.dtype(), [&]<class T>(T) {
          const float seed = float(pass.gradient().dtype() == DType::kF64 ? *pass.gradient().data<double>()
                                                                          : *pass.gradient().data<float>());
          if (seed != 1) sedum::scale<T>(*c.pool, g.data<T>(), seed, g.count(), g.data<T>());
        });
      return g;
    };
    if (pass.wants(0)) pass.add(0, scaled(dx));
    if (pass.wants(1)) pass.add(1, scaled(dw));
  });
}

}  // namespace sedum::ops
