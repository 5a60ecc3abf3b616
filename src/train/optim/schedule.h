#pragma once
#include <cstdint>

#include "train/config.h"

namespace sedum {

// The learning rate of a step (0-based) as transformers' schedulers give it: linear warm-up from 0 over `warmup` steps, then constant, linearly
// to 0 at `total`, or half a cosine to 0.
float learning_rate_at(Scheduler scheduler, float peak, int64_t step, int64_t warmup, int64_t total);
int64_t warmup_steps(const TrainConfig& config, int64_t total);  // the ratio rounded up, as transformers does

}  // namespace sedum
