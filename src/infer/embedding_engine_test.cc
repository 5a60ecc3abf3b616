#include "infer/embedding_engine.h"

#include <cmath>
#include <future>

#include <gtest/gtest.h>

#include "base/error.h"
#include "model/model_testing.h"
#include "text/tokenizer.h"

namespace sedum {
namespace {

using testing::problem_of;
using testing::tiny_model;

std::vector<float> embedding_of(EmbeddingEngine& engine, std::vector<int32_t> ids) {
  std::promise<GenerationUpdate> done;
  engine.submit({.prompt = std::move(ids), .grammar = {}, .embedding = Pooling::kMean},
                [&](const GenerationUpdate& update) { done.set_value(update); });
  const GenerationUpdate update = done.get_future().get();
  EXPECT_TRUE(update.last && update.finish == FinishReason::kStop) << update.error;
  return update.embedding;
}

TEST(EmbeddingEngine, GivesTheEncodersVectors) {
  Runtime runtime(1);
  EmbeddingEngine engine(runtime, tiny_model("bert_plain"));
  const std::string text = "Water the plant in winter?";
  const auto ids = engine.tokenizer().encode(text, {.add_special = true});
  const std::vector<float> vector = embedding_of(engine, ids);
  EXPECT_EQ(vector, engine.encode({"dry", text})[1]);
  double square = 0;
  for (const float v : vector) square += double(v) * double(v);
  EXPECT_NEAR(square, 1, 1e-6);
  EXPECT_NE(vector, engine.encode({"Water the plant in summer?"})[0]);
  EXPECT_EQ(engine.statistics().finished, 1u);
}

// The definition: the mean over all tokens, [CLS] and [SEP] among them.
TEST(EmbeddingEngine, PoolsTheMeanOfTheHiddenStates) {
  Runtime runtime(1);
  const SentenceEncoder encoder(runtime, tiny_model("bert_plain"));
  const std::vector<int32_t> ids = encoder.tokens("how often");
  CheckpointFactory factory(encoder.checkpoint(), CheckpointFactory::Use::kFrozen, runtime.pool, runtime.arena);
  const BertModel model(encoder.checkpoint().config(), factory);
  Context ctx = runtime.context(Compute::kF32);
  const Variable hidden = model.hidden_states(ctx, Batch::of_sequences({ids}));
  std::vector<double> sum(24);
  double square = 0;
  for (size_t d = 0; d < 24; ++d) {
    for (size_t r = 0; r < ids.size(); ++r) sum[d] += double(hidden.value().data<float>()[r * 24 + d]);
    square += sum[d] * sum[d];
  }
  const std::vector<float> vector = encoder.encode({"how often"})[0];
  for (size_t d = 0; d < 24; ++d) EXPECT_NEAR(vector[d], sum[d] / std::sqrt(square), 1e-6);
}

TEST(EmbeddingEngine, RefusesWhatItCannotDo) {
  Runtime runtime(1);
  EmbeddingEngine engine(runtime, tiny_model("bert_plain"));
  const auto submit = [&](GenerationRequest request) {
    return problem_of([&] { engine.submit(std::move(request), [](const GenerationUpdate&) {}); });
  };
  EXPECT_NE(submit({.prompt = {5}, .grammar = {}}).find("writes none"), std::string::npos);
  EXPECT_NE(
      submit({.prompt = std::vector<int32_t>(65, 5), .grammar = {}, .embedding = Pooling::kMean}).find("65 tokens"),
      std::string::npos);
  EXPECT_NE(submit({.prompt = {500}, .grammar = {}, .embedding = Pooling::kMean}).find("500"), std::string::npos);
  EXPECT_NE(problem_of([&] { EmbeddingEngine(runtime, tiny_model("llama")); }).find("no encoder"), std::string::npos);
}

}  // namespace
}  // namespace sedum
