#include "train/optim/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace sedum {
namespace {

using std::numbers::pi;

double at_least_one(int64_t n) { return double(std::max<int64_t>(1, n)); }

double rising(RampType type, double progress) {
  switch (type) {
    case RampType::kCosine:
      return 0.5 * (1 - std::cos(pi * progress));
    case RampType::kOneMinusSqrt:
      return 1 - std::sqrt(1 - progress);
    case RampType::kLinear:
      break;
  }
  return progress;
}

double falling(RampType type, double progress, double cycles) {
  switch (type) {
    case RampType::kCosine:
      return 0.5 * (1 + std::cos(pi * cycles * 2 * progress));
    case RampType::kOneMinusSqrt:
      return 1 - std::sqrt(progress);
    case RampType::kLinear:
      break;
  }
  return 1 - progress;
}

double warmup_stable_decay(const Schedule& s, int64_t step) {
  const SchedulerOptions& o = s.options;
  const int64_t stable = o.num_stable_steps.value_or(s.total - s.warmup - o.num_decay_steps);
  const auto above_minimum = [&](double factor) {
    return std::max(0.0, factor * (1 - o.min_lr_ratio) + o.min_lr_ratio);
  };
  if (step < s.warmup) return above_minimum(rising(o.warmup_type, double(step) / at_least_one(s.warmup)));
  if (step < s.warmup + stable) return 1;
  const int64_t into_decay = step - s.warmup - stable;
  if (into_decay >= o.num_decay_steps) return o.min_lr_ratio;
  return above_minimum(
      falling(o.decay_type, double(into_decay) / at_least_one(o.num_decay_steps), o.num_cycles.value_or(0.5)));
}

double polynomial(const Schedule& s, int64_t step) {
  const double end = s.options.lr_end / s.learning_rate;
  if (step > s.total || s.total <= s.warmup) return end;
  const double remaining = 1 - double(step - s.warmup) / double(s.total - s.warmup);
  return (1 - end) * std::pow(remaining, s.options.power) + end;
}

double inverse_sqrt(const Schedule& s, int64_t step) {
  const int64_t scale = s.options.timescale > 0 ? s.options.timescale : s.warmup > 0 ? s.warmup : 10000;
  return 1 / std::sqrt(double(step + scale - s.warmup) / double(scale));
}

// The share of the peak after the warm-up; progress: how much of the rest is done.
double share(const Schedule& s, int64_t step, double progress) {
  const SchedulerOptions& o = s.options;
  switch (s.type) {
    case Scheduler::kLinear:
      return std::max(0.0, 1 - progress);
    case Scheduler::kCosine:
      return std::max(0.0, 0.5 * (1 + std::cos(pi * o.num_cycles.value_or(0.5) * 2 * progress)));
    case Scheduler::kCosineWithRestarts:
      return progress >= 1
                 ? 0
                 : std::max(0.0, 0.5 * (1 + std::cos(pi * std::fmod(o.num_cycles.value_or(1) * progress, 1))));
    case Scheduler::kCosineWithMinLr: {
      const double least = o.min_lr > 0 ? o.min_lr / s.learning_rate : o.min_lr_rate;
      return std::max(0.0, 0.5 * (1 + std::cos(pi * o.num_cycles.value_or(0.5) * 2 * progress)) * (1 - least) + least);
    }
    case Scheduler::kPolynomial:
      return polynomial(s, step);
    case Scheduler::kInverseSqrt:
      return inverse_sqrt(s, step);
    case Scheduler::kConstant:
    case Scheduler::kConstantWithWarmup:
    case Scheduler::kWarmupStableDecay:
      break;
  }
  return 1;
}

}  // namespace

float Schedule::at(int64_t step) const {
  if (type == Scheduler::kWarmupStableDecay) return float(learning_rate * warmup_stable_decay(*this, step));
  if (type != Scheduler::kConstant && step < warmup)
    return float(learning_rate * (double(step) / at_least_one(warmup)));
  return float(learning_rate * share(*this, step, double(step - warmup) / at_least_one(total - warmup)));
}

}  // namespace sedum
