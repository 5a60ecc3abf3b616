#include "infer/contrastive_search.h"

#include <algorithm>
#include <cmath>

namespace sedum {
namespace {

double length_of(const float* v, size_t n) {
  double square = 0;
  for (size_t d = 0; d < n; ++d) square += double(v[d]) * v[d];
  return std::sqrt(square);
}

}  // namespace

ContrastiveSearch::ContrastiveSearch(const DecodingSetting& setting, GenerationRequest request, Emit emit)
    : Decoding(setting, std::move(request), std::move(emit)), text_(setting.tokenizer, request_.sampling.stop) {
  units_.emplace_back().lines.push_back(new_line());
  units_.back().lines[0]->use_prefixes = false;  // hidden states of the whole prompt are needed
}

// What was preempted and computed again is known already.
void ContrastiveSearch::remember(const float* hidden, int64_t position) {
  const size_t width = size_t(setting_.hidden_size);
  if (past_.size() != size_t(position) * width) return;
  const double length = length_of(hidden, width);
  for (size_t d = 0; d < width; ++d) past_.push_back(float(double(hidden[d]) / (length > 0 ? length : 1)));
}

void ContrastiveSearch::advance(Unit& unit, std::span<const Computed> computed) {
  const int64_t width = setting_.hidden_size;
  if (probabilities_.empty()) {
    const Computed& c = computed[0];
    for (int64_t r = 0; r < c.rows; ++r) remember(c.hidden + r * width, c.begin + r);
    if (c.line->pending() == 0) make_candidates(unit, 0, c.logits);
    return;
  }
  for (const auto& line : unit.lines)
    if (line->pending() > 0) return;
  if (computed.size() != unit.lines.size()) return;
  const size_t chosen = best(computed);
  const Computed& c = computed[chosen];
  remember(c.hidden + (c.rows - 1) * width, c.begin + c.rows - 1);
  if (give(c.line->tokens.back())) return make_candidates(unit, chosen, c.logits);
  release();
  units_.clear();
}

size_t ContrastiveSearch::best(std::span<const Computed> computed) const {
  const size_t width = size_t(setting_.hidden_size);
  const double alpha = double(request_.sampling.penalty_alpha);
  size_t chosen = 0;
  double greatest = -INFINITY;
  for (size_t i = 0; i < computed.size(); ++i) {
    const float* const hidden = computed[i].hidden + size_t(computed[i].rows - 1) * width;
    const double length = length_of(hidden, width);
    double likeness = -INFINITY;
    for (size_t at = 0; at < past_.size(); at += width) {
      float product = 0;
      for (size_t d = 0; d < width; ++d) product += past_[at + d] * hidden[d];
      likeness = std::max(likeness, double(product) / (length > 0 ? length : 1));
    }
    const double score = (1 - alpha) * double(probabilities_[i]) - alpha * likeness;
    if (score > greatest) greatest = score, chosen = i;
  }
  return chosen;
}

// Lines for the likeliest tokens after line `base` of the unit.
void ContrastiveSearch::make_candidates(Unit& unit, size_t base, std::span<float> logits) {
  SamplingParams params = request_.sampling;
  params.temperature = 1, params.top_p = 1, params.min_p = 0, params.typical_p = 1;
  const int top_k = std::exchange(params.top_k, 0);
  // Probabilities are those among all tokens.
  auto all = Sampler(params).distribution(logits, unit.lines[base]->tokens, size_t(made_));
  const size_t count = std::min(size_t(top_k), all.size());
  std::partial_sort(all.begin(), all.begin() + long(count), all.end(), [](const auto& x, const auto& y) {
    return x.first > y.first || (x.first == y.first && x.second < y.second);
  });
  std::vector<std::unique_ptr<Line>> next;
  probabilities_.clear();
  for (size_t i = 0; i < count; ++i) {
    next.push_back(fork(*unit.lines[base]));
    next.back()->tokens.push_back(all[i].second);
    probabilities_.push_back(all[i].first);
  }
  for (auto& line : unit.lines) drop(*line);
  unit.lines = std::move(next);
}

bool ContrastiveSearch::give(int32_t id) {
  ++made_;
  const bool end = is_end(id);
  send({.id = id, .text = end ? "" : text_.push(id), .completion_tokens = made_});
  if (!end && !text_.stopped() && made_ < most_tokens()) return true;
  send_finish({.text = text_.finish(),
               .finish = end || text_.stopped() ? FinishReason::kStop : FinishReason::kLength,
               .completion_tokens = made_});
  return false;
}

}  // namespace sedum
