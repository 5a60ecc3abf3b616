#pragma once
// A run's checkpoints: everything that the next step depends on.
//
//   save_state(run / "checkpoint-120", {.step = 120, .config = canonical}, optimizer);   // a folder, there whole or not at all
//   std::optional<RunState> state = load_latest(run, optimizer, canonical);
//
// A checkpoint holds parameters and the optimizer's states as they are stored, and the number of steps done. Order of data, random numbers and learning rate follow
// from that number. The version and the world size are written so that later readers can tell.

#include <filesystem>
#include <optional>
#include <string>

#include "train/optim/optimizer.h"
#include "train/stability.h"

namespace sedum {

struct RunState {
  int64_t step = 0;  // updates done
  int world_size = 1;
  std::string config;   // TrainConfig::canonical()
  uint64_t tokens = 0;  // seen so far
  OutlierDetector losses = {}, gradient_norms = {};
  BestMetric best = {};
  LossScale loss_scale = {};
};

void save_state(const std::filesystem::path& folder, const RunState& state, const Optimizer& optimizer);
// The newest checkpoint that is complete, loaded into the optimizer's parameters and states; none: nothing changes. Error when it belongs to
// another configuration.
std::optional<RunState> load_latest(const std::filesystem::path& run, Optimizer& optimizer, const std::string& config);
// The parameters alone, of the checkpoint of one step.
void load_parameters(const std::filesystem::path& run, int64_t step, const std::vector<Variable>& parameters);
// Deletes all but the newest `keep` checkpoints and that of the step `kept`, and what an interrupted save left.
void rotate(const std::filesystem::path& run, int keep, int64_t kept = -1);

}  // namespace sedum
