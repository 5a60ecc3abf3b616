// The two real models: the tokens that transformers generates from the dequantised file in f32, and what int8 costs.

#include <cmath>
#include <future>

#include <gtest/gtest.h>

#include "base/file.h"
#include "base/json.h"
#include "compute/ops/embedding.h"
#include "eval/perplexity.h"
#include "infer/local_engine.h"
#include "parity_testing.h"

namespace sedum::parity {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;

class RealModel : public testing::TestWithParam<const char*> {
 protected:
  fs::path model_path() const { return *models_folder() / (std::string(GetParam()) + ".gguf"); }
  json prompts() const { return golden_json(std::string("models/") + GetParam() + ".greedy.json")["prompts"]; }
};

// All prompts at once: what one gets does not depend on its neighbours.
std::vector<std::vector<int32_t>> generate_all(GenerationEngine& engine, const json& prompts) {
  std::vector<std::vector<int32_t>> made(prompts.size());
  std::vector<std::promise<void>> done(prompts.size());
  for (size_t p = 0; p < prompts.size(); ++p)
    engine.submit({.prompt = prompts[p]["prompt_ids"],
                   .sampling = {.temperature = 0, .max_tokens = int(prompts[p]["ids"].size()), .ignore_end = true}},
                  [&, p](const GenerationUpdate& u) {
                    if (u.id >= 0) made[p].push_back(u.id);
                    if (!u.error.empty()) ADD_FAILURE() << u.error;
                    if (u.finish) done[p].set_value();
                  });
  for (auto& each : done) each.get_future().get();
  return made;
}

TEST_P(RealModel, GreedyTokensAreThoseOfTransformers) {
  SEDUM_NEEDS(models_folder(), "SEDUM_TEST_MODELS");
  Runtime runtime;
  const RuntimeModel model(runtime, model_path(), {.compute = Compute::kF32});
  LocalEngine engine(model, {.context_length = 512, .cache_tokens = 4096});
  const json golden_prompts = prompts();
  ASSERT_GE(golden_prompts.size(), 10u);
  const auto made = generate_all(engine, golden_prompts);
  int same = 0;
  for (size_t p = 0; p < made.size(); ++p) {
    const std::vector<int32_t> expected = golden_prompts[p]["ids"];
    const auto [ours, theirs] = std::mismatch(made[p].begin(), made[p].end(), expected.begin(), expected.end());
    if (ours == made[p].end() && theirs == expected.end()) {
      ++same;
      continue;
    }
    ASSERT_EQ(made[p].size(), expected.size());
    const size_t step = size_t(ours - made[p].begin());
    const json top = golden_prompts[p]["top_logits"][step];
    const double gap = top[0].get<double>() - top[1].get<double>();
    std::printf("  prompt %zu differs from step %zu on, where the logits are %.2g apart\n", p, step, gap);
    EXPECT_LT(gap, 1e-3) << golden_prompts[p]["text"] << " at step " << step;
    EXPECT_EQ(*ours, golden_prompts[p]["second_ids"][step].get<int32_t>()) << "neither of the two best";
  }
  std::printf("  %s: %d of %zu answers of 64 tokens are the same\n", GetParam(), same, made.size());
  RecordProperty("same", same);
}

// Ids of the two best at each step, after the golden tokens: both logits, whatever the first differing token was.
TEST_P(RealModel, LogitsAreThoseOfTransformers) {
  SEDUM_NEEDS(models_folder(), "SEDUM_TEST_MODELS");
  Runtime runtime;
  const RuntimeModel model(runtime, model_path(), {.compute = Compute::kF32});
  std::vector<float> ours, theirs;
  for (const json& prompt : prompts()) {
    std::vector<int32_t> sequence = prompt["prompt_ids"];
    const std::vector<int32_t> made = prompt["ids"], second = prompt["second_ids"];
    auto rows = std::make_shared<std::vector<int32_t>>();
    for (size_t i = 0; i < made.size(); ++i) rows->push_back(int32_t(sequence.size() - 1 + i));
    sequence.insert(sequence.end(), made.begin(), made.end() - 1);
    Context ctx = runtime.context(Compute::kF32);
    const Variable hidden = model.model().hidden_states(ctx, Batch::of_sequences({sequence}));
    const Variable logits = model.model().logits(ctx, ops::select_rows(ctx, hidden, rows));
    const float* row = logits.value().data<float>();
    for (size_t i = 0; i < made.size(); ++i, row += logits.shape()[1])
      for (const bool first : {true, false}) {
        ours.push_back(row[first ? made[i] : second[i]]);
        theirs.push_back(prompt["top_logits"][i][first ? 0 : 1]);
      }
  }
  const Difference d = difference(ours, theirs);
  d.report(GetParam());
  EXPECT_LE(d.relative(), kTolerance);
}

TEST_P(RealModel, Int8KeepsPerplexityWithinHalfAPercent) {
  SEDUM_NEEDS(models_folder(), "SEDUM_TEST_MODELS");
  SEDUM_NEEDS(data_folder(), "SEDUM_TEST_DATA");
  const std::string text = read_file(*data_folder() / "text/botchan.txt");
  const auto measure = [&](Compute compute) {
    Runtime runtime;
    const RuntimeModel model(runtime, model_path(), {.compute = compute});
    const auto ids = model.checkpoint().tokenizer()->encode(text, {.parse_special = false});
    Context ctx = runtime.context(compute);
    return perplexity(ctx, model.model(), ids, {.window = 512, .max_windows = 8}).value();
  };
  const double exact = measure(Compute::kF32), int8 = measure(Compute::kInt8), change = int8 / exact - 1;
  std::printf("  %s: perplexity %.4f exact, %.4f with int8: %+.3f %%\n", GetParam(), exact, int8, 100 * change);
  RecordProperty("perplexity_change", std::to_string(change));
  EXPECT_LE(std::abs(change), 0.005);
  EXPECT_NE(int8, exact) << "int8 was not used";
  EXPECT_GT(exact, 3);    // English of 1906: neither learnt by heart
  EXPECT_LT(exact, 100);  // nor a mystery
}

INSTANTIATE_TEST_SUITE_P(Files, RealModel, testing::Values("smollm2", "qwen"),
                         [](const auto& each) { return each.param; });

}  // namespace
}  // namespace sedum::parity
