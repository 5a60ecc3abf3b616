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
  require(p.max_tokens == -1 || p.max_tokens >= 1, "max_tokens", p.max_tokens, "at least 1");
  for (const int32_t id : p.stop_ids) require(id >= 0 && id < vocab_size, "stop id", id, "in the vocabulary");
}

int32_t argmax(std::span<const float> values) {
  size_t best = 0;
  for (size_t i = 1; i < values.size(); ++i)
    if (values[i] > values[best] || std::isnan(values[best])) best = i;
  return int32_t(best);
}

void Sampler::penalise(std::span<float> logits, std::span<const int32_t> history) {
  if (params_.repetition_penalty == 1) return;
  seen_.assign(history.begin(), history.end());
  std::sort(seen_.begin(), seen_.end());
  seen_.erase(std::unique(seen_.begin(), seen_.end()), seen_.end());
  for (const int32_t id : seen_) {
    float& logit = logits[size_t(id)];
    logit = logit < 0 ? logit * params_.repetition_penalty : logit / params_.repetition_penalty;
  }
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

std::vector<std::pair<float, int32_t>> Sampler::distribution(std::span<float> logits,
                                                             std::span<const int32_t> history) {
  penalise(logits, history);
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
  const double sum = total();
  std::vector<std::pair<float, int32_t>> result;
  result.reserve(candidates_.size());
  for (const Candidate& c : candidates_) result.emplace_back(float(std::exp(double(c.logit) - largest) / sum), c.id);
  return result;
}

int32_t Sampler::sample(std::span<float> logits, std::span<const int32_t> history, uint64_t step) {
  if (params_.temperature == 0) {
    penalise(logits, history);
    return argmax(logits);
  }
  const auto probabilities = distribution(logits, history);
  if (probabilities.empty()) return argmax(logits);  // nothing but NaN and −inf
  double left = Random(params_.seed, Purpose::kSampling).uniform_double(step);
  for (const auto& [p, id] : probabilities)
    if ((left -= p) < 0) return id;
  return probabilities.back().second;  // rounding
}

}  // namespace sedum
