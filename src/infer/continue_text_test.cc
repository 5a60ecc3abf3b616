#include "infer/continue_text.h"

#include <gmock/gmock.h>

#include "infer/local_engine.h"
#include "model/model_testing.h"

namespace sedum {
namespace {

// The engine's own answer to the same request, greedy and drawn.
TEST(ContinueText, IsWhatTheEngineSays) {
  Runtime runtime(1);
  const RuntimeModel model(runtime, testing::tiny_model(), {.compute = Compute::kF32});
  const auto tokenizer = model.checkpoint().tokenizer();
  LocalEngine engine(model, {.cache_dtype = DType::kF32});
  const std::vector<int32_t> prompt = tokenizer->encode("Hello there, how");
  for (const float temperature : {0.0f, 1.0f}) {
    const SamplingParams sampling{.temperature = temperature, .seed = 3, .max_tokens = 40};
    Arena arena;
    Context ctx{.pool = &runtime.pool, .arena = &arena, .compute = Compute::kF32};
    const std::string text = continue_text(ctx, model.model(), *tokenizer, prompt, sampling);
    EXPECT_FALSE(text.empty());
    EXPECT_EQ(text, generate(engine, {.prompt = prompt, .sampling = sampling}).text);
    EXPECT_EQ(arena.live_bytes(), 0u);  // nothing stays
  }
}

TEST(ContinueText, EndsWithTheContextAndRefusesWhatHasNoRoom) {
  Runtime runtime(1);
  const RuntimeModel model(runtime, testing::tiny_model(), {.compute = Compute::kF32});
  const auto tokenizer = model.checkpoint().tokenizer();
  Context ctx = runtime.context(Compute::kF32);
  const auto context = size_t(model.checkpoint().config().max_position_embeddings);
  const auto continued = [&](size_t tokens) {
    return continue_text(ctx, model.model(), *tokenizer, std::vector<int32_t>(tokens, 87),
                         {.temperature = 0, .max_tokens = 9});
  };
  continued(context - 2);
  EXPECT_THAT(testing::problem_of([&] { continued(context); }), ::testing::HasSubstr("leaves no room"));
  EXPECT_THAT(testing::problem_of([&] { continued(0); }), ::testing::HasSubstr("no tokens"));
}

}  // namespace
}  // namespace sedum
