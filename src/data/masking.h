#pragma once
// Which tokens a masked-language model must guess, as BERT draws them (Devlin et al. 2019, 3.1): 15 % of the tokens; of these 80 % become the mask,
// 10 % any token, 10 % stay. Drawn anew at each step, as RoBERTa does, by (seed, step, sample, place): no batch, thread or restart changes it.
//
//   Masked m = mask_tokens(batch, {.mask_token = 4, .vocab_size = 30522, .seed = 42}, step);
//   m.ids                      // what the model sees
//   m.rows, m.labels           // the rows that carry a loss, and what stood there

#include <cstdint>
#include <vector>

#include "data/loader.h"

namespace sedum::data {

struct MaskOptions {
  double share = 0.15;
  int32_t mask_token = -1;
  int64_t vocab_size = 0;
  uint64_t seed = 42;
};

struct Masked {
  std::vector<int32_t> ids;           // (tokens)
  std::vector<int32_t> rows, labels;  // (chosen), rows ascending
};

// Tokens that may be chosen are those whose label in the sample is not kIgnored, but for a sequence's first.
Masked mask_tokens(const StepBatch& batch, const MaskOptions& options, int64_t step);

}  // namespace sedum::data
