#include "model/checkpoint/gguf_tokenizer.h"

#include <cstdlib>
#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "text/golden_tokenizers_testing.h"
#include "text/tokenizer_json.h"

namespace sedum {
namespace {

class GgufTokenizers : public testing::TestWithParam<const char*> {
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
INSTANTIATE_TEST_SUITE_P(GgufTokenizers, GgufTokenizers, testing::Values("gpt-2", "llama-spm", "bert-bge"));

TEST_F(GgufTokenizers, LlamaAsSentencePiece) {
  const Tokenizer tokenizer(read_gguf_tokenizer(GgufFile(data / "vocab/ggml-vocab-llama-spm.gguf")));
  EXPECT_THAT(golden_tokenizer_mismatches(tokenizer, "llama.gguf", false, data.c_str()), testing::IsEmpty());
  EXPECT_EQ(tokenizer.encode("a", {.add_special = true})[0], 1);
  // A special token in the text, and text behind it that gets its space as llama.cpp gives it.
  EXPECT_THAT(tokenizer.encode("<s>Hello"), testing::ElementsAre(1, 15043));
}

}  // namespace
}  // namespace sedum
