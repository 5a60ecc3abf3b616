#include "model/checkpoint/gguf_metadata.h"

#include <cmath>

#include <gmock/gmock.h>

#include "base/file.h"
#include "base/json.h"
#include "model/checkpoint/export.h"
#include "model/model_testing.h"
#include "model/nn/rotary.h"

namespace sedum {
namespace {

using nlohmann::json;
using testing::golden;
using ::testing::HasSubstr;
using testing::ScratchFolder;
using testing::tiny_model;

// A tiny model with other keys in its config.json.
Checkpoint changed(const std::filesystem::path& folder, const std::filesystem::path& source, const json& keys) {
  std::filesystem::copy(source, folder);
  json config = parse_json(read_file(folder / "config.json"));
  config.update(keys);
  write_file(folder / "config.json", config.dump());
  return Checkpoint::open(folder);
}

Checkpoint written(const std::filesystem::path& path, const Checkpoint& model) {
  write_gguf(path, model, DType::kF32, stored_values(model));
  return Checkpoint::open(path);
}

json yarn(float beta_fast, bool truncate, float attention_factor) {
  return {{"rope_parameters",
           {{"rope_type", "yarn"},
            {"rope_theta", 10000.0},
            {"factor", 4.0},
            {"beta_fast", beta_fast},
            {"truncate", truncate},
            {"attention_factor", attention_factor},
            {"original_max_position_embeddings", 32}}}};
}

void expect_same_scaling(const ModelConfig& a, const ModelConfig& b) {
  EXPECT_EQ(rotary_frequencies(a), rotary_frequencies(b));
  EXPECT_FLOAT_EQ(a.rope_scaling.attention_factor, b.rope_scaling.attention_factor);
  EXPECT_EQ(config_to_json(a)["rope_scaling"].dump(), config_to_json(b)["rope_scaling"].dump());
}

TEST(GgufMetadata, YarnOfTheCommonRangeIsLlamaCppsOwn) {
  const ScratchFolder scratch;
  const Checkpoint model = changed(scratch / "m", golden("families/llama_yarn"), yarn(32, true, 1.5));
  expect_same_scaling(written(scratch / "m.gguf", model).config(), model.config());
  const GgufFile file(scratch / "m.gguf");
  EXPECT_EQ(file.get<std::string>("llama.rope.scaling.type"), "yarn");
  EXPECT_EQ(file.get<float>("llama.rope.scaling.factor"), 4);
  EXPECT_FLOAT_EQ(file.get<float>("llama.rope.scaling.attn_factor"), 1.5f / 1.1386294f);  // it multiplies by the other
  EXPECT_FALSE(file.find("rope_freqs.weight"));
}

// Its logits were 0.32 of their deviation off while beta_fast was a key that llama.cpp does not read.
TEST(GgufMetadata, YarnOfAnotherRangeIsDivisors) {
  for (const json& keys : {json::object(), yarn(32, false, 1.5)}) {
    const ScratchFolder scratch;
    const Checkpoint model = changed(scratch / "m", golden("families/llama_yarn"), keys);
    expect_same_scaling(written(scratch / "m.gguf", model).config(), model.config());
    const GgufFile file(scratch / "m.gguf");
    for (const char* key : {"llama.rope.scaling.type", "llama.rope.scaling.factor"}) EXPECT_FALSE(file.has(key)) << key;
    EXPECT_EQ(file.get<float>("llama.rope.scaling.attn_factor"), model.config().rope_scaling.attention_factor);
    const std::vector<float> frequencies = rotary_frequencies(model.config());
    const auto* divisors = static_cast<const float*>(file.get("rope_freqs.weight").data);
    for (size_t i = 0; i < frequencies.size(); ++i)  // as llama.cpp computes them; two roundings of f32
      EXPECT_NEAR(std::pow(10000.0, -2.0 * double(i) / model.config().head_dim) / divisors[i] / frequencies[i], 1,
                  3e-7);
  }
}

TEST(GgufMetadata, DivisorsThatLlamaCppLooksForInNoSuchModelAreRefused) {
  const json llama3{{"rope_parameters",
                     {{"rope_type", "llama3"},
                      {"rope_theta", 10000.0},
                      {"factor", 8.0},
                      {"low_freq_factor", 1.0},
                      {"high_freq_factor", 4.0},
                      {"original_max_position_embeddings", 32}}}};
  const std::pair<json, const char*> cases[] = {{yarn(4, true, 1), "no YaRN with other beta_fast"},
                                                {llama3, "no Llama 3's scaling"}};
  for (const auto& [keys, problem] : cases) {
    const ScratchFolder scratch;
    const Checkpoint model = changed(scratch / "m", tiny_model("qwen2"), keys);
    EXPECT_THAT(testing::problem_of([&] { written(scratch / "m.gguf", model); }),
                ::testing::AllOf(HasSubstr(problem), HasSubstr("architecture qwen2")));
  }
}

TEST(GgufMetadata, LongRopeIsNamed) {
  const ScratchFolder scratch;
  const Checkpoint model = Checkpoint::open(golden("families/phi3_long"));
  expect_same_scaling(written(scratch / "m.gguf", model).config(), model.config());
  const GgufFile file(scratch / "m.gguf");
  EXPECT_EQ(file.get<std::string>("phi3.rope.scaling.type"), "longrope");
  EXPECT_TRUE(file.find("rope_factors_long.weight"));
  EXPECT_TRUE(file.find("rope_factors_short.weight"));
}

// Of a name with "phi3" or "phi-3" llama.cpp expects Phi-3's own tokens: "vocabulary: unordered_map::at" elsewhere.
TEST(GgufMetadata, NamesDoNotClaimPhi3sTokens) {
  EXPECT_EQ(gguf_model_name("phi3"), "phi 3");
  EXPECT_EQ(gguf_model_name("My-Phi-3.5-tune-PHI3"), "My-Phi 3.5-tune-PHI 3");
  for (const char* name : {"", "phi", "phi-", "Phi-4-mini", "qwen3", "phi 3"}) EXPECT_EQ(gguf_model_name(name), name);
  const ScratchFolder scratch;
  written(scratch / "m.gguf", Checkpoint::open(golden("families/phi3")));
  EXPECT_EQ(GgufFile(scratch / "m.gguf").get<std::string>("general.name"), "phi 3");
}

// llama.cpp loads no file whose embeddings have more rows than there are tokens.
TEST(GgufMetadata, TokensAreAsManyAsRows) {
  const ScratchFolder scratch;
  std::filesystem::copy(tiny_model("llama"), scratch / "small");
  json tokenizer = parse_json(read_file(scratch / "small/tokenizer.json"));
  auto& model = tokenizer["model"];
  const std::string last = model["merges"].back()[0].get<std::string>() + model["merges"].back()[1].get<std::string>();
  ASSERT_EQ(model["vocab"][last], 319);
  model["vocab"].erase(last), model["merges"].erase(model["merges"].size() - 1);
  write_file(scratch / "small/tokenizer.json", tokenizer.dump());
  const Checkpoint small = Checkpoint::open(scratch / "small");
  const Checkpoint gguf = written(scratch / "m.gguf", small);
  const GgufFile file(scratch / "m.gguf");
  EXPECT_EQ(file.get<std::vector<std::string_view>>("tokenizer.ggml.tokens").size(), 320u);
  EXPECT_EQ(file.get<std::vector<std::string_view>>("tokenizer.ggml.tokens").back(), "[PAD319]");
  EXPECT_EQ(file.get<std::vector<int32_t>>("tokenizer.ggml.token_type").back(), int32_t(TokenKind::kUnused));
  const std::string text = "A text of " + last + " [PAD319]";
  EXPECT_EQ(gguf.tokenizer()->encode(text), small.tokenizer()->encode(text));
  write_folder(scratch / "back", gguf, DType::kF32, stored_values(gguf));
  EXPECT_EQ(Checkpoint::open(scratch / "back").tokenizer()->hash(), small.tokenizer()->hash());
}

TEST(GgufMetadata, LimitsAreWindowsThatLlamaCppIgnores) {
  const auto limit = [](const char* family) {
    return gguf_limit(Checkpoint::open(golden(std::string("families/") + family)).config());
  };
  EXPECT_EQ(limit("mistral"),
            "llama.cpp ignores the sliding window of mistral: beyond 9 tokens its answers are not this model's");
  EXPECT_THAT(limit("phi3"), HasSubstr("beyond 11 tokens"));
  for (const char* family : {"gemma2", "gemma3", "qwen3_moe", "llama_yarn", "gpt2"})
    EXPECT_EQ(limit(family), "") << family;
  const ScratchFolder scratch;  // a window that holds all there is, is none
  EXPECT_EQ(gguf_limit(changed(scratch / "m", golden("families/mistral"), {{"sliding_window", 128}}).config()), "");
}

TEST(GgufMetadata, ExpertsOfALayerAreOneTensor) {
  const auto parts = gguf_parts(Checkpoint::open(golden("families/mixtral")));
  for (const GgufParts& tensor : parts) {
    EXPECT_EQ(tensor.stacked, tensor.name.find("_exps.") != std::string::npos) << tensor.name;
    EXPECT_EQ(tensor.parts.size() > 1, tensor.stacked) << tensor.name;
  }
}

}  // namespace
}  // namespace sedum
