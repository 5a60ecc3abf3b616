#pragma once
// What a run will take, known before anything is spent: its own steps in the shape-only mode.

#include <string>
#include <vector>

#include "train/train.h"

namespace sedum {

struct PlanLine {
  std::string what;
  uint64_t bytes;
};
struct Plan {
  std::vector<PlanLine> memory;  // adds up to anonymous_bytes
  uint64_t anonymous_bytes = 0;  // what the process will hold of its own at the peak
  uint64_t mapped_bytes = 0;     // files that are read in place; the kernel may drop their pages
  uint64_t disk_bytes = 0;       // checkpoints and result
  int64_t steps = 0, tokens_per_epoch = 0, longest_step = 0;  // tokens of the largest micro-batch
  double flops = 0;                                           // of the whole run: products forward and backward
  double flops_per_token = 0;  // without what is computed again: what a share of the peak is of
};
Plan plan(const TrainConfig& config);

}  // namespace sedum
