#pragma once
// A training run as people follow it: what its events say, put together once for the terminal and the dashboard.
//
//   RunView view({.peak_flops = …, .flops_per_token = …, .forecast_bytes = …});
//   events.listen([&](const Event& e) { view.hear(e); });
//   view.lines(width);             // for a terminal
//   view.document(since);          // for a page: JSON
//
// hear() comes from the run's thread, document() from any.

#include <deque>
#include <mutex>
#include <string>
#include <vector>

#include "base/events.h"
#include "base/json.h"

namespace sedum::cli {

struct RunLimits {
  double peak_flops = 0;       // of the machine, at the run's precision; 0: not known
  double flops_per_token = 0;  // forward and backward
  uint64_t forecast_bytes = 0;
};

class RunView {
 public:
  explicit RunView(const RunLimits& limits) : limits_(limits) {}
  void hear(const Event& e);
  // What a terminal shows, without colours: where the run is, its loss as a curve, rates, speed, memory.
  std::vector<std::string> lines(size_t width) const;
  // {"start": …, "steps": [those after `since`], "evals": […], "samples": […], "now": {…}, "done": …}
  nlohmann::json document(int64_t since) const;
  double seconds_left() const;
  double tokens_per_second() const;  // over the last steps
  double share() const;              // of the peak; 0: not known

 private:
  struct Step {
    int64_t step;
    double loss, grad_norm, learning_rate, tokens, seconds;
    bool skipped;
  };
  double speed(double Step::*amount) const;  // of the last steps, per second
  nlohmann::json now() const;
  const RunLimits limits_;
  mutable std::recursive_mutex mutex_;
  nlohmann::json start_, evals_ = nlohmann::json::array(), samples_ = nlohmann::json::array(), end_;
  std::vector<Step> steps_;
  int64_t total_ = 0;
  uint64_t memory_ = 0;
};

// ▁▂▃▄▅▆▇█: `values` as a curve of at most `width` characters, each the mean of its share.
std::string sparkline(const std::vector<double>& values, size_t width);

}  // namespace sedum::cli
