#pragma once
// What an encoder–decoder writes for a source: greedily, or by beam search as transformers 5 does it. The encoder runs once; each step's decoder sees
// the targets so far, all beams in one batch over the one encoded source.
//
//   Context ctx = runtime.context(Compute::kF32);
//   for (const Hypothesis& h : write_target(ctx, model, source_ids, {.max_tokens = 32, .num_beams = 4})) …      // best first

#include <vector>

#include "infer/engine.h"
#include "model/architectures/t5.h"

namespace sedum {

struct Hypothesis {
  std::vector<int32_t> ids;  // without decoder_start_token_id, with the end token if it was reached
  double score = 0;          // Σ log p, with beams over length^length_penalty
};

struct TargetOptions {
  int max_tokens = 64;
  int num_beams = 1;  // 1: greedy
  float length_penalty = 1;
  EarlyStopping early_stopping = EarlyStopping::kFalse;
};

// num_beams hypotheses, or fewer where no more were finished. Error for an empty source or ids beyond the vocabulary.
std::vector<Hypothesis> write_target(Context& ctx, const T5Model& model, const std::vector<int32_t>& source,
                                     const TargetOptions& options);

}  // namespace sedum
