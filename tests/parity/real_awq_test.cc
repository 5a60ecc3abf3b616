// Activation-aware scaling of a real model: nearer to the original than rounding with the same bits.

#include <gtest/gtest.h>

#include "base/file.h"
#include "eval/divergence.h"
#include "model/model_testing.h"
#include "parity_testing.h"
#include "quant/gptq_model.h"

namespace sedum::parity {
namespace {

TEST(RealAwq, DivergesLessThanRoundToNearest) {
  SEDUM_NEEDS(models_folder(), "SEDUM_TEST_MODELS");
  SEDUM_NEEDS(data_folder(), "SEDUM_TEST_DATA");
  const testing::ScratchFolder scratch;
  const std::filesystem::path path = *models_folder() / "smollm2.gguf";
  const Checkpoint checkpoint = Checkpoint::open(path);
  const std::filesystem::path shakespeare = *data_folder() / "text/tinyshakespeare.txt";
  const Calibration rows = read_calibration(shakespeare, checkpoint, {.window = 256, .max_windows = 8});
  const auto held_out = checkpoint.tokenizer()->encode(read_file(*data_folder() / "text/botchan.txt"));
  Runtime runtime;
  quantise_nearest(runtime, checkpoint, {.bits = 4, .group_size = 64}, scratch / "rtn");
  quantise_gptq(runtime, checkpoint, rows, {.bits = 4, .group_size = 64, .awq = true}, scratch / "awq");
  const RuntimeModel original(runtime, path, {.compute = Compute::kF32});
  const auto kl = [&](const char* folder) {
    const RuntimeModel model(runtime, scratch / folder, {.compute = Compute::kF32});
    Context ctx = runtime.context(Compute::kF32), own = runtime.context(Compute::kF32);
    const PerplexityOptions windows{.window = 256, .max_windows = 8};
    return divergence(own, original.model(), ctx, model.model(), held_out, windows).kl;
  };
  const double nearest = kl("rtn"), awq = kl("awq");
  std::printf("  KL of 4 bits in groups of 64: nearest %.4f, AWQ %.4f\n", nearest, awq);
  EXPECT_LT(awq, 0.8 * nearest);
}

}  // namespace
}  // namespace sedum::parity
