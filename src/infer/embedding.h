#pragma once
// A prompt's embedding: the last hidden states, averaged or of the last token, scaled to length 1.

#include "infer/decoding.h"

namespace sedum {

class Embedding : public Decoding {
 public:
  Embedding(const DecodingSetting& setting, GenerationRequest request, Emit emit);
  int64_t logit_rows(const Line&, int64_t, int64_t) const override { return 0; }
  void advance(Unit& unit, std::span<const Computed> computed) override;

 private:
  std::vector<double> sum_;
  int64_t added_ = 0;  // rows; after a preemption they come again
};

}  // namespace sedum
