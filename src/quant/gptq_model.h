#pragma once
// A whole model by GPTQ, or by rounding to the nearest, into a folder that transformers loads.
//
//   quantise_gptq(runtime, checkpoint, rows, {.bits = 4, .group_size = 128}, "out");
//
// One pass: the calibration rows go through the model together, and a linear layer is quantised when they reach it, of inputs that
// came through the quantised layers before it. At any time one layer's weights are in memory, and the rows' activations. Each layer's
// result is written to OUT.parts/ at once: a run that was stopped goes on there.

#include <filesystem>

#include "formats/safetensors.h"
#include "quant/calibration.h"
#include "quant/gptq.h"

namespace sedum {

struct GptqReport {
  int64_t layers = 0, resumed = 0;
  double seconds = 0;
};

// Error when OUT.parts/ belongs to another model (whose weights differ in any byte), other rows or other options.
GptqReport quantise_gptq(Runtime& runtime, const Checkpoint& checkpoint, const Calibration& rows,
                         const GptqOptions& options, const std::filesystem::path& out,
                         uint64_t max_shard_bytes = kMaxShardBytes);
// The same groups and files without calibration.
GptqReport quantise_nearest(Runtime& runtime, const Checkpoint& checkpoint, const GptqOptions& options,
                            const std::filesystem::path& out, uint64_t max_shard_bytes = kMaxShardBytes);

}  // namespace sedum
