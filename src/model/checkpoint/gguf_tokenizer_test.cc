#include "model/checkpoint/gguf_tokenizer.h"

#include <cstdlib>
#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/json.h"
#include "model/model_testing.h"
#include "text/golden_tokenizers_testing.h"
#include "text/tokenizer_json.h"

namespace sedum {
namespace {

class GgufTokenizers : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    if (!std::getenv("SEDUM_TEST_DATA")) GTEST_SKIP() << "SEDUM_TEST_DATA is not set";
    data = std::getenv("SEDUM_TEST_DATA");
  }
  std::filesystem::path data;
};

// Strings between separators, and a line of ids for each.
TEST_P(GgufTokenizers, GiveTheVectorsOfLlamaCpp) {
  const std::filesystem::path path = data / "vocab" / ("ggml-vocab-" + std::string(GetParam()) + ".gguf");
  const Tokenizer tokenizer(read_gguf_tokenizer(GgufFile(path)));
  const std::string inputs = read_file(path.string() + ".inp"), separator = "\n__ggml_vocab_test__\n";
  std::istringstream outputs(read_file(path.string() + ".out"));
  size_t vectors = 0;
  for (size_t at = 0; at < inputs.size(); vectors++) {
    const size_t end = std::min(inputs.find(separator, at), inputs.size());
    std::string line;
    std::getline(outputs, line);
    std::istringstream numbers(line);
    const std::vector<int32_t> expected{std::istream_iterator<int32_t>(numbers), {}};
    EXPECT_EQ(tokenizer.encode(inputs.substr(at, end - at)), expected) << inputs.substr(at, end - at);
    at = end + separator.size();
  }
  EXPECT_EQ(vectors, 46u);
}
INSTANTIATE_TEST_SUITE_P(GgufTokenizers, GgufTokenizers, ::testing::Values("gpt-2", "llama-spm", "bert-bge"));

TEST_F(GgufTokenizers, LlamaAsSentencePiece) {
  const Tokenizer tokenizer(read_gguf_tokenizer(GgufFile(data / "vocab/ggml-vocab-llama-spm.gguf")));
  EXPECT_THAT(golden_tokenizer_mismatches(tokenizer, "llama.gguf", false, data.c_str()), ::testing::IsEmpty());
  EXPECT_EQ(tokenizer.encode("a", {.add_special = true})[0], 1);
  // A special token in the text, and text behind it that gets its space as llama.cpp gives it.
  EXPECT_THAT(tokenizer.encode("<s>Hello"), ::testing::ElementsAre(1, 15043));
}

// A file with the tiny vocabulary of tests/golden/text, or another, and what `change` adds.
TokenizerSpec read_back(const TokenizerSpec& spec, const std::function<void(GgufWriter&)>& change) {
  const testing::ScratchFolder scratch;
  GgufWriter out(scratch / "t.gguf");
  out.set("tokenizer.ggml.tokens", spec.tokens);
  out.set("tokenizer.ggml.merges", spec.merges);
  std::vector<int32_t> kinds(spec.tokens.size(), 1);
  for (size_t id = 0; id < spec.kinds.size(); id++) kinds[id] = int32_t(spec.kinds[id]);
  out.set("tokenizer.ggml.token_type", kinds);
  change(out);
  out.finish();
  return read_gguf_tokenizer(GgufFile(scratch / "t.gguf"));
}
TokenizerSpec tiny() { return read_tokenizer_json(testing::golden("text/tiny_tokenizer.json")); }
TokenizerSpec byte_level(const std::string& pre) {
  return read_back(tiny(), [&](GgufWriter& out) {
    out.set("tokenizer.ggml.model", "gpt2");
    if (pre != "none") out.set("tokenizer.ggml.pre", pre);
  });
}

TEST(GgufTokenizer, WithoutAPreTokenizerHasLlamaCppsPatterns) {
  for (const char* pre : {"none", "", "default"}) {
    TokenizerSpec spec = byte_level(pre);
    EXPECT_EQ(spec.pre_tokenizer, "default") << pre;
    spec.added.clear(), spec.kinds.clear();
    EXPECT_THAT(golden_tokenizer_mismatches(Tokenizer(spec), "pre/default", false, nullptr), ::testing::IsEmpty());
  }
}

TEST(GgufTokenizer, KnownNamesBringTheirDefaults) {
  for (const char* pre : {"glm4", "glm5", "minicpm5", "youtu", "granite-embed-multi-97m"}) {
    EXPECT_TRUE(byte_level(pre).ignore_merges) << pre;
    EXPECT_FALSE(byte_level(pre).add_bos) << pre;
  }
  EXPECT_FALSE(byte_level("chatglm-bpe").ignore_merges);
  EXPECT_TRUE(byte_level("jina-v5-nano").add_bos);
  EXPECT_TRUE(byte_level("qwen35").nfc);
  EXPECT_THAT(testing::problem_of([] { byte_level("whitespace"); }), ::testing::HasSubstr("\"whitespace\""));
}

// Merges over characters: the ids of the tokenizer.json with the same parts.
TEST(GgufTokenizer, Gemma4) {
  auto json = parse_json(read_file(testing::golden("text/tokenizers/llama.json")));
  json["normalizer"] = {{"type", "Replace"}, {"pattern", {{"String", " "}}}, {"content", "▁"}};
  json["decoder"]["decoders"].erase(3);
  json["added_tokens"].erase(json["added_tokens"].begin() + 3, json["added_tokens"].end());
  const TokenizerSpec spec = parse_tokenizer_json(json.dump());
  const Tokenizer expected(spec);
  for (const char* pre : {"", "gemma4", "sarvam-moe", "granite-embed-multi-311m"}) {
    const Tokenizer read(read_back(expected.spec(), [&](GgufWriter& out) {
      out.set("tokenizer.ggml.model", *pre ? "gpt2" : "gemma4");
      if (*pre) out.set("tokenizer.ggml.pre", pre);
    }));
    for (const std::string text : golden_tokenizers().at("strings")) {
      ASSERT_EQ(read.encode(text), expected.encode(text)) << pre << ": " << text;
      ASSERT_EQ(read.decode(read.encode(text)), expected.decode(expected.encode(text))) << pre << ": " << text;
    }
  }
}

}  // namespace
}  // namespace sedum
