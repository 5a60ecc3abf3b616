#include "infer/sampler.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "base/error.h"
#include "base/random.h"

namespace sedum {
namespace {

void require(bool good, const char* name, double value, const char* range) {
  if (!good) throw Error(fmt::format("{} = {} is out of range", name, value), fmt::format("it must be {}", range));
}

}  // namespace

void check_sampling(const SamplingParams& p, int64_t vocab_size) {
  require(std::isfinite(p.temperature) && p.temperature >= 0, "temperature", p.temperature, "0 (greedy) or more");
  require(p.top_k >= 0, "top_k", p.top_k, "0 (off) or more");
  require(p.top_p > 0 && p.top_p <= 1, "top_p", p.top_p, "above 0 and at most 1");
  require(p.min_p >= 0 && p.min_p <= 1, "min_p", p.min_p, "between 0 and 1");
  require(std::isfinite(p.repetition_penalty) && p.repetition_penalty > 0, "repetition_penalty", p.repetition_penalty,
          "above 0");
  require(p.typical_p > 0 && p.typical_p <= 1, "typical_p", p.typical_p, "above 0 and at most 1");
  require(p.frequency_penalty >= -2 && p.frequency_penalty <= 2, "frequency_penalty", p.frequency_penalty,
          "between -2 and 2");
  require(p.presence_penalty >= -2 && p.presence_penalty <= 2, "presence_penalty", p.presence_penalty,
          "between -2 and 2");
  for (const auto& [id, bias] : p.logit_bias) {
    require(id >= 0 && id < vocab_size, "logit_bias of the token", id, "in the vocabulary");
    require(std::isfinite(bias), "logit_bias", bias, "a number");
  }
  require(p.n >= 1 && p.n <= 64, "n", p.n, "between 1 and 64");
  require(p.best_of == 0 || (p.best_of >= p.n && p.best_of <= 64), "best_of", p.best_of, "between n and 64");
  require(p.logprobs >= -1 && p.logprobs <= 20, "logprobs", p.logprobs, "at most 20");
  require(p.prompt_logprobs >= -1 && p.prompt_logprobs <= 20, "prompt_logprobs", p.prompt_logprobs, "at most 20");
  require(p.num_beams >= 1 && p.num_beams <= 64, "num_beams", p.num_beams, "between 1 and 64");
  require(p.num_beam_groups >= 1 && p.num_beam_groups <= p.num_beams, "num_beam_groups", p.num_beam_groups,
          "between 1 and num_beams");
  require(std::isfinite(p.length_penalty) && std::abs(p.length_penalty) <= 100, "length_penalty", p.length_penalty,
          "between -100 and 100");
  require(p.diversity_penalty >= 0 && p.diversity_penalty <= 1000, "diversity_penalty", p.diversity_penalty,
          "between 0 and 1000");
  require(p.penalty_alpha >= 0 && p.penalty_alpha <= 1, "penalty_alpha", p.penalty_alpha, "between 0 and 1");
  require(p.max_tokens == -1 || p.max_tokens >= 1, "max_tokens", p.max_tokens, "at least 1");
  for (const int32_t id : p.stop_ids) require(id >= 0 && id < vocab_size, "stop id", id, "in the vocabulary");
}

int32_t argmax(std::span<const float> values) {
  size_t best = 0;
  for (size_t i = 1; i < values.size(); ++i)
    if (values[i] > values[best] || std::isnan(values[best])) best = i;
  return int32_t(best);
}

// `seen_` holds sorted ids.
template <class F>
void for_each_count(const std::vector<int32_t>& sorted, F&& f) {
  for (size_t i = 0, j; i < sorted.size(); i = j) {
    for (j = i; j < sorted.size() && sorted[j] == sorted[i];) ++j;
    f(size_t(sorted[i]), j - i);
  }
}

void Sampler::process(std::span<float> logits, std::span<const int32_t> history, uint64_t step) {
  for (const auto& [id, bias] : params_.logit_bias)
    logits[size_t(id)] = bias <= -100 ? -INFINITY : logits[size_t(id)] + bias;
  if (params_.repetition_penalty != 1) {
    seen_.assign(history.begin(), history.end());
    std::sort(seen_.begin(), seen_.end());
    for_each_count(seen_, [&](size_t id, size_t) {
      float& logit = logits[id];
      logit = logit < 0 ? logit * params_.repetition_penalty : logit / params_.repetition_penalty;
    });
  }
  if (params_.frequency_penalty == 0 && params_.presence_penalty == 0) return;
  seen_.assign(history.end() - long(step), history.end());
  std::sort(seen_.begin(), seen_.end());
  for_each_count(seen_, [&](size_t id, size_t count) {
    logits[id] -= params_.frequency_penalty * float(count) + params_.presence_penalty;
  });
}

// The `count` best candidates, in order.
void Sampler::keep_best(size_t count) {
  const auto better = [](const Candidate& a, const Candidate& b) {
    return a.logit > b.logit || (a.logit == b.logit && a.id < b.id);
  };
  count = std::min(count, candidates_.size());
  if (count < candidates_.size())
    std::nth_element(candidates_.begin(), candidates_.begin() + long(count), candidates_.end(), better);
  std::sort(candidates_.begin(), candidates_.begin() + long(count), better);
  candidates_.resize(count);
}

// The smallest set of best candidates whose probability reaches top_p. Sorting 150,000 candidates takes longer than a small model's
// step, and a few hundred nearly always do: so the sorted part grows until it is enough. total: Σ exp(logit − largest).
void Sampler::cut_top_p(double total) {
  const std::vector<Candidate> all = candidates_;
  for (size_t count = 256;; count *= 8) {
    candidates_ = all;
    keep_best(count);
    double mass = 0;
    for (size_t i = 0; i < candidates_.size(); ++i) {
      mass += std::exp(double(candidates_[i].logit) - candidates_[0].logit) / total;
      if (mass >= params_.top_p) return candidates_.resize(i + 1);
    }
    if (count >= all.size()) return;  // rounding: all of them together miss top_p
  }
}

// Those whose surprise −log p is nearest to the expected one, up to typical_p together (all that are as near as the last of them).
void Sampler::keep_typical(double total, float largest) {
  const auto log_p = [&](const Candidate& c) { return double(c.logit) - largest - std::log(total); };
  double entropy = 0;
  for (const Candidate& c : candidates_) entropy -= std::exp(log_p(c)) * log_p(c);
  std::vector<std::pair<double, double>> distances;  // |surprise − entropy|, probability
  for (const Candidate& c : candidates_) distances.emplace_back(std::abs(-log_p(c) - entropy), std::exp(log_p(c)));
  std::vector<std::pair<double, double>> sorted = distances;
  std::sort(sorted.begin(), sorted.end());
  double mass = 0, furthest = sorted.back().first;
  for (const auto& [distance, p] : sorted)
    if ((mass += p) >= double(params_.typical_p)) {
      furthest = distance;
      break;
    }
  size_t kept = 0;
  for (size_t i = 0; i < candidates_.size(); ++i)
    if (distances[i].first <= furthest) candidates_[kept++] = candidates_[i];
  candidates_.resize(kept);
}

std::vector<std::pair<float, int32_t>> Sampler::distribution(std::span<float> logits, std::span<const int32_t> history,
                                                             uint64_t step, std::span<const uint64_t> allowed) {
  process(logits, history, step);
  forbid(logits, allowed);
  candidates_.clear();
  const float inverse = 1 / params_.temperature;
  float largest = -INFINITY;
  for (size_t i = 0; i < logits.size(); ++i) {
    const float logit = logits[i] * inverse;
    if (std::isnan(logit) || logit == -INFINITY) continue;
    candidates_.push_back({logit, int32_t(i)});
    largest = std::max(largest, logit);
  }
  if (params_.top_k > 0) keep_best(size_t(params_.top_k));
  const auto total = [&] {
    double sum = 0;
    for (const Candidate& c : candidates_) sum += std::exp(double(c.logit) - largest);
    return sum;
  };
  if (params_.top_p < 1 && !candidates_.empty()) cut_top_p(total());
  if (params_.min_p > 0) {
    const double floor = std::log(double(params_.min_p)) + largest;
    std::erase_if(candidates_, [&](const Candidate& c) { return c.logit < floor; });
  }
  if (params_.typical_p < 1 && !candidates_.empty()) keep_typical(total(), largest);
  const double sum = total();
  std::vector<std::pair<float, int32_t>> result;
  result.reserve(candidates_.size());
  for (const Candidate& c : candidates_) result.emplace_back(float(std::exp(double(c.logit) - largest) / sum), c.id);
  return result;
}

void forbid(std::span<float> logits, std::span<const uint64_t> allowed) {
  if (allowed.empty()) return;
  bool some = false;
  for (size_t i = 0; i < logits.size(); ++i) {
    if ((allowed[i / 64] >> (i % 64) & 1) == 0) logits[i] = -INFINITY;
    some |= logits[i] > -INFINITY;
  }
  if (!some) throw Error("no token of the vocabulary goes on with the grammar", "choose another grammar");
}

int32_t Sampler::sample(std::span<float> logits, std::span<const int32_t> history, uint64_t step,
                        std::span<const uint64_t> allowed) {
  if (params_.temperature == 0) {
    process(logits, history, step);
    forbid(logits, allowed);
    return argmax(logits);
  }
  const auto probabilities = distribution(logits, history, step, allowed);
  if (probabilities.empty()) return argmax(logits);  // nothing but NaN and −inf
  double left = Random(params_.seed, Purpose::kSampling).uniform_double(step);
  for (const auto& [p, id] : probabilities)
    if ((left -= p) < 0) return id;
  return probabilities.back().second;  // rounding
}

}  // namespace sedum
