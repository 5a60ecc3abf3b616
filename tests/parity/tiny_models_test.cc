// Tiny random models: the logits that transformers computes, from Hugging Face folders and from GGUF files.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/file.h"
#include "base/json.h"
#include "formats/numpy.h"
#include "parity_testing.h"

namespace sedum::parity {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

std::vector<float> exact_logits(const fs::path& path,
                                const std::vector<std::vector<int32_t>>& sequences = golden_ids()) {
  Runtime runtime(1);
  const RuntimeModel model(runtime, path, {.compute = Compute::kF32});
  return logits_of(model, sequences);
}

Difference against_golden(const std::vector<float>& logits, const std::string& name) {
  return difference(logits, read_npy(golden("models/" + name + ".logits.npy")).values<float>());
}

struct Case {
  const char *model, *logits;
  friend void PrintTo(const Case& c, std::ostream* out) { *out << c.model; }
};
class TinyModel : public testing::TestWithParam<Case> {};

// Sequences of 1, 9, 90 and 33 tokens in one batch, packed.
TEST_P(TinyModel, LogitsAreThoseOfTransformers) {
  const Difference d =
      against_golden(exact_logits(golden(std::string("models/") + GetParam().model)), GetParam().logits);
  d.report(GetParam().model);
  EXPECT_LE(d.relative(), kTolerance);
}

INSTANTIATE_TEST_SUITE_P(Folders, TinyModel,
                         testing::Values(Case{"llama", "llama"}, Case{"llama_scaled", "llama_scaled"},
                                         Case{"llama_linear", "llama_linear"}, Case{"qwen2", "qwen2"},
                                         Case{"qwen2_tied", "qwen2_tied"}, Case{"llama_bf16", "llama_bf16"},
                                         Case{"llama_sharded", "llama"}),
                         [](const auto& each) { return each.param.model; });
INSTANTIATE_TEST_SUITE_P(Gguf, TinyModel,
                         testing::Values(Case{"llama.f32.gguf", "llama"}, Case{"llama_scaled.f32.gguf", "llama_scaled"},
                                         Case{"llama_linear.f32.gguf", "llama_linear"},
                                         Case{"llama.q8_0.gguf", "llama.q8_0"}, Case{"qwen2.q8_0.gguf", "qwen2.q8_0"}),
                         [](const auto& each) {
                           std::string name = each.param.model;
                           std::replace(name.begin(), name.end(), '.', '_');
                           return name;
                         });

// What is compared above must be able to differ: golden values of near relatives are far apart on the tolerance's scale.
TEST(TinyModels, RoundingWeightsIsSeen) {
  const NpyArray f32 = read_npy(golden("models/llama.logits.npy"));
  for (const char* name : {"llama_bf16", "llama.q8_0"})
    EXPECT_GT(against_golden({f32.values<float>().begin(), f32.values<float>().end()}, name).relative(),
              20 * kTolerance)
        << name;
}

TEST(TinyModels, GgufGivesTheBitsOfItsFolder) {
  for (const std::string name : {"llama", "llama_linear"})
    EXPECT_EQ(exact_logits(golden("models/" + name + ".f32.gguf")), exact_logits(golden("models/" + name))) << name;
  EXPECT_EQ(exact_logits(golden("models/llama_sharded")), exact_logits(golden("models/llama")));
}

TEST(TinyModels, EachSequenceHasTheBitsThatItHasAlone) {
  for (const char* name : {"models/llama_scaled", "models/qwen2"}) {
    std::vector<float> alone;
    for (const auto& sequence : golden_ids()) {
      const auto logits = exact_logits(golden(name), {sequence});
      alone.insert(alone.end(), logits.begin(), logits.end());
    }
    EXPECT_EQ(exact_logits(golden(name)), alone) << name;
  }
}

TEST(TinyModels, ThreadsDoNotChangeBits) {
  const auto with_threads = [](int threads) {
    Runtime runtime(threads);
    return logits_of(RuntimeModel(runtime, golden("models/llama"), {.compute = Compute::kF32}), golden_ids());
  };
  EXPECT_EQ(with_threads(1), with_threads(3));
}

// A copy of a model's folder with another config.json.
std::vector<float> with_config(const std::string& model, const json& config) {
  const ScratchFolder folder;
  fs::copy(golden("models/" + model), folder.path(), fs::copy_options::recursive);
  write_file(folder.path() / "config.json", config.dump());
  return exact_logits(folder.path());
}

TEST(TinyModels, SpellingOfTransformers4) {
  for (const std::string model : {"llama_scaled", "llama_linear"}) {
    const json config = golden_json("models/" + model + "/config.transformers4.json");
    ASSERT_FALSE(config.contains("rope_parameters"));
    EXPECT_EQ(with_config(model, config), exact_logits(golden("models/" + model))) << model;
  }
}

// A key that is not read shows: changing it must change the logits by much more than the tolerance.
TEST(TinyModels, EveryKeyOfTheConfigMatters) {
  const std::vector<std::tuple<std::string, std::string, json>> changes{
      {"llama_scaled", "/rms_norm_eps", 2e-3},
      {"llama_scaled", "/rope_parameters/rope_theta", 40000.0},
      {"llama_scaled", "/rope_parameters/factor", 4.0},
      {"llama_scaled", "/rope_parameters/low_freq_factor", 0.5},
      {"llama_scaled", "/rope_parameters/high_freq_factor", 8.0},
      {"llama_scaled", "/rope_parameters/original_max_position_embeddings", 32},
      {"llama_linear", "/rope_parameters/factor", 2.0},
      {"llama_linear", "/rope_parameters/rope_type", "default"},
      {"llama_scaled", "/tie_word_embeddings", true},
  };
  for (const auto& [model, key, value] : changes) {
    json config = golden_json("models/" + model + "/config.json");
    ASSERT_NE(config.at(json::json_pointer(key)), value);
    config[json::json_pointer(key)] = value;
    EXPECT_GT(against_golden(with_config(model, config), model).relative(), 10 * kTolerance) << model << key;
  }
}

}  // namespace
}  // namespace sedum::parity
