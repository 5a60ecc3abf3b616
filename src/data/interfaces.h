#pragma once
// What a step over data may ask of a model. This room knows none: `infer/` implements these, `cli/` hands them in.
//
//   void keep_fluent(std::span<const std::string> texts, const Scorer& scorer) {
//     for (const TextScore& s : scorer.score(texts)) perplexity = std::exp(s.negative_log_likelihood / s.tokens); …

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "data/conversation.h"

namespace sedum::data {

struct TextScore {
  double negative_log_likelihood = 0;  // nats, summed over `tokens`
  int64_t tokens = 0;                  // predicted ones: the first has nothing to be predicted from
};

class Scorer {
 public:
  virtual ~Scorer() = default;
  // One score for each text, in order. A text longer than the model's context is scored in windows.
  virtual std::vector<TextScore> score(std::span<const std::string> texts) const = 0;
};

struct GeneratorOptions {
  int max_tokens = 512;
  float temperature = 0;  // 0: greedy
  float top_p = 1;
  float repetition_penalty = 1;
  uint64_t seed = 0;  // an answer depends on its prompt, these options and its place in the list alone
};

class Generator {
 public:
  virtual ~Generator() = default;
  // The assistant's next message for each conversation, in order.
  virtual std::vector<std::string> generate(std::span<const std::vector<Message>> conversations,
                                            const GeneratorOptions& options) const = 0;
};

}  // namespace sedum::data
