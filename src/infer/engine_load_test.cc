// Everything at once over few pages, with cancellations: each request ends, answers are those of their requests alone, no page is lost.

#include <future>
#include <map>
#include <thread>

#include <gtest/gtest.h>

#include "base/random.h"
#include "infer/local_engine.h"
#include "model/model_testing.h"

namespace sedum {
namespace {

GenerationRequest mixed(uint64_t i) {
  const Random random(i, Purpose::kTest);
  GenerationRequest r;
  const int64_t length = 1 + int64_t(random.below(90, 0)), shared = int64_t(random.below(3, 1));
  for (int64_t t = 0; t < length; ++t)
    r.prompt.push_back(int32_t((t * (3 + shared) + (t < 50 ? 0 : int64_t(i))) % 320));
  SamplingParams& s = r.sampling;
  s.temperature = 1.1f, s.seed = i, s.max_tokens = 1 + int(random.below(30, 2));
  switch (i % 8) {
    case 1:
      s.n = 3;
      break;
    case 2:
      s.temperature = 0, s.num_beams = 4, s.n = 2;
      break;
    case 3:
      s.penalty_alpha = 0.5f, s.top_k = 3;
      break;
    case 4:
      r.grammar = {.kind = GrammarSpec::Kind::kRegex, .text = "([a-z]{2},)*"};
      break;
    case 5:
      r.embedding = Pooling::kMean;
      break;
    case 6:
      s.best_of = 4, s.n = 2, s.logprobs = 1;
      break;
    default:
      break;
  }
  return r;
}

struct Record {
  std::map<int, std::vector<int32_t>> ids;
  std::vector<float> embedding;
  FinishReason reason = FinishReason::kStop;
  int last = 0;
  std::promise<void> done;
};

TEST(EngineUnderLoad, EachRequestEndsAsItWouldAlone) {
  Runtime runtime(1);
  const RuntimeModel model(runtime, testing::tiny_model(), {.compute = Compute::kF32});
  constexpr uint64_t kRequests = 64;
  std::vector<std::unique_ptr<Record>> records;
  for (uint64_t i = 0; i < kRequests; ++i) records.push_back(std::make_unique<Record>());
  const auto listener = [](Record& record) {
    return [&record](const GenerationUpdate& u) {
      if (u.id >= 0) record.ids[u.index].push_back(u.id);
      if (!u.embedding.empty()) record.embedding = u.embedding;
      if (u.finish) record.reason = *u.finish;
      EXPECT_EQ(record.last, 0) << "an update after the last";
      if (u.last && ++record.last == 1) record.done.set_value();
    };
  };
  LocalEngine engine(
      model, {.context_length = 128, .cache_tokens = 512, .step_tokens = 48, .max_sequences = 12, .prompt_lookup = 4});
  std::vector<bool> cancelled(kRequests);
  for (uint64_t i = 0; i < kRequests; ++i) {
    const RequestId id = engine.submit(mixed(i), listener(*records[i]));
    if (i % 5 == 4) cancelled[i] = true, engine.cancel(id - (i % 2));  // itself, or the one before
    if (i % 5 == 4 && i % 2) cancelled[i] = false, cancelled[i - 1] = true;
  }
  for (auto& each : records) each->done.get_future().get();
  const EngineStatistics s = engine.statistics();
  EXPECT_EQ(s.requests, kRequests);
  EXPECT_EQ(s.failed, 0u);
  EXPECT_GT(s.preemptions, 0u);
  EXPECT_GT(s.cached_tokens, 0u);
  // The last update of the last request came before its step was over.
  for (int i = 0; i < 1000 && engine.statistics().pages_used > 0; ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  EXPECT_EQ(engine.statistics().pages_used, 0);
  EXPECT_EQ(engine.statistics().finished + engine.statistics().cancelled, kRequests);
  LocalEngine calm(model, {.context_length = 128});
  for (uint64_t i = 0; i < kRequests; ++i) {
    if (cancelled[i]) continue;
    Record alone;
    calm.submit(mixed(i), listener(alone));
    alone.done.get_future().get();
    EXPECT_EQ(records[i]->reason, alone.reason) << i;
    EXPECT_EQ(records[i]->ids, alone.ids) << i;
    EXPECT_EQ(records[i]->embedding, alone.embedding) << i;
  }
}

}  // namespace
}  // namespace sedum
