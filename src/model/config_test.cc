#include "model/config.h"

#include <gmock/gmock.h>

#include "base/json.h"
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
  EXPECT_THAT(problem(with("rope_scaling", {{"rope_type", "dynamic"}})), HasSubstr("dynamic"));
  EXPECT_THAT(
      problem(with("rope_scaling", {{"rope_type", "longrope"}, {"short_factor", {1, 1}}, {"long_factor", {1}}})),
      HasSubstr("factors of longrope"));
  EXPECT_THAT(problem(with("rope_scaling", {{"rope_type", "yarn"}, {"factor", -1}})), HasSubstr("not above 0"));
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

// What transformers computes of the same keys: 0.1 ln 4 + 1, √(1 + ln 32 / ln 4096), and what is given.
TEST(ModelConfig, AttentionFactorsOfStretchedRope) {
  const auto of = [](const json& scaling) { return parse(with("rope_scaling", scaling)).rope_scaling; };
  const RopeScaling yarn = of({{"type", "yarn"}, {"factor", 4.0}, {"original_max_position_embeddings", 32}});
  EXPECT_EQ(yarn.type, RopeScaling::Type::kYarn);
  EXPECT_NEAR(yarn.attention_factor, 1.1386294, 1e-6);
  EXPECT_EQ(of({{"type", "yarn"}, {"factor", 4.0}, {"attention_factor", 1.5}}).attention_factor, 1.5f);
  EXPECT_NEAR(of({{"type", "yarn"}, {"factor", 4.0}, {"mscale", 1.0}, {"mscale_all_dim", 0.5}}).attention_factor,
              1.1386294 / 1.0693147, 1e-6);
  json document = with("rope_scaling", {{"type", "su"}, {"short_factor", {1, 1, 1, 1}}, {"long_factor", {1, 2, 3, 4}}});
  document["model_type"] = "phi3", document["max_position_embeddings"] = 131072;
  document["original_max_position_embeddings"] = 4096;
  const RopeScaling longrope = parse(document).rope_scaling;
  EXPECT_EQ(longrope.type, RopeScaling::Type::kLongRope);
  EXPECT_EQ(longrope.original_max_position_embeddings, 4096);
  EXPECT_FLOAT_EQ(longrope.factor, 32);
  EXPECT_NEAR(longrope.attention_factor, 1.1902381, 1e-6);
  // Written and read again it is the same.
  const RopeScaling again = parse_config_json(config_to_json(parse(document)).dump(), "again").rope_scaling;
  EXPECT_EQ(again.long_factor, longrope.long_factor);
  EXPECT_EQ(again.attention_factor, longrope.attention_factor);
  EXPECT_EQ(again.original_max_position_embeddings, 4096);
}

TEST(ModelConfig, MixturesOfExperts) {
  json document = with("model_type", "qwen3_moe");
  document["num_experts"] = 8, document["num_experts_per_tok"] = 2, document["moe_intermediate_size"] = 16;
  document["num_hidden_layers"] = 6, document["decoder_sparse_step"] = 2, document["mlp_only_layers"] = {3};
  const ModelConfig c = parse(document);
  for (int64_t i = 0; i < 6; ++i) EXPECT_EQ(c.is_sparse(i), i == 1 || i == 5) << i;
  EXPECT_FALSE(c.norm_topk_prob);
  EXPECT_EQ(c.parameter_count() - c.active_parameter_count(), 2 * 6 * 3 * 32 * 16);
  const ModelConfig again = parse_config_json(config_to_json(c).dump(), "again");
  EXPECT_EQ(again.dense_layers, c.dense_layers);
  document["num_experts_per_tok"] = 9;
  EXPECT_THAT(problem(document), HasSubstr("9 of 8 experts"));
}

}  // namespace
}  // namespace sedum
