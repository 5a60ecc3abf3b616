#include "model/config.h"

#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

#include "model/model_testing.h"

namespace sedum {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

json small() {
  return {{"model_type", "llama"},  {"vocab_size", 100},        {"hidden_size", 32},       {"intermediate_size", 64},
          {"num_hidden_layers", 2}, {"num_attention_heads", 4}, {"num_key_value_heads", 2}};
}
ModelConfig parse(const json& document) { return parse_config_json(document.dump(), "config.json"); }
json with(const std::string& key, const json& value) {
  json document = small();
  document[key] = value;
  return document;
}
std::string problem(const json& document) {
  return testing::problem_of([&] { parse(document); });
}

TEST(ModelConfig, DefaultsOfTransformers) {
  const ModelConfig c = parse(small());
  EXPECT_EQ(c.head_dim, 8);
  EXPECT_EQ(c.max_position_embeddings, 2048);
  EXPECT_FLOAT_EQ(c.rms_norm_eps, 1e-6f);
  EXPECT_FLOAT_EQ(c.rope_theta, 10000);
  EXPECT_FALSE(c.attention_bias || c.attention_out_bias || c.mlp_bias || c.tie_word_embeddings);
  EXPECT_EQ(c.bos_token_id, -1);
}

TEST(ModelConfig, Qwen2HasBiasesOfItsOwn) {
  const ModelConfig c = parse(with("model_type", "qwen2"));
  EXPECT_TRUE(c.attention_bias);
  EXPECT_FALSE(c.attention_out_bias);
  const ModelConfig llama = parse(with("attention_bias", true));
  EXPECT_TRUE(llama.attention_bias && llama.attention_out_bias);
}

TEST(ModelConfig, NullCountsAsAbsent) {
  EXPECT_EQ(parse(with("head_dim", nullptr)).head_dim, 8);
  EXPECT_EQ(parse(with("rope_scaling", nullptr)).rope_scaling.type, RopeScaling::Type::kNone);
}

TEST(ModelConfig, EndTokenMayBeAList) {
  EXPECT_EQ(parse(with("eos_token_id", json::array({7, 9}))).eos_token_id, 7);
  EXPECT_EQ(parse(with("eos_token_id", json::array())).eos_token_id, -1);
}

// transformers 4 has rope_theta and rope_scaling, 5 has rope_parameters.
TEST(ModelConfig, BothSpellingsOfRope) {
  json four = with("rope_theta", 5e5);
  four["rope_scaling"] = {{"rope_type", "llama3"},
                          {"factor", 8.0},
                          {"low_freq_factor", 2.0},
                          {"high_freq_factor", 5.0},
                          {"original_max_position_embeddings", 64}};
  json five = small();
  five["rope_parameters"] = four["rope_scaling"];
  five["rope_parameters"]["rope_theta"] = 5e5;
  for (const json& document : {four, five}) {
    const ModelConfig c = parse(document);
    EXPECT_FLOAT_EQ(c.rope_theta, 5e5f);
    EXPECT_EQ(c.rope_scaling.type, RopeScaling::Type::kLlama3);
    EXPECT_FLOAT_EQ(c.rope_scaling.factor, 8);
    EXPECT_FLOAT_EQ(c.rope_scaling.low_freq_factor, 2);
    EXPECT_FLOAT_EQ(c.rope_scaling.high_freq_factor, 5);
    EXPECT_EQ(c.rope_scaling.original_max_position_embeddings, 64);
  }
  EXPECT_EQ(parse(with("rope_scaling", {{"type", "linear"}, {"factor", 2.0}})).rope_scaling.type,
            RopeScaling::Type::kLinear);
}

TEST(ModelConfig, WhatIsWrittenReadsTheSame) {
  json document = with("rope_scaling", {{"rope_type", "linear"}, {"factor", 4.0}});
  document["tie_word_embeddings"] = true, document["bos_token_id"] = 3, document["head_dim"] = 16;
  const ModelConfig a = parse(document);
  const auto written = config_to_json(a);
  EXPECT_EQ(config_to_json(parse_config_json(written.dump(), "again")), written);
  EXPECT_EQ(written["head_dim"], 16);
  EXPECT_EQ(written["rope_scaling"]["factor"], 4.0);
}

TEST(ModelConfig, MistakesNameFileAndKey) {
  json missing = small();
  missing.erase("hidden_size");
  EXPECT_THAT(problem(missing), HasSubstr("config.json: the key \"hidden_size\" is missing"));
  EXPECT_THAT(problem(with("hidden_size", "big")), HasSubstr("\"hidden_size\" has the wrong type"));
  EXPECT_THAT(problem(with("model_type", "mamba")), HasSubstr("mamba"));
  EXPECT_THAT(problem(with("num_key_value_heads", 3)), HasSubstr("4 attention heads cannot share 3"));
  EXPECT_THAT(problem(with("head_dim", 7)), HasSubstr("odd"));
  EXPECT_THAT(problem(with("hidden_size", 0)), HasSubstr("hidden_size is 0"));
  EXPECT_THAT(problem(with("vocab_size", int64_t{1} << 40)), HasSubstr("vocab_size"));
  EXPECT_THAT(problem(with("rope_scaling", {{"rope_type", "yarn"}})), HasSubstr("yarn"));
  EXPECT_THAT(problem(with("rope_scaling", {{"rope_type", "linear"}})), HasSubstr("factor"));
  EXPECT_THAT(problem(with("rope_scaling", 3)), HasSubstr("not an object"));
  EXPECT_THAT(problem(with("eos_token_id", json::array({"x"}))), HasSubstr("eos_token_id"));
  EXPECT_THAT(problem(with("hidden_act", "gelu")), HasSubstr("hidden_act"));
  EXPECT_THAT(problem(json::array()), HasSubstr("not a JSON object"));
}

TEST(ModelConfig, ParametersAreThoseOfTheFile) {
  for (const char* name : {"llama", "qwen2", "qwen2_tied", "llama_linear"}) {
    const Checkpoint checkpoint = Checkpoint::open(testing::tiny_model(name));
    int64_t stored = 0;
    for (const std::string& tensor : checkpoint.tensor_names()) stored += checkpoint.tensor(tensor).count();
    EXPECT_EQ(checkpoint.config().parameter_count(), stored) << name;
  }
}

}  // namespace
}  // namespace sedum
