#pragma once
// How far a quantised model's predictions are from those of the model that it was made of.
//
//   Divergence d = divergence(ctx, original, quantised, ids, {.window = 512, .max_windows = 8});
//   d.kl;                       // mean over tokens of KL(original ‖ quantised), nats
//   d.perplexity, d.original_perplexity, d.same_best;

#include <functional>
#include <vector>

#include "eval/perplexity.h"

namespace sedum {

struct Divergence {
  int64_t tokens = 0;
  double kl = 0;                                   // nats a token
  double original_perplexity = 0, perplexity = 0;  // on the same windows
  double same_best = 0;                            // share of tokens whose most likely next one is the same
};

// Windows as in perplexity(); each model in its own Context. Both must have the same vocabulary. Error when there is nothing to predict.
Divergence divergence(Context& original_ctx, const CausalModel& original, Context& ctx, const CausalModel& model,
                      const std::vector<int32_t>& ids, const PerplexityOptions& options,
                      const std::function<void(int64_t done, int64_t of)>& progress = nullptr);

// KL(p ‖ q) of two rows of logits, in double; the naive twin of nothing: it is the definition.
double kl_of_logits(const float* p, const float* q, int64_t n);

}  // namespace sedum
