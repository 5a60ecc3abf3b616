#include "model/checkpoint/mixture.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace sedum {
namespace {

ModelConfig of_layers(int64_t layers, bool tied) {
  ModelConfig c;
  c.num_hidden_layers = layers, c.tie_word_embeddings = tied;
  return c;
}

// What `llama-quantize` says for SmolLM2-135M (30 layers, 576 columns, 1536 inside, tied).
TEST(Mixture, SmallModelFallsBack) {
  const GgufMixture m = gguf_mixture("Q4_K_M", of_layers(30, true));
  EXPECT_EQ(m.file_type, 15u);
  EXPECT_EQ(m.type_of("token_embd.weight", {49152, 576}), DType::kQ8_0);
  EXPECT_EQ(m.type_of("blk.3.attn_q.weight", {576, 576}), DType::kQ5_0);
  EXPECT_EQ(m.type_of("blk.3.attn_v.weight", {192, 576}), DType::kQ5_0);
  EXPECT_EQ(m.type_of("blk.0.attn_v.weight", {192, 576}), DType::kQ8_0);
  EXPECT_EQ(m.type_of("blk.0.ffn_down.weight", {576, 1536}), DType::kQ6_K);
  EXPECT_EQ(m.type_of("blk.3.ffn_down.weight", {576, 1536}), DType::kQ4_K);
  EXPECT_EQ(m.type_of("blk.5.ffn_down.weight", {576, 1536}), DType::kQ6_K);
  EXPECT_EQ(m.type_of("blk.26.ffn_down.weight", {576, 1536}), DType::kQ6_K);
  EXPECT_EQ(m.type_of("blk.0.attn_norm.weight", {576}), DType::kF32);
  EXPECT_EQ(m.type_of("blk.0.attn_q.bias", {576}), DType::kF32);
  const GgufMixture five = gguf_mixture("q5_K_M", of_layers(30, true));
  EXPECT_EQ(five.type_of("blk.3.attn_q.weight", {576, 576}), DType::kQ5_1);
  EXPECT_EQ(five.type_of("blk.3.ffn_down.weight", {576, 1536}), DType::kQ5_K);
}

TEST(Mixture, LargeModelKeepsTheOutputFine) {
  const ModelConfig config = of_layers(32, false);
  for (const char* name : {"q4_0", "q4_1", "q5_0", "q5_1", "q4_K_M", "q6_K"}) {
    const GgufMixture m = gguf_mixture(name, config);
    EXPECT_EQ(m.type_of("output.weight", {32000, 4096}), DType::kQ6_K) << name;
    EXPECT_EQ(m.type_of("token_embd.weight", {32000, 4096}), m.type) << name;
  }
  EXPECT_EQ(gguf_mixture("q8_0", config).type_of("output.weight", {32000, 4096}), DType::kQ8_0);
  EXPECT_EQ(gguf_mixture("f16", config).type_of("output.weight", {32000, 4096}), DType::kF16);
  EXPECT_EQ(gguf_mixture("f32", config).type_of("blk.0.attn_q.weight", {4096, 4096}), DType::kF32);
  GgufMixture four = gguf_mixture("q4_0", config);
  four.has_importance = true;
  EXPECT_EQ(four.type_of("blk.3.ffn_down.weight", {4096, 11008}), DType::kQ4_1);
  EXPECT_EQ(four.type_of("blk.4.ffn_down.weight", {4096, 11008}), DType::kQ4_0);
  EXPECT_EQ(four.type_of("blk.4.ffn_up.weight", {30, 33}), DType::kF16);  // fits no block
}

TEST(Mixture, NamesAreKnownOrRefused) {
  for (const std::string& name : gguf_mixture_names()) EXPECT_EQ(gguf_mixture(name, of_layers(2, true)).name, name);
  EXPECT_THROW(gguf_mixture("q3_K_M", of_layers(2, true)), Error);
}

}  // namespace
}  // namespace sedum
