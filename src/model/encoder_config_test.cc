#include <gtest/gtest.h>

#include "base/error.h"
#include "base/json.h"
#include "model/config.h"

namespace sedum {
namespace {

using nlohmann::json;

const json kRoberta{{"model_type", "roberta"},       {"vocab_size", 120},      {"hidden_size", 24},
                    {"intermediate_size", 40},       {"num_hidden_layers", 2}, {"num_attention_heads", 3},
                    {"max_position_embeddings", 64}, {"pad_token_id", 1}};
const json kT5{{"model_type", "t5"}, {"vocab_size", 120}, {"d_model", 24}, {"d_ff", 40},
               {"d_kv", 10},         {"num_layers", 2},   {"num_heads", 3}};

ModelConfig parsed(json config, const std::string& key = "", const json& value = {}) {
  if (!key.empty()) config[key] = value;
  return parse_config_json(config.dump(), "config.json");
}

TEST(EncoderConfig, DefaultsAreThoseOfTransformers) {
  const ModelConfig roberta = parsed(kRoberta), t5 = parsed(kT5);
  EXPECT_EQ(roberta.encoder.position_offset, 2);
  EXPECT_EQ(roberta.encoder.hidden_act, "gelu");
  EXPECT_FLOAT_EQ(roberta.resid_pdrop, 0.1f);
  EXPECT_EQ(t5.encoder.num_decoder_layers, 2);
  EXPECT_EQ(t5.encoder.hidden_act, "relu");
  EXPECT_TRUE(t5.tie_word_embeddings && t5.encoder.scale_decoder_outputs);
  EXPECT_FALSE(parsed(kT5, "tie_word_embeddings", false).encoder.scale_decoder_outputs);
  EXPECT_EQ(parsed(kT5, "feed_forward_proj", "gated-gelu").encoder.hidden_act, "gelu_new");
}

TEST(EncoderConfig, WhatIsWrittenIsReadAgain) {
  for (const json& config : {kRoberta, kT5}) {
    const ModelConfig once = parsed(config), again = parse_config_json(config_to_json(once).dump(), "config.json");
    EXPECT_EQ(config_to_json(once), config_to_json(again));
    EXPECT_EQ(once.parameter_count(), again.parameter_count());
  }
}

TEST(EncoderConfig, DamagedSizesAreRefused) {
  constexpr int64_t kHuge = int64_t{1} << 40;
  const std::vector<std::pair<std::string, json>> damages{{"hidden_size", 25},          {"hidden_size", -24},
                                                          {"num_attention_heads", 0},   {"vocab_size", kHuge},
                                                          {"num_labels", kHuge},        {"num_labels", 0},
                                                          {"type_vocab_size", kHuge},   {"num_hidden_layers", 0},
                                                          {"hidden_act", "swish"},      {"max_position_embeddings", 2},
                                                          {"pad_token_id", 2147483647}, {"hidden_dropout_prob", 1.5}};
  for (const auto& [key, value] : damages) EXPECT_THROW(parsed(kRoberta, key, value), Error) << key << value;
  const std::vector<std::pair<std::string, json>> t5_damages{{"num_decoder_layers", 0},
                                                             {"relative_attention_num_buckets", kHuge},
                                                             {"relative_attention_num_buckets", 2},
                                                             {"relative_attention_max_distance", 3},
                                                             {"decoder_start_token_id", 500},
                                                             {"d_kv", 0},
                                                             {"feed_forward_proj", "gated-tanh"}};
  for (const auto& [key, value] : t5_damages) EXPECT_THROW(parsed(kT5, key, value), Error) << key << value;
}

}  // namespace
}  // namespace sedum
