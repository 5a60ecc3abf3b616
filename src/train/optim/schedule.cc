#include "train/optim/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace sedum {

float learning_rate_at(Scheduler scheduler, float peak, int64_t step, int64_t warmup, int64_t total) {
  if (step < warmup) return float(double(peak) * double(step) / double(std::max<int64_t>(1, warmup)));
  const double progress = double(step - warmup) / double(std::max<int64_t>(1, total - warmup));
  switch (scheduler) {
    case Scheduler::kConstant:
      return peak;
    case Scheduler::kLinear:
      return float(double(peak) * std::max(0.0, 1 - progress));
    case Scheduler::kCosine:
      return float(double(peak) * std::max(0.0, 0.5 * (1 + std::cos(std::numbers::pi * progress))));
  }
  return peak;
}

int64_t warmup_steps(const TrainConfig& config, int64_t total) {
  return config.warmup_steps > 0 ? config.warmup_steps : int64_t(std::ceil(config.warmup_ratio * double(total)));
}

}  // namespace sedum
