#pragma once
// From logits to a token.
//
//   Sampler sampler(params);
//   int32_t id = sampler.sample(logits, history, step);   // step: how many tokens this answer has so far
//
// Order and meaning of the filters follow transformers' logits processors. Random numbers are counted by (seed, step): the same request gives
// the same answer, whoever shares its batch. Among equal logits the lowest id comes first.

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "infer/engine.h"

namespace sedum {

// Error naming the parameter when one is out of range.
void check_sampling(const SamplingParams& params, int64_t vocab_size);

class Sampler {
 public:
  explicit Sampler(const SamplingParams& params) : params_(params) {}
  // `logits` is changed in place. history: prompt and answer so far; the last `step` of them are the answer.
  // allowed: a bit for each id that may be drawn; empty: all. Error when none is left.
  int32_t sample(std::span<float> logits, std::span<const int32_t> history, uint64_t step,
                 std::span<const uint64_t> allowed = {});

  // The distribution that sample() draws from: (probability, id), best first where a filter needed the order. For tests and displays.
  std::vector<std::pair<float, int32_t>> distribution(std::span<float> logits, std::span<const int32_t> history,
                                                      uint64_t step = 0, std::span<const uint64_t> allowed = {});
  // Biases and penalties alone, in place.
  void process(std::span<float> logits, std::span<const int32_t> history, uint64_t step);

 private:
  struct Candidate {
    float logit;
    int32_t id;
  };
  void keep_best(size_t count);
  void cut_top_p(double total);
  void keep_typical(double total, float largest);
  SamplingParams params_;
  std::vector<Candidate> candidates_;
  std::vector<int32_t> seen_;
};

void forbid(std::span<float> logits, std::span<const uint64_t> allowed);  // −∞ for those without their bit
int32_t argmax(std::span<const float> values);                            // the first of the largest; NaN never wins

}  // namespace sedum
