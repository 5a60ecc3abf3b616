#include "eval/divergence.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace sedum {
namespace {

double log_sum_exp(const float* x, int64_t n) {
  const float top = *std::max_element(x, x + n);
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += std::exp(double(x[i]) - top);
  return double(top) + std::log(sum);
}

// Of some rows of a window at once: the logits of a whole window of a large vocabulary would take hundreds of megabytes.
constexpr int64_t kRowsAtOnce = 64;

struct Sums {
  double kl = 0, original_loss = 0, loss = 0, same = 0;
};

Sums compare_rows(ThreadPool& pool, const Tensor& p, const Tensor& q, const int32_t* targets) {
  const int64_t rows = p.shape().rows(), n = p.size(-1);
  std::vector<Sums> each(static_cast<size_t>(rows));
  pool.parallel_for(rows, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      const float *a = p.data<float>() + r * n, *b = q.data<float>() + r * n;
      each[size_t(r)] = {.kl = kl_of_logits(a, b, n),
                         .original_loss = log_sum_exp(a, n) - double(a[targets[r]]),
                         .loss = log_sum_exp(b, n) - double(b[targets[r]]),
                         .same = std::max_element(a, a + n) - a == std::max_element(b, b + n) - b ? 1.0 : 0.0};
    }
  });
  Sums sum;
  for (const Sums& s : each)
    sum.kl += s.kl, sum.original_loss += s.original_loss, sum.loss += s.loss, sum.same += s.same;
  return sum;
}

}  // namespace

double kl_of_logits(const float* p, const float* q, int64_t n) {
  const double log_p = log_sum_exp(p, n), log_q = log_sum_exp(q, n);
  double kl = 0;
  for (int64_t i = 0; i < n; ++i) {
    const double difference = (double(p[i]) - log_p) - (double(q[i]) - log_q);
    kl += std::exp(double(p[i]) - log_p) * difference;
  }
  return kl;
}

Divergence divergence(Context& original_ctx, const CausalModel& original, Context& ctx, const CausalModel& model,
                      const std::vector<int32_t>& ids, const PerplexityOptions& options,
                      const std::function<void(int64_t, int64_t)>& progress) {
  if (original.config().vocab_size != model.config().vocab_size)
    throw Error("the two models have vocabularies of different sizes", "compare a model with what was made of it");
  const int64_t longest = std::min(options.window, model.config().max_position_embeddings);
  if (ids.size() < 2 || longest < 2) throw Error("there is nothing to predict", "give a longer text");
  int64_t windows = std::max<int64_t>(1, int64_t(ids.size()) / longest);
  if (options.max_windows > 0) windows = std::min(windows, options.max_windows);
  Divergence result;
  Sums sum;
  for (int64_t w = 0; w < windows; ++w) {
    const auto begin = ids.begin() + w * longest;
    const std::vector<int32_t> window(begin, begin + std::min<int64_t>(longest, ids.end() - begin));
    const Variable a = original.hidden_states(original_ctx, Batch::of_sequences({window}));
    const Variable b = model.hidden_states(ctx, Batch::of_sequences({window}));
    const int64_t predicted = int64_t(window.size()) - 1;
    for (int64_t from = 0; from < predicted; from += kRowsAtOnce) {
      const int64_t to = std::min(predicted, from + kRowsAtOnce);
      const Variable p = original.logits(original_ctx, Variable(a.value().slice(0, from, to)));
      const Variable q = model.logits(ctx, Variable(b.value().slice(0, from, to)));
      const Sums part = compare_rows(*ctx.pool, p.value(), q.value(), window.data() + from + 1);
      sum.kl += part.kl, sum.original_loss += part.original_loss, sum.loss += part.loss, sum.same += part.same;
    }
    result.tokens += predicted;
    if (progress) progress(w + 1, windows);
  }
  const double n = double(result.tokens);
  result.kl = sum.kl / n, result.same_best = sum.same / n;
  result.original_perplexity = std::exp(sum.original_loss / n), result.perplexity = std::exp(sum.loss / n);
  return result;
}

}  // namespace sedum
