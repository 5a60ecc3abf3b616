// What requests may ask for beside plain sampling, on a tiny model.

#include "infer/decoding.h"

#include <cmath>
#include <future>

#include <gmock/gmock.h>

#include "base/random.h"
#include "infer/drafter.h"
#include "infer/local_engine.h"
#include "infer/sampler.h"
#include "model/model_testing.h"

namespace sedum {
namespace {

using ::testing::HasSubstr;
using testing::problem_of;
using testing::tiny_model;

class Decodings : public ::testing::Test {
 protected:
  std::unique_ptr<LocalEngine> engine(EngineOptions options = {}) {
    return std::make_unique<LocalEngine>(model_, options);
  }
  static GenerationRequest request(std::vector<int32_t> prompt, int tokens,
                                   SamplingParams sampling = {.temperature = 0}) {
    sampling.max_tokens = tokens, sampling.ignore_end = true;
    return {.prompt = std::move(prompt), .sampling = std::move(sampling)};
  }
  static std::vector<int32_t> prompt(int n, int step = 7) {
    std::vector<int32_t> ids;
    for (int i = 0; i < n; ++i) ids.push_back((3 + i * step) % 320);
    return ids;
  }
  Runtime runtime_{1};
  RuntimeModel model_{runtime_, tiny_model(), {.compute = Compute::kF32}};
};

TEST_F(Decodings, APrefixHitChangesNoBit) {
  SamplingParams sampling{.temperature = 1.2f, .seed = 5, .logprobs = 3};
  const auto cold = generate(*engine({.prefix_cache = false}), request(prompt(100), 30, sampling));
  const auto e = engine();
  const auto first = generate(*e, request(prompt(100), 30, sampling)),
             second = generate(*e, request(prompt(100), 30, sampling));
  EXPECT_EQ(first.cached_tokens, 0);
  EXPECT_EQ(second.cached_tokens, 96);
  for (const Generation* each : {&first, &second}) {
    EXPECT_EQ(each->ids, cold.ids);
    for (size_t i = 0; i < cold.logprobs.size(); ++i) {
      EXPECT_EQ(each->logprobs[i].logprob, cold.logprobs[i].logprob);  // not near: equal
      EXPECT_EQ(each->logprobs[i].top, cold.logprobs[i].top);
    }
  }
  // A conversation goes on: the answer's pages are found too.
  std::vector<int32_t> longer = prompt(100);
  longer.insert(longer.end(), first.ids.begin(), first.ids.end());
  longer.push_back(9);
  EXPECT_EQ(generate(*e, request(longer, 3)).cached_tokens, 128);
  const EngineStatistics s = e->statistics();
  EXPECT_EQ(s.cached_tokens, 96u + 128u);
  EXPECT_EQ(s.prompt_tokens, 331u);
  EXPECT_EQ(s.generated_tokens, 63u);
  EXPECT_EQ(s.first_token_seconds.count, 3u);
  EXPECT_EQ(s.between_tokens_seconds.count, 60u);
}

TEST_F(Decodings, NAnswersAreThoseOfTheirSeedsAlone) {
  SamplingParams sampling{.temperature = 1.5f, .seed = 40};
  const auto e = engine();
  sampling.n = 4;
  const auto together = generate_all(*e, request(prompt(45), 20, sampling));
  ASSERT_EQ(together.size(), 4u);
  sampling.n = 1;
  for (uint64_t i = 0; i < 4; ++i) {
    sampling.seed = 40 + i;
    EXPECT_EQ(together[i].ids, generate(*engine(), request(prompt(45), 20, sampling)).ids);
  }
  EXPECT_EQ(e->statistics().pages_used, 0);
}

TEST_F(Decodings, BestOfGivesTheLikeliest) {
  SamplingParams sampling{.temperature = 1.5f, .seed = 3, .n = 6, .logprobs = 0};
  auto mean = [](const Generation& g) {
    double sum = 0;
    for (const auto& each : g.logprobs) sum += double(each.logprob);
    return sum / double(g.ids.size());
  };
  auto all = generate_all(*engine(), request(prompt(10), 12, sampling));
  std::sort(all.begin(), all.end(), [&](const auto& a, const auto& b) { return mean(a) > mean(b); });
  sampling.n = 2, sampling.best_of = 6;
  const auto best = generate_all(*engine(), request(prompt(10), 12, sampling));
  ASSERT_EQ(best.size(), 2u);
  EXPECT_EQ(best[0].ids, all[0].ids);
  EXPECT_EQ(best[1].ids, all[1].ids);
  EXPECT_NEAR(best[0].score, mean(all[0]), 1e-5);
}

TEST_F(Decodings, LogprobsAreTheModelsOwn) {
  SamplingParams sampling{.temperature = 0, .repetition_penalty = 1.7f, .logprobs = 2, .prompt_logprobs = 1};
  const auto ids = prompt(70);
  const Generation answer = generate(*engine({.step_tokens = 16}), request(ids, 4, sampling));
  const auto logits = testing::logits_of(model_, ids);
  ASSERT_EQ(answer.prompt_logprobs.size(), 70u);
  for (size_t i = 1; i < 70; ++i) {
    const auto expected = token_logprobs(std::span(logits).subspan((i - 1) * 320, 320), ids[i], 1);
    EXPECT_EQ(answer.prompt_logprobs[i].id, ids[i]);
    EXPECT_NEAR(answer.prompt_logprobs[i].logprob, expected.logprob, 1e-4);
    EXPECT_EQ(answer.prompt_logprobs[i].top[0].first, expected.top[0].first);
  }
  ASSERT_EQ(answer.logprobs.size(), 4u);
  const auto expected = token_logprobs(std::span(logits).last(320), answer.ids[0], 2);
  EXPECT_NEAR(answer.logprobs[0].logprob, expected.logprob, 1e-4);
  EXPECT_EQ(answer.logprobs[0].top.size(), 2u);
  EXPECT_EQ(answer.logprobs[0].top[1].first, expected.top[1].first);
}

TEST_F(Decodings, FrequencyAndPresencePenalties) {
  std::vector<float> l{5, 5, 5, 5};
  const std::vector<int32_t> history{0, 0, 1, 2, 1, 1};  // the prompt is 0 0 1
  Sampler({.frequency_penalty = 0.5f, .presence_penalty = 0.25f}).process(l, history, 3);
  EXPECT_EQ(l, (std::vector<float>{5, 3.75f, 4.25f, 5}));
  std::vector<float> banned{5, 1};
  Sampler({.logit_bias = {{0, -100.0f}, {1, 0.5f}}}).process(banned, {}, 0);
  EXPECT_EQ(banned[0], -INFINITY);
  EXPECT_EQ(banned[1], 1.5f);
}

TEST_F(Decodings, EmbeddingsAreTheHiddenStates) {
  const auto ids = prompt(50);
  Context ctx = runtime_.context(Compute::kF32);
  const Variable hidden = model_.model().hidden_states(ctx, Batch::of_sequences({ids}));
  for (const Pooling pooling : {Pooling::kMean, Pooling::kLastToken}) {
    std::vector<double> expected(32);
    double square = 0;
    for (int64_t r = pooling == Pooling::kMean ? 0 : 49; r < 50; ++r)
      for (int64_t d = 0; d < 32; ++d) expected[size_t(d)] += double(hidden.value().data<float>()[r * 32 + d]);
    for (const double v : expected) square += v * v;
    auto r = request(ids, 1);
    r.embedding = pooling;
    const Generation answer = generate(*engine({.step_tokens = 16}), r);
    ASSERT_EQ(answer.embedding.size(), 32u);
    for (size_t d = 0; d < 32; ++d) EXPECT_NEAR(answer.embedding[d], expected[d] / std::sqrt(square), 1e-5);
  }
}

TEST_F(Decodings, CombinationsWithoutSenseAreRefused) {
  const auto e = engine({.context_length = 128, .cache_tokens = 256});
  const auto problem = [&](SamplingParams p) {
    return problem_of([&] { e->submit(request({1, 2}, 8, p), [](const GenerationUpdate&) {}); });
  };
  EXPECT_THAT(problem({.temperature = 1, .num_beams = 4}), HasSubstr("does not sample"));
  EXPECT_THAT(problem({.temperature = 0, .n = 3, .num_beams = 2}), HasSubstr("num_beams"));
  EXPECT_THAT(problem({.temperature = 0, .num_beams = 4, .num_beam_groups = 3}), HasSubstr("multiple"));
  EXPECT_THAT(problem({.penalty_alpha = 0.6f}), HasSubstr("candidates"));
  EXPECT_THAT(problem({.n = 65}), HasSubstr("n = 65"));
  EXPECT_THAT(problem({.logprobs = 21}), HasSubstr("logprobs"));
  EXPECT_THAT(problem({.frequency_penalty = 3}), HasSubstr("frequency_penalty"));
  EXPECT_THAT(problem({.logit_bias = {{320, 1.0f}}}), HasSubstr("vocabulary"));
  auto many = request({1, 2}, -1, {.temperature = 0, .num_beams = 16});
  EXPECT_THAT(problem_of([&] { e->submit(many, [](const GenerationUpdate&) {}); }), HasSubstr("room"));
  auto adapter = request({1}, 1);
  adapter.adapter = "nobody";
  EXPECT_THAT(problem_of([&] { e->submit(adapter, [](const GenerationUpdate&) {}); }), HasSubstr("nobody"));
}

TEST_F(Decodings, GrammarsHoldAtAnyTemperature) {
  const auto e = engine();
  for (uint64_t seed = 0; seed < 12; ++seed) {
    auto r = request({1, 87}, 100, {.temperature = 5, .seed = seed});
    r.grammar = {.kind = GrammarSpec::Kind::kChoices, .choices = {"yes", "no", "yes indeed"}};
    const Generation choice = generate(*e, r);
    EXPECT_TRUE(choice.text == "yes" || choice.text == "no" || choice.text == "yes indeed") << choice.text;
    EXPECT_EQ(choice.finish_reason, FinishReason::kStop);
    r.grammar = {.kind = GrammarSpec::Kind::kRegex, .text = "[A-C]{3}-\\d{4}"};
    const Generation code = generate(*e, r);
    EXPECT_THAT(code.text, ::testing::MatchesRegex("[A-C][A-C][A-C]-[0-9][0-9][0-9][0-9]"));
  }
  auto beams = request({1, 87}, 30, {.temperature = 0, .n = 3, .num_beams = 3});
  beams.grammar = {.kind = GrammarSpec::Kind::kRegex, .text = "(a|b)c?d"};
  for (const Generation& each : generate_all(*e, beams))
    EXPECT_THAT(each.text, ::testing::MatchesRegex("(ad|bd|acd|bcd)"));
  auto wrong = request({1}, 1);
  wrong.grammar = {.kind = GrammarSpec::Kind::kJsonSchema, .text = "{\"not\": {}}"};
  EXPECT_THAT(problem_of([&] { e->submit(wrong, [](const GenerationUpdate&) {}); }), HasSubstr("not"));
}

// Greedy and sampled, alone and beside others, with a penalty and a grammar: the same tokens with guesses as without.
void same_with_guesses(const RuntimeModel& model, const EngineOptions& guessing, double least_accepted) {
  std::vector<GenerationRequest> requests;
  for (int i = 0; i < 6; ++i) {
    GenerationRequest r;
    for (int j = 0; j < 40 + i; ++j) r.prompt.push_back(5 + (j * (i + 1)) % 11);  // repeats itself
    r.sampling = {
        .temperature = i % 2 ? 0.9f : 0.0f, .top_p = 0.9f, .seed = uint64_t(i), .max_tokens = 40, .ignore_end = true};
    if (i == 2) r.sampling.repetition_penalty = 1.3f;
    if (i == 3) r.sampling.n = 2;
    if (i == 5) r.grammar = {.kind = GrammarSpec::Kind::kRegex, .text = "(ab|ba|[0-9]{3})*"};
    requests.push_back(r);
  }
  std::vector<std::vector<Generation>> plain, guessed;
  {
    LocalEngine engine(model, {.prefix_cache = false});
    for (const auto& r : requests) plain.push_back(generate_all(engine, r));
  }
  LocalEngine engine(model, guessing);
  for (const auto& r : requests) guessed.push_back(generate_all(engine, r));
  const EngineStatistics s = engine.statistics();
  EXPECT_GT(s.drafted_tokens, 0u);
  EXPECT_GE(double(s.accepted_tokens), least_accepted * double(s.drafted_tokens));
  std::vector<std::future<std::vector<Generation>>> together;
  for (const auto& r : requests)
    together.push_back(std::async(std::launch::async, [&engine, r] { return generate_all(engine, r); }));
  for (size_t i = 0; i < requests.size(); ++i) {
    const auto beside = together[i].get();
    for (size_t k = 0; k < plain[i].size(); ++k) {
      EXPECT_EQ(guessed[i][k].ids, plain[i][k].ids) << i;
      EXPECT_EQ(guessed[i][k].text, plain[i][k].text) << i;
      EXPECT_EQ(beside[k].ids, plain[i][k].ids) << i;
    }
  }
}

TEST_F(Decodings, LookingUpGuessesChangesNothing) {
  same_with_guesses(model_, {.prompt_lookup = 6}, 0);
  same_with_guesses(model_, {.context_length = 128, .cache_tokens = 192, .step_tokens = 40, .prompt_lookup = 3}, 0);
}

TEST_F(Decodings, ADraftModelChangesNothing) {
  same_with_guesses(model_, {.draft_model = &model_, .draft_tokens = 5},
                    0.8);  // itself: only a grammar's mask may differ
  const RuntimeModel other(runtime_, tiny_model("llama_linear"), {.compute = Compute::kF32});
  same_with_guesses(model_, {.draft_model = &other, .draft_tokens = 4}, 0);
  same_with_guesses(
      model_, {.context_length = 128, .cache_tokens = 160, .step_tokens = 24, .draft_model = &other, .draft_tokens = 3},
      0);
}

// A line whose beginning is found while there is no room for its end waits with what was found.
TEST_F(Decodings, ADraftModelWithoutRoomWaits) {
  constexpr int kPage = int(PagedCache::kPageTokens);
  ModelDrafter drafter(model_, model_, 4, 3 * kPage, 1024);
  const SamplingParams sampling{.temperature = 0};
  Sampler sampler(sampling);
  const int made = 0;
  const auto unit = [&] {
    Unit u;
    u.lines.push_back(std::make_unique<Line>());
    u.lines[0]->tokens = prompt(2 * kPage + 8);
    u.sampler = &sampler, u.made = &made;
    return u;
  };
  Unit first = unit(), second = unit();
  const auto draft = [&](Unit& u) {
    u.lines[0]->tokens.resize(2 * kPage + 8);
    const Drafter::Target target{&u, 4, 0};
    drafter.draft({&target, 1});
    return u.lines[0]->drafted;
  };
  EXPECT_EQ(draft(first), 4);
  for (int again = 0; again < 3; ++again) EXPECT_EQ(draft(second), 0);
  const std::vector<int32_t> guesses = first.lines[0]->tokens;
  first.lines.clear();  // gives its pages back
  EXPECT_EQ(draft(second), 4);
  EXPECT_EQ(second.lines[0]->tokens, guesses);
}

TEST(LookupDrafter, FindsTheLatestPlaceOfTheLongestEnd) {
  const auto look_up = [](std::vector<int32_t> tokens, int64_t most) { return LookupDrafter::look_up(tokens, most); };
  EXPECT_EQ(look_up({1, 2, 3, 9, 1, 2, 4, 5, 1, 2}, 3), (std::vector<int32_t>{4, 5, 1}));
  EXPECT_EQ(look_up({7, 1, 2, 3, 8, 1, 2, 4, 7, 1, 2}, 1), (std::vector<int32_t>{3}));  // three tokens before two
  EXPECT_EQ(look_up({5, 5, 5}, 4), (std::vector<int32_t>{5}));
  EXPECT_TRUE(look_up({1, 2, 3}, 4).empty());
  EXPECT_TRUE(look_up({1}, 4).empty());
}

// An adapter for the tiny model whose B is not zero.
std::filesystem::path make_adapter(const RuntimeModel& base, const std::filesystem::path& folder, uint64_t seed,
                                   const std::vector<std::string>& targets) {
  Runtime& runtime = base.runtime();
  CheckpointFactory factory(base.checkpoint(), CheckpointFactory::Use::kFrozen, runtime.pool, runtime.arena,
                            Pack::kNone);
  LoraFactory lora(factory, {.r = 4, .lora_alpha = 8, .target_modules = targets}, runtime.pool, runtime.arena, seed);
  build_model(base.checkpoint().config(), lora);
  for (Variable parameter : lora.parameters()) {
    Tensor& t = parameter.value();
    for (int64_t i = 0; i < t.count(); ++i)
      t.data<float>()[i] = 0.3f * Random(seed, Purpose::kTest).normal(uint64_t(i));
  }
  write_adapter(folder, lora.config(), lora.parameters());
  return folder;
}

// Adapters of one batch: each row is as with its adapter alone, and pages are not shared between adapters.
TEST_F(Decodings, SeveralAdaptersInOneBatch) {
  testing::ScratchFolder scratch;
  const auto first = make_adapter(model_, scratch / "first", 1, {"all-linear"}),
             second = make_adapter(model_, scratch / "second", 2, {"q_proj", "down_proj"});
  const RuntimeModel adapted(runtime_, tiny_model(), {.compute = Compute::kF32, .adapter = second}),
      both(runtime_, tiny_model(),
           {.compute = Compute::kF32, .named_adapters = {{"first", first}, {"second", second}}});
  const auto answer = [&](LocalEngine& e, const std::string& adapter) {
    auto r = request(prompt(70), 24, {.temperature = 0.8f, .logprobs = 0});
    r.adapter = adapter;
    return generate(e, r);
  };
  LocalEngine adapted_engine(adapted, {}), engine(both, {});
  const auto base = answer(*this->engine(), ""), alone = answer(adapted_engine, "");
  EXPECT_NE(base.ids, alone.ids);
  EXPECT_EQ(engine.adapters(), (std::vector<std::string>{"first", "second"}));
  std::vector<std::future<Generation>> together;
  for (const std::string name : {"", "second", "first", "second", ""})
    together.push_back(std::async(std::launch::async, [&, name] { return answer(engine, name); }));
  std::vector<Generation> answers;
  for (auto& each : together) answers.push_back(each.get());
  for (const size_t i : {0, 4}) EXPECT_EQ(answers[i].ids, base.ids);
  for (const size_t i : {1, 3}) {
    EXPECT_EQ(answers[i].ids, alone.ids);
    EXPECT_EQ(answers[i].logprobs.back().logprob, alone.logprobs.back().logprob);
  }
  EXPECT_NE(answers[2].ids, alone.ids);
  EXPECT_THAT(problem_of([&] { answer(engine, "secnd"); }), HasSubstr("did you mean second"));
}

}  // namespace
}  // namespace sedum
