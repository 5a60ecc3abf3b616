// Quantised folders that others' programs and layouts made: the logits of their dequantised values in transformers
// (tools/golden/model_quantised.py).

#include <gtest/gtest.h>

#include "base/file.h"
#include "base/json.h"
#include "formats/numpy.h"
#include "parity_testing.h"

namespace sedum::parity {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

Difference against_golden(const fs::path& folder, const std::string& name) {
  Runtime runtime(1);
  const RuntimeModel model(runtime, folder, {.compute = Compute::kF32});
  return difference(logits_of(model, golden_json("quantised/ids.json")),
                    read_npy(golden("quantised/" + name + ".logits.npy")).values<float>());
}

class QuantisedFolder : public testing::TestWithParam<const char*> {};

TEST_P(QuantisedFolder, LogitsAreThoseOfItsDequantisedValues) {
  const std::string name = GetParam();
  const Difference d = against_golden(golden("quantised/" + name), name);
  d.report(name);
  EXPECT_LE(d.relative(), kTolerance);
}

INSTANTIATE_TEST_SUITE_P(Tiny, QuantisedFolder,
                         testing::Values("gptq", "gptq_v2", "gptq_desc_act", "awq", "nf4", "nf4_plain", "int8"),
                         [](const auto& each) { return each.param; });

// What is compared above must be able to differ: zero points off by one are far outside the tolerance.
TEST(QuantisedFolders, ZeroPointsOfTheOtherFormAreSeen) {
  for (const auto& [name, form] : {std::pair{"gptq", "gptq_v2"}, std::pair{"gptq_v2", "gptq"}}) {
    const ScratchFolder scratch;
    fs::copy(golden("quantised") / name, scratch.path(), fs::copy_options::recursive);
    json config = golden_json("quantised/" + std::string(name) + "/config.json");
    config["quantization_config"]["checkpoint_format"] = form;
    write_file(scratch.path() / "config.json", config.dump());
    EXPECT_GT(against_golden(scratch.path(), name).relative(), 100 * kTolerance) << name;
  }
}

}  // namespace
}  // namespace sedum::parity
