#pragma once
// What a run writes down about itself: metrics.jsonl, TensorBoard events, run.json; and what it tells its listeners.

#include <memory>
#include <string>

#include "base/events.h"
#include "train/objective.h"
#include "train/train.h"

namespace sedum {

class TensorboardWriter;

struct StepReport {
  int64_t step, total;  // updates done, updates of the run
  double loss, grad_norm;
  float learning_rate;
  int64_t tokens;  // of this step
  uint64_t tokens_seen;
  double seconds;
  double waited = 0;         // seconds of these in which the loop had no batch
  Metrics figures = {};      // of the stage
  std::string skipped = {};  // why the update was left out; "": it was made
};

class RunLog {
 public:
  // Drops lines of metrics.jsonl beyond the step that the run goes on from.
  RunLog(const std::filesystem::path& run, int64_t resumed_step, Events& events);
  ~RunLog();
  void start(const TrainConfig& config, const TrainableModel& trained, const TrainData& data, int64_t resumed_step);
  void step(const StepReport& report);
  void evaluated(int64_t step, double loss, const Metrics& figures = {});
  void sampled(int64_t step, const std::string& prompt, const std::string& text);
  void saved(int64_t step);
  void finish(const TrainResult& result);
  double eval_loss_before() const {
    return eval_loss_before_;
  }  // of step 0, read from the log of a run that goes on; else nan

 private:
  void metrics(const std::string& line);
  std::filesystem::path run_;
  Events& events_;
  std::unique_ptr<TensorboardWriter> board_;
  std::string lineage_;  // run.json, as text
  double eval_loss_before_;
  int64_t evaluated_ = -1;  // the last step with an evaluation in metrics.jsonl
};

}  // namespace sedum
