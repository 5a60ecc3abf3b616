#pragma once
// Contrastive search (Su et al.: "A Contrastive Framework for Neural Text Generation", 2022).
//
// Of the top_k likeliest tokens the one with the greatest (1 − α) p − α · likeness: the greatest cosine of its last hidden state with those
// of all tokens before it. A step computes all candidates; their lines share the pages of what came before.

#include "infer/decoding.h"
#include "infer/sampler.h"

namespace sedum {

class ContrastiveSearch : public Decoding {
 public:
  ContrastiveSearch(const DecodingSetting& setting, GenerationRequest request, Emit emit);
  void advance(Unit& unit, std::span<const Computed> computed) override;

 private:
  void remember(const float* hidden, int64_t position);
  size_t best(std::span<const Computed> computed) const;
  void make_candidates(Unit& unit, size_t base, std::span<float> logits);
  bool give(int32_t id);  // false: that was the last

  std::vector<float> past_;           // hidden states of all tokens chosen, of length 1
  std::vector<float> probabilities_;  // of the candidates
  AnswerText text_;
  int made_ = 0;
};

}  // namespace sedum
