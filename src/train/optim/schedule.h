#pragma once
// The learning rate of each step, by the names, keys and formulas of transformers' get_scheduler.
//
//   Schedule schedule{.type = Scheduler::kCosine, .learning_rate = 2e-4, .warmup = 30, .total = 1000};
//   float rate = schedule.at(step);      // 0-based; warm-up from 0, then the shape of the type
//
// All warm up linearly over `warmup` steps but for constant, which has no warm-up, and warmup_stable_decay, which is told how.

#include <cstdint>
#include <optional>

namespace sedum {

enum class Scheduler {
  kConstant,
  kConstantWithWarmup,
  kLinear,              // to 0 at `total`
  kCosine,              // num_cycles waves; 0.5, half a wave to 0, where it is not given
  kCosineWithRestarts,  // num_cycles falls from the peak to 0; 1 where it is not given
  kCosineWithMinLr,     // as cosine, to min_lr or min_lr_rate · learning_rate
  kPolynomial,          // to lr_end, with `power`
  kInverseSqrt,  // 1/√step, scaled so that it is the peak at `timescale` (the warm-up's steps; 10,000 without one)
  kWarmupStableDecay,  // warm-up, the peak, then num_decay_steps down to min_lr_ratio (Hu et al.: "MiniCPM", 2024)
};
enum class RampType { kLinear, kCosine, kOneMinusSqrt };

// lr_scheduler_kwargs.
struct SchedulerOptions {
  std::optional<double> num_cycles = {};
  double power = 1, lr_end = 1e-7;
  double min_lr = 0, min_lr_rate = 0;
  int64_t timescale = 0;
  int64_t num_decay_steps = 0;
  std::optional<int64_t> num_stable_steps = {};  // not given: what warm-up and decay leave of the total
  RampType warmup_type = RampType::kLinear, decay_type = RampType::kCosine;
  double min_lr_ratio = 0;
};

struct Schedule {
  Scheduler type = Scheduler::kCosine;
  double learning_rate = 0;  // the peak
  int64_t warmup = 0, total = 0;
  SchedulerOptions options = {};
  float at(int64_t step) const;
};

}  // namespace sedum
