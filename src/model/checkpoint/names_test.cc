#include <algorithm>
#include <set>

#include <gtest/gtest.h>

#include "model/model_testing.h"

namespace sedum {
namespace {

TEST(Names, OfGguf) {
  EXPECT_EQ(gguf_name("model.layers.12.self_attn.q_proj.weight", {}), "blk.12.attn_q.weight");
  EXPECT_EQ(gguf_name("model.layers.0.self_attn.k_proj.bias", {}), "blk.0.attn_k.bias");
  EXPECT_EQ(gguf_name("model.layers.3.post_attention_layernorm.weight", {}), "blk.3.ffn_norm.weight");
  EXPECT_EQ(gguf_name("model.layers.3.mlp.down_proj.weight", {}), "blk.3.ffn_down.weight");
  EXPECT_EQ(gguf_name("model.embed_tokens.weight", {}), "token_embd.weight");
  EXPECT_EQ(gguf_name("model.norm.weight", {}), "output_norm.weight");
  EXPECT_EQ(gguf_name("lm_head.weight", {}), "output.weight");
}

TEST(Names, UnknownOnesHaveNone) {
  for (const char* name :
       {"", "weight", "model.layers.weight", "model.layers.0.mlp.gate.weight", "encoder.norm.weight"})
    EXPECT_EQ(gguf_name(name, {}), "") << name;
}

TEST(Names, AllTensorsOfAModelAreInItsFileAndNoneTwice) {
  for (const char* name : {"llama", "qwen2", "qwen2_tied", "qwen2.q8_0.gguf", "llama.f32.gguf"}) {
    const Checkpoint checkpoint = Checkpoint::open(testing::tiny_model(name));
    const auto names = checkpoint.tensor_names();
    for (const std::string& tensor : names) EXPECT_TRUE(checkpoint.has(tensor)) << name << " " << tensor;
    EXPECT_EQ(std::set<std::string>(names.begin(), names.end()).size(), names.size());
  }
}

TEST(RowOrder, ThereAndBackIsWhereItWas) {
  for (const int64_t head_dim : {2, 6, 64})
    for (int64_t row = 0; row < 3 * head_dim; ++row) {
      EXPECT_EQ(other_row(other_row(row, head_dim, RowOrder::kHalves), head_dim, RowOrder::kInterleaved), row);
      EXPECT_EQ(other_row(row, head_dim, RowOrder::kHalves) / head_dim, row / head_dim);  // heads stay
    }
}

TEST(RowOrder, PairsOfAHead) {
  // Halves 0 1 2 | 3 4 5 are the interleaved 0 2 4 | 1 3 5.
  std::vector<int64_t> rows;
  for (int64_t row = 6; row < 12; ++row) rows.push_back(other_row(row, 6, RowOrder::kHalves));
  EXPECT_EQ(rows, (std::vector<int64_t>{6, 8, 10, 7, 9, 11}));
}

// Llama's q and k lie interleaved in GGUF, v does not; what is read is the folder's order, bit for bit.
TEST(RowOrder, GgufReadsAsTheFolder) {
  const Checkpoint folder = Checkpoint::open(testing::tiny_model("llama"));
  const Checkpoint gguf = Checkpoint::open(testing::tiny_model("llama.f32.gguf"));
  for (const std::string& name : folder.tensor_names()) {
    const Tensor a = folder.tensor(name), b = gguf.tensor(name);
    ASSERT_EQ(a.shape(), b.shape()) << name;
    EXPECT_TRUE(std::equal(a.data<float>(), a.data<float>() + a.count(), b.data<float>())) << name;
  }
}

}  // namespace
}  // namespace sedum
