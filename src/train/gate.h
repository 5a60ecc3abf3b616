#pragma once
// Whether a run that came to its end was one. (What makes it pointless, such as rows without a label or with a doubled BOS, is refused as rows are
// encoded; a number that is none ends it at once.)

#include <string>
#include <vector>

#include "train/train.h"

namespace sedum {

// Of all trainable parameters' bits.
uint64_t fingerprint(const std::vector<Variable>& parameters);

// Why the run that ended is no success; empty: it is. `losses`: of the steps that were made, oldest first. `changed`: whether a parameter
// did.
std::vector<std::string> failures(const TrainConfig& config, int64_t vocab_size, const TrainResult& result,
                                  const std::vector<double>& losses, bool changed);

}  // namespace sedum
