#include "infer/local_engine.h"

#include <future>
#include <set>

#include <gmock/gmock.h>

#include "base/file.h"
#include "base/json.h"
#include "infer/chat.h"
#include "infer/sampler.h"
#include "infer/serving_plan.h"
#include "model/model_testing.h"

namespace sedum {
namespace {

using ::testing::HasSubstr;
using testing::problem_of;
using testing::tiny_model;

class Engine : public ::testing::Test {
 protected:
  std::unique_ptr<LocalEngine> engine(EngineOptions options = {}) {
    return std::make_unique<LocalEngine>(model_, options);
  }
  static GenerationRequest request(std::vector<int32_t> prompt, int tokens,
                                   SamplingParams sampling = {.temperature = 0}) {
    sampling.max_tokens = tokens, sampling.ignore_end = true;
    return {.prompt = std::move(prompt), .sampling = std::move(sampling)};
  }
  // The answers of all requests, submitted at once.
  static std::vector<Generation> all(LocalEngine& engine, const std::vector<GenerationRequest>& requests) {
    std::vector<std::future<Generation>> futures;
    for (const auto& each : requests)
      futures.push_back(std::async(std::launch::async, [&engine, each] { return generate(engine, each); }));
    std::vector<Generation> answers;
    for (auto& each : futures) answers.push_back(each.get());
    return answers;
  }
  static std::vector<float> logprobs(const Generation& answer) {
    std::vector<float> values;
    for (const TokenLogprobs& token : answer.logprobs) values.push_back(token.logprob);
    return values;
  }
  Runtime runtime_{1};
  RuntimeModel model_{runtime_, tiny_model(), {.compute = Compute::kF32}};
};

TEST_F(Engine, GreedyIsTheLargestLogit) {
  const auto answer = generate(*engine(), request({1, 87, 85}, 6));
  std::vector<int32_t> ids{1, 87, 85};
  for (const int32_t id : answer.ids) {
    const auto logits = testing::logits_of(model_, ids);
    ASSERT_EQ(id, argmax(std::span(logits).last(320)));
    ids.push_back(id);
  }
  EXPECT_EQ(answer.finish_reason, FinishReason::kLength);
  EXPECT_EQ(answer.prompt_tokens, 3);
}

// Random answers: they depend on the seed and on nothing else.
TEST_F(Engine, NeighboursChunksAndPreemptionChangeNothing) {
  std::vector<GenerationRequest> requests;
  for (int i = 0; i < 9; ++i) {
    std::vector<int32_t> prompt;
    for (int j = 0; j < 3 + 11 * i; ++j) prompt.push_back((i * 31 + j * 7) % 320);
    requests.push_back(request(prompt, 20, {.temperature = 1.5f, .top_p = 0.95f, .seed = uint64_t(i)}));
  }
  std::vector<std::vector<int32_t>> alone;
  for (const auto& each : requests) alone.push_back(generate(*engine(), each).ids);
  EXPECT_EQ(std::set(alone.begin(), alone.end()).size(), 9u);
  for (const EngineOptions& options :
       {EngineOptions{}, EngineOptions{.step_tokens = 5}, EngineOptions{.max_sequences = 2},
        EngineOptions{.context_length = 128, .cache_tokens = 128, .step_tokens = 16}}) {
    const auto crowded = engine(options);
    const auto answers = all(*crowded, requests);
    for (size_t i = 0; i < answers.size(); ++i) EXPECT_EQ(answers[i].ids, alone[i]) << i;
  }
}

// Keys and values in bf16 and in int8, over int8 products, as the server has them: alone and among 31 others, in pieces, with pages
// that are taken away, with the prefix cache and guesses, sampled and as beams.
// Log-probabilities are compared to the bit: equal tokens would hide small differences.
class Soundness : public Engine, public ::testing::WithParamInterface<int> {};
INSTANTIATE_TEST_SUITE_P(Threads, Soundness, ::testing::Values(1, 2));

TEST_P(Soundness, StoredTypesAreSoundAmongOthers) {
  Runtime runtime(GetParam());
  const RuntimeModel model(runtime, tiny_model(), {.compute = Compute::kInt8});
  std::vector<GenerationRequest> requests;
  for (int i = 0; i < 32; ++i) {
    std::vector<int32_t> prompt(size_t(i % 3) * 33, 7);  // beginnings that many share
    for (int j = 0; j < 3 + 5 * (i % 7); ++j) prompt.push_back((i * 31 + j * 7) % 320);
    requests.push_back(request(prompt, 12, {.temperature = 1.5f, .seed = uint64_t(i), .logprobs = 0}));
    if (i % 8 == 3) requests.back().sampling = {.temperature = 0, .max_tokens = 12, .ignore_end = true, .num_beams = 3};
  }
  for (const DType type : {DType::kBF16, DType::kI8}) {
    std::vector<Generation> alone;
    for (const auto& each : requests)
      alone.push_back(generate(*std::make_unique<LocalEngine>(model, EngineOptions{.cache_dtype = type}), each));
    for (EngineOptions options : {EngineOptions{}, EngineOptions{.step_tokens = 24, .prompt_lookup = 4},
                                  EngineOptions{.context_length = 160, .cache_tokens = 320, .step_tokens = 48}}) {
      options.cache_dtype = type;
      LocalEngine crowded(model, options);
      for (int round = 0; round < 2; ++round) {  // the second finds the first one's pages
        const auto answers = all(crowded, requests);
        for (size_t i = 0; i < answers.size(); ++i) {
          EXPECT_EQ(answers[i].ids, alone[i].ids) << name(type) << " " << i;
          EXPECT_EQ(logprobs(answers[i]), logprobs(alone[i])) << name(type) << " " << i;
          EXPECT_EQ(alone[i].logprobs.size(), requests[i].sampling.logprobs == 0 ? 12u : 0u);
          EXPECT_EQ(answers[i].score, alone[i].score) << name(type) << " " << i;
        }
      }
    }
  }
}

TEST_F(Engine, ThePlanIsWhatIsHeld) {
  const RuntimeModel model(runtime_, tiny_model(), {.compute = Compute::kInt8});
  for (const DType type : {DType::kF32, DType::kBF16, DType::kI8}) {
    const ServingPlan plan = plan_serving(model.checkpoint(), Compute::kInt8, type, 100, 3);
    EXPECT_EQ(plan.packed_bytes, model.packed_bytes());
    Arena arena;
    const int64_t pages = 3 * PagedCache::pages_for(100);
    const PagedCache cache(arena, model.model().config(), type, pages);
    EXPECT_EQ(plan.cache_bytes, uint64_t(pages * cache.page_bytes()));
    EXPECT_EQ(plan.sequence_tokens, 100);
  }
  EXPECT_THAT(problem_of([&] { plan_serving(model.checkpoint(), Compute::kF32, DType::kF32, 1000, 1); }),
              HasSubstr("256"));
}

// A model whose layers all have a window of 40 keys, in a cache that is smaller than its answers.
TEST_F(Engine, WindowsGiveTheirPagesBack) {
  testing::ScratchFolder folder;
  std::filesystem::copy(tiny_model(), folder / "mistral", std::filesystem::copy_options::recursive);
  auto config = parse_json(read_file(folder / "mistral/config.json"));
  config["model_type"] = "mistral", config["sliding_window"] = 40;
  write_file(folder / "mistral/config.json", config.dump());
  const RuntimeModel model(runtime_, folder / "mistral", {.compute = Compute::kF32});
  LocalEngine narrow(model, {.context_length = 250, .cache_tokens = 224, .step_tokens = 32});
  EXPECT_EQ(narrow.context_length(), 250);
  std::vector<GenerationRequest> requests;
  for (int i = 0; i < 4; ++i) {
    std::vector<int32_t> prompt(100, 7);
    for (int j = 0; j < 7 * i; ++j) prompt.push_back((i * 31 + j * 7) % 320);
    requests.push_back(request(prompt, 100, {.temperature = 1.5f, .seed = uint64_t(i)}));
  }
  requests.push_back(request(std::vector<int32_t>(100, 7), 20, {.temperature = 0, .num_beams = 2}));
  const auto crowded = all(narrow, requests), again = all(narrow, requests);
  EXPECT_EQ(narrow.statistics().page_tokens * narrow.statistics().pages, 224);
  const ServingPlan plan = plan_serving(model.checkpoint(), Compute::kF32, DType::kF32, 250, 1);
  EXPECT_EQ(plan.sequence_tokens, 250);  // steps of 512 rows need more pages than that
  // Greedy is the largest logit of a computation without any past.
  const auto greedy = generate(narrow, request(std::vector<int32_t>(90, 7), 60));
  std::vector<int32_t> ids(90, 7);
  ids.insert(ids.end(), greedy.ids.begin(), greedy.ids.end());
  const auto logits = testing::logits_of(model, ids);
  for (size_t i = 0; i < greedy.ids.size(); ++i)
    ASSERT_EQ(greedy.ids[i], argmax(std::span(logits).subspan((89 + i) * 320, 320))) << i;
  for (size_t i = 0; i < requests.size(); ++i) {
    LocalEngine wide(model, {.prefix_cache = false});
    const auto alone = generate(wide, requests[i]).ids;
    EXPECT_EQ(crowded[i].ids, alone) << i;
    EXPECT_EQ(again[i].ids, alone) << i;
  }
}

TEST_F(Engine, StopStringsAcrossTokens) {
  const Generation whole = generate(*engine(), request({1, 87, 85}, 30));
  ASSERT_GT(whole.text.size(), 12u);
  const std::string stop = whole.text.substr(5, 4);
  const size_t at = whole.text.find(stop);
  SamplingParams sampling{.temperature = 0, .stop = {stop}};
  std::string streamed;
  auto with_stop = request({1, 87, 85}, 30, sampling);
  const Generation cut = generate(*engine(), with_stop, [&](const std::string& piece) { streamed += piece; });
  EXPECT_EQ(cut.text, whole.text.substr(0, at));
  EXPECT_EQ(streamed, cut.text);
  EXPECT_EQ(cut.finish_reason, FinishReason::kStop);
  EXPECT_LT(cut.ids.size(), whole.ids.size());
}

TEST_F(Engine, StopIdsEndTheAnswer) {
  const Generation whole = generate(*engine(), request({1, 87, 85}, 8));
  SamplingParams sampling{.temperature = 0, .stop_ids = {whole.ids[0]}};
  const Generation cut = generate(*engine(), request({1, 87, 85}, 8, sampling));
  EXPECT_EQ(cut.ids.size(), 1u);
  EXPECT_EQ(cut.text, "");
  EXPECT_EQ(cut.finish_reason, FinishReason::kStop);
}

TEST_F(Engine, AFullContextEndsTheAnswer) {
  const Generation answer = generate(*engine({.context_length = 40}), request(std::vector<int32_t>(30, 7), -1));
  EXPECT_EQ(answer.ids.size(), 10u);
  EXPECT_EQ(answer.finish_reason, FinishReason::kLength);
}

TEST_F(Engine, CancelledRequestsGetTheirLastUpdate) {
  const auto e = engine();
  std::promise<FinishReason> end;
  std::promise<void> begun;
  bool first = true;
  const RequestId id = e->submit(request({1}, -1), [&](const GenerationUpdate& update) {
    if (std::exchange(first, false)) begun.set_value();
    if (update.finish) end.set_value(*update.finish);
  });
  begun.get_future().get();
  e->cancel(id);
  e->cancel(id + 1000);
  // It may have reached the context's end before it was cancelled.
  const FinishReason reason = end.get_future().get();
  EXPECT_TRUE(reason == FinishReason::kCancelled || reason == FinishReason::kLength);
  e->cancel(id);                                            // over: ignored
  EXPECT_EQ(generate(*e, request({1}, 3)).ids.size(), 3u);  // the engine goes on
}

TEST_F(Engine, CancelledBeforeItBegan) {
  const auto e = engine({.max_sequences = 1});
  std::vector<std::promise<FinishReason>> ends(3);
  std::vector<RequestId> ids;
  for (size_t i = 0; i < 3; ++i)
    ids.push_back(e->submit(request({1}, i == 0 ? 200 : -1), [&, i](const GenerationUpdate& update) {
      if (update.finish) ends[i].set_value(*update.finish);
    }));
  e->cancel(ids[2]);
  EXPECT_EQ(ends[2].get_future().get(), FinishReason::kCancelled);
  EXPECT_EQ(ends[0].get_future().get(), FinishReason::kLength);
  EXPECT_EQ(ends[1].get_future().get(), FinishReason::kLength);
}

TEST_F(Engine, TheEndCancelsWhatRuns) {
  std::promise<FinishReason> end;
  auto e = engine();
  e->submit(request({1}, -1), [&](const GenerationUpdate& update) {
    if (update.finish) end.set_value(*update.finish);
  });
  e.reset();
  auto future = end.get_future();
  ASSERT_EQ(future.wait_for(std::chrono::seconds(0)), std::future_status::ready);
}

TEST_F(Engine, WhatCannotBeServedIsRefusedAtOnce) {
  const auto e = engine({.context_length = 64});
  const auto problem = [&](const GenerationRequest& each) {
    return problem_of([&] { e->submit(each, [](const GenerationUpdate&) {}); });
  };
  EXPECT_THAT(problem(request({}, 1)), HasSubstr("the prompt is empty"));
  EXPECT_THAT(problem(request({1, 320}, 1)), HasSubstr("320"));
  EXPECT_THAT(problem(request({-1}, 1)), HasSubstr("-1"));
  EXPECT_THAT(problem(request(std::vector<int32_t>(64, 1), 1)), HasSubstr("64 tokens"));
  EXPECT_THAT(problem(request({1}, 1, {.temperature = -1})), HasSubstr("temperature"));
  EXPECT_THAT(problem_of([&] { engine({.context_length = 100000}); }), HasSubstr("100000"));
}

TEST_F(Engine, AllCharactersArriveWhole) {
  const auto answers = generate(*engine(), request({1}, 200, {.temperature = 2, .seed = 3}));
  std::string streamed;
  for (size_t i = 0; i < answers.text.size();) {  // well-formed UTF-8
    const unsigned char c = static_cast<unsigned char>(answers.text[i]);
    const size_t length = c < 0x80 ? 1 : c < 0xE0 ? 2 : c < 0xF0 ? 3 : 4;
    ASSERT_TRUE(c < 0x80 || c >= 0xC2);
    for (size_t j = 1; j < length; ++j) ASSERT_EQ(static_cast<unsigned char>(answers.text[i + j]) & 0xC0, 0x80);
    i += length;
  }
}

TEST_F(Engine, ChatPromptIsTheTemplates) {
  const auto e = engine();
  const nlohmann::ordered_json messages{{{"role", "user"}, {"content", "Hi"}}};
  EXPECT_EQ(e->tokenizer().decode(chat_prompt(*e, messages), false),
            "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n");
  EXPECT_EQ(chat_prompt(*e, messages)[0], 1);  // the special token, not its letters
}

}  // namespace
}  // namespace sedum
