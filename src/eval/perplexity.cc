#include "eval/perplexity.h"

#include <algorithm>

#include "base/error.h"
#include "compute/ops/loss.h"
#include "infer/paged_cache.h"

namespace sedum {
namespace {

// Σ −log p of ids[1…] given what stands before.
double window_loss(Context& ctx, const CausalModel& model, const std::vector<int32_t>& ids, PagedCache* cache) {
  auto targets = std::make_shared<std::vector<int32_t>>(ids.begin() + 1, ids.end());
  targets->push_back(ops::kIgnored);
  Batch batch = Batch::of_sequences({ids});
  PagedSequence sequence;
  std::optional<PagedStep> past;
  if (cache) {
    SEDUM_CHECK(cache->reserve(sequence, int64_t(ids.size())));
    batch.state = &past.emplace(*cache, std::vector<PagedStep::Part>{{&sequence, int64_t(ids.size())}});
  }
  const Variable hidden = model.hidden_states(ctx, batch);
  if (cache) cache->release(sequence);
  return double(*ops::cross_entropy_head(ctx, hidden, model.head(), targets, 1).value().data<float>());
}

}  // namespace

Perplexity perplexity(Context& ctx, const CausalModel& model, const std::vector<int32_t>& ids,
                      const PerplexityOptions& options, const std::function<void(int64_t, int64_t)>& progress) {
  if (ids.size() < 2)
    throw Error("the text has " + std::to_string(ids.size()) + " tokens: there is nothing to predict",
                "give a longer text");
  const int64_t longest = std::min(options.window, model.config().max_position_embeddings);
  if (longest < 2)
    throw Error("a window of " + std::to_string(longest) + " tokens predicts nothing", "choose a larger --window");
  int64_t windows = std::max<int64_t>(1, int64_t(ids.size()) / longest);
  if (options.max_windows > 0) windows = std::min(windows, options.max_windows);
  Perplexity result;
  std::optional<PagedCache> cache;
  if (options.kv_cache) cache.emplace(*ctx.arena, model.config(), *options.kv_cache, PagedCache::pages_for(longest));
  for (int64_t w = 0; w < windows; ++w) {
    const auto begin = ids.begin() + w * longest;
    const std::vector<int32_t> window(begin, begin + std::min<int64_t>(longest, ids.end() - begin));
    result.negative_log_likelihood += window_loss(ctx, model, window, cache ? &*cache : nullptr);
    result.tokens += int64_t(window.size()) - 1;
    if (progress) progress(w + 1, windows);
  }
  return result;
}

std::vector<data::TextScore> ModelScorer::score(std::span<const std::string> texts) const {
  std::vector<data::TextScore> scores;
  Context ctx = model_.runtime().context(model_.compute());
  const auto tokenizer = model_.checkpoint().tokenizer();
  for (const std::string& text : texts) {
    const auto ids = tokenizer->encode(text, {.add_special = true, .parse_special = false});
    data::TextScore score;
    for (size_t at = 0; at + 1 < ids.size(); at += size_t(model_.model().config().max_position_embeddings)) {
      const Perplexity p = perplexity(ctx, model_.model(), {ids.begin() + long(at), ids.end()},
                                      {.window = model_.model().config().max_position_embeddings, .max_windows = 1});
      score.negative_log_likelihood += p.negative_log_likelihood, score.tokens += p.tokens;
    }
    scores.push_back(score);
  }
  return scores;
}

}  // namespace sedum
