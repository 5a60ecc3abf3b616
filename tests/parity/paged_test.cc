// The engine's way through a model (prefill in chunks, then one token at a time, over pages) gives what one whole forward gives.

#include <algorithm>
#include <future>
#include <memory>

#include <gtest/gtest.h>

#include "infer/local_engine.h"
#include "infer/sampler.h"
#include "parity_testing.h"

namespace sedum::parity {
namespace {

namespace fs = std::filesystem;
using Sequences = std::vector<std::vector<int32_t>>;

// All sequences side by side, `chunk` rows of each a step. Logits in the order of logits_of().
std::vector<float> paged_logits(const RuntimeModel& model, const Sequences& sequences, size_t chunk) {
  Context ctx = model.runtime().context(Compute::kF32);
  const ModelConfig& config = model.model().config();
  PagedCache cache(model.runtime().arena, config, DType::kF32, 64);
  std::vector<PagedSequence> states(sequences.size());
  std::vector<std::vector<float>> logits(sequences.size());
  for (size_t begin = 0;; begin += chunk) {
    std::vector<PagedStep::Part> parts;
    std::vector<size_t> members;
    auto ids = std::make_shared<std::vector<int32_t>>();
    Batch batch;
    for (size_t s = sequences.size(); s-- > 0;) {  // the last first: pages of one sequence do not lie in order
      const size_t end = std::min(begin + chunk, sequences[s].size());
      if (begin >= end) continue;
      EXPECT_TRUE(cache.reserve(states[s], int64_t(end - begin)));
      parts.push_back({&states[s], int64_t(end - begin)}), members.push_back(s);
      for (size_t i = begin; i < end; ++i) ids->push_back(sequences[s][i]), batch.positions.push_back(int32_t(i));
    }
    if (parts.empty()) break;
    batch.ids = std::move(ids);
    PagedStep step(cache, parts);
    batch.state = &step;
    const std::vector<float> rows = values(model.model().logits(ctx, model.model().hidden_states(ctx, batch)));
    step.commit();
    auto row = rows.begin();
    for (size_t i = 0; i < parts.size(); ++i) {
      const auto next = row + parts[i].rows * config.vocab_size;
      logits[members[i]].insert(logits[members[i]].end(), row, next);
      row = next;
    }
  }
  std::vector<float> all;
  for (const auto& each : logits) all.insert(all.end(), each.begin(), each.end());
  return all;
}

class Paged : public testing::TestWithParam<const char*> {};

TEST_P(Paged, ChunksAndDecodingGiveTheWholeForward) {
  Runtime runtime(1);
  const RuntimeModel model(runtime, golden(GetParam()), {.compute = Compute::kF32});
  const std::vector<float> whole = logits_of(model, golden_ids());
  for (const size_t chunk : {1, 7, 32, 33, 1000}) {
    const std::vector<float> paged = paged_logits(model, golden_ids(), chunk);
    const Difference d = difference(paged, whole);
    d.report(std::to_string(chunk) + " rows a step" + (paged == whole ? " (the same bits)" : ""));
    EXPECT_LE(d.relative(), 1e-5) << chunk;
  }
}

INSTANTIATE_TEST_SUITE_P(Models, Paged, testing::Values("models/llama", "models/llama_scaled", "models/qwen2", "families/mistral",
                                         "families/qwen3", "families/smollm3",
                                         "families/phi3", "families/gemma3"),
                         [](const auto& each) { return fs::path(each.param).filename().string(); });

// Greedy, by whole forwards over everything so far.
std::vector<int32_t> greedy(const RuntimeModel& model, std::vector<int32_t> ids, int tokens) {
  const size_t prompt = ids.size(), vocabulary = size_t(model.model().config().vocab_size);
  for (int i = 0; i < tokens; ++i) {
    const std::vector<float> logits = logits_of(model, {ids});
    ids.push_back(argmax(std::span(logits).last(vocabulary)));
  }
  return {ids.begin() + long(prompt), ids.end()};
}

// Small steps, and so few pages that sequences lose theirs and are computed again.
TEST(PagedEngine, CrowdedRequestsAnswerAsIfAlone) {
  Runtime runtime(1);
  const RuntimeModel model(runtime, golden("models/llama"), {.compute = Compute::kF32});
  LocalEngine engine(model, {.context_length = 128, .cache_tokens = 192, .step_tokens = 24});
  std::vector<std::promise<std::vector<int32_t>>> answers(6);
  const std::vector<int32_t> ids = golden_ids()[2];
  std::vector<std::vector<int32_t>> prompts, made(6);
  for (size_t r = 0; r < 6; ++r)
    prompts.emplace_back(ids.begin() + long(5 * r), ids.begin() + long(5 * r + 10 + 9 * r));
  for (size_t r = 0; r < 6; ++r)
    engine.submit({.prompt = prompts[r], .sampling = {.temperature = 0, .max_tokens = 24, .ignore_end = true}},
                  [&, r](const GenerationUpdate& u) {
                    if (u.id >= 0) made[r].push_back(u.id);
                    if (u.finish) answers[r].set_value(made[r]);
                  });
  for (size_t r = 0; r < 6; ++r) EXPECT_EQ(answers[r].get_future().get(), greedy(model, prompts[r], 24)) << r;
}

}  // namespace
}  // namespace sedum::parity
