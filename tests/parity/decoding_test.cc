// Logits processors, beam search, diverse groups and contrastive search against transformers (tools/golden/infer_decoding.py).

#include <cmath>
#include <filesystem>
#include <future>

#include <gtest/gtest.h>

#include "base/json.h"
#include "infer/local_engine.h"
#include "infer/sampler.h"
#include "parity_testing.h"

namespace sedum::parity {
namespace {

using nlohmann::json;

void read_parameters(const json& from, SamplingParams& p) {
  p.temperature = from.value("temperature", 1.0f), p.top_k = from.value("top_k", 0), p.top_p = from.value("top_p", 1.0f);
  p.min_p = from.value("min_p", 0.0f), p.typical_p = from.value("typical_p", 1.0f);
  p.repetition_penalty = from.value("repetition_penalty", 1.0f);
  for (const json& bias : from.value("logit_bias", json::array())) p.logit_bias.emplace_back(bias[0], bias[1]);
}

// Probabilities of f32 logits near 2.5: a rounding of 2^-24 in the logit's size, twice, moves p by less than 1e-6.
TEST(Decoding, ProcessorsAreThoseOfTransformers) {
  const json golden = golden_json("infer/processors.json");
  for (const json& each : golden["cases"])
    for (size_t row = 0; row < golden["logits"].size(); ++row) {
      SamplingParams params;
      read_parameters(each["parameters"], params);
      std::vector<float> logits = golden["logits"][row];
      const std::vector<int32_t> history = golden["history"][row];
      std::vector<double> ours(logits.size());
      for (const auto& [p, id] : Sampler(params).distribution(logits, history)) ours[size_t(id)] = double(p);
      for (size_t i = 0; i < ours.size(); ++i)
        ASSERT_NEAR(ours[i], each["probabilities"][row][i].get<double>(), 2e-6) << each["parameters"] << " " << row << " " << i;
    }
}

SamplingParams search_of(const json& each) {
  SamplingParams p{.temperature = 0};
  p.n = each.value("n", 1), p.num_beams = each.value("num_beams", 1), p.length_penalty = each.value("length_penalty", 1.0f);
  p.num_beam_groups = each.value("num_beam_groups", 1), p.diversity_penalty = each.value("diversity_penalty", 0.0f);
  p.penalty_alpha = each.value("penalty_alpha", 0.0f), p.top_k = each.value("top_k", 0), p.max_tokens = each["max_tokens"];
  const json early = each.value("early_stopping", json(false));
  p.early_stopping = early == "never" ? EarlyStopping::kNever : early == true ? EarlyStopping::kTrue : EarlyStopping::kFalse;
  for (const json& bias : each.value("logit_bias", json::array())) p.logit_bias.emplace_back(bias[0], bias[1]);
  return p;
}

// All searches at once: they share steps, pages and the prefix cache.
void check_searches(const RuntimeModel& model, const std::vector<json>& cases, EngineOptions options) {
  LocalEngine engine(model, options);
  std::vector<std::vector<Generation>> answers(cases.size());
  std::vector<std::promise<void>> done(cases.size());
  for (size_t c = 0; c < cases.size(); ++c) {
    GenerationRequest request{.prompt = cases[c]["prompt"], .sampling = search_of(cases[c])};
    answers[c].resize(size_t(request.sampling.n));
    engine.submit(std::move(request), [&, c](const GenerationUpdate& u) {
      Generation& answer = answers[c][size_t(u.index)];
      if (u.id >= 0) answer.ids.push_back(u.id);
      if (u.finish) answer.score = u.score;
      if (!u.error.empty()) ADD_FAILURE() << u.error;
      if (u.last) done[c].set_value();
    });
  }
  for (auto& each : done) each.get_future().get();
  for (size_t c = 0; c < cases.size(); ++c) {
    json description = cases[c];
    description.erase("prompt");
    for (size_t i = 0; i < cases[c]["ids"].size(); ++i) {
      EXPECT_EQ(answers[c][i].ids, cases[c]["ids"][i].get<std::vector<int32_t>>()) << description << " " << i;
      if (cases[c].contains("scores")) {
        EXPECT_NEAR(answers[c][i].score, cases[c]["scores"][i].get<float>(), 1e-4) << description;
      }
    }
  }
}

class Searches : public testing::TestWithParam<const char*> {};

TEST_P(Searches, AreThoseOfTransformers) {
  Runtime runtime(1);
  const RuntimeModel model(runtime, golden(std::string("models/") + GetParam()), {.compute = Compute::kF32});
  std::vector<json> cases;
  for (const json& each : golden_json("infer/beams.json"))
    if (each["model"] == GetParam()) cases.push_back(each);
  ASSERT_GE(cases.size(), 60u);
  check_searches(model, cases, {});
  // Pages for little more than one search: others wait, or are preempted and computed again.
  check_searches(model, cases, {.context_length = 64, .cache_tokens = 640, .step_tokens = 24});
}
INSTANTIATE_TEST_SUITE_P(Models, Searches, testing::Values("llama", "qwen2"), [](const auto& each) { return each.param; });

// A tiny model of each family, of families/ or models/: those without a tokenizer take llama's, whose ends the search had.
class FamilySearches : public testing::TestWithParam<const char*> {};

TEST_P(FamilySearches, AreThoseOfTransformers) {
  namespace fs = std::filesystem;
  const std::string name = GetParam();
  const ScratchFolder folder;
  const fs::path family = golden("families/" + name);
  fs::copy(fs::exists(family) ? family : golden("models/" + name), folder.path(), fs::copy_options::recursive);
  for (const char* file : {"tokenizer.json", "tokenizer_config.json"})
    fs::copy_file(golden("models/llama") / file, folder.path() / file, fs::copy_options::skip_existing);
  Runtime runtime(1);
  const RuntimeModel model(runtime, folder.path(), {.compute = Compute::kF32});
  const auto cases = golden_json("families/" + name + ".beams.json").get<std::vector<json>>();
  std::vector<int> sizes;
  for (const json& each : cases) {
    sizes.push_back(each["num_beams"]);
    EXPECT_EQ(each["ids"].size(), each["num_beams"].get<size_t>());
  }
  ASSERT_EQ(sizes, (std::vector<int>{2, 4, 8}));
  check_searches(model, cases, {.context_length = 64, .cache_tokens = 1024, .step_tokens = 24});
}
INSTANTIATE_TEST_SUITE_P(Models, FamilySearches,
                         testing::Values("mistral", "qwen3", "smollm3", "phi3", "gpt2", "gemma3", "gemma2", "mixtral",
                                         "qwen3_moe", "qwen3_moe_dense", "llama_yarn", "phi3_long", "llama",
                                         "llama_linear", "llama_bf16", "qwen2", "qwen2_tied"),
                         [](const auto& each) { return each.param; });

TEST(RealSearch, BeamsOfSmolLM2AreThoseOfTransformers) {
  SEDUM_NEEDS(models_folder(), "SEDUM_TEST_MODELS");
  Runtime runtime;
  const RuntimeModel model(runtime, *models_folder() / "smollm2.gguf", {.compute = Compute::kF32});
  check_searches(model, golden_json("infer/smollm2_beams.json").get<std::vector<json>>(), {.context_length = 512, .cache_tokens = 4096});
}

}  // namespace
}  // namespace sedum::parity
