// Token ids of the real models, with the tokenizer as their GGUF file gives it, on every line of the shared texts: what Hugging Face's
// tokenizers make of them (tools/golden/text_tokens.py).

#include <gtest/gtest.h>
#include <openssl/evp.h>

#include "base/file.h"
#include "base/json.h"
#include "model/checkpoint/checkpoint.h"
#include "parity_testing.h"

namespace sedum::parity {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;

std::vector<std::string> lines_of(const fs::path& path) {
  std::vector<std::string> lines;
  const std::string text = read_file(path);
  if (path.extension() == ".json") {
    for (const json& row : parse_json(text))
      for (const char* key : {"instruction", "input", "output"}) lines.push_back(row[key]);
    return lines;
  }
  for (size_t begin = 0;;) {
    const size_t end = text.find('\n', begin);
    lines.push_back(text.substr(begin, end - begin));
    if (end == std::string::npos) return lines;
    begin = end + 1;
  }
}

// SHA-256 over the lines' ids, a line each.
std::string digest_of(const Tokenizer& tokenizer, const std::vector<std::string>& lines) {
  std::string all;
  for (const std::string& line : lines) {
    const char* gap = "";
    for (const int32_t id : tokenizer.encode(line)) all += gap + std::to_string(id), gap = " ";
    all += "\n";
  }
  unsigned char hash[EVP_MAX_MD_SIZE];
  unsigned size = 0;
  EVP_Digest(all.data(), all.size(), hash, &size, EVP_sha256(), nullptr);
  std::string hex;
  for (unsigned i = 0; i < size; ++i) hex += "0123456789abcdef"[hash[i] >> 4], hex += "0123456789abcdef"[hash[i] & 15];
  return hex;
}

class Tokens : public testing::TestWithParam<const char*> {};

TEST_P(Tokens, StressStringsAndEveryLineOfTheTexts) {
  SEDUM_NEEDS(models_folder(), "SEDUM_TEST_MODELS");
  const Checkpoint checkpoint = Checkpoint::open(*models_folder() / (std::string(GetParam()) + ".gguf"));
  const auto tokenizer = checkpoint.tokenizer();
  const json all = golden_json("text/tokens.json"), expected = all["tokenizers"][GetParam()];
  for (size_t i = 0; i < all["strings"].size(); ++i)
    EXPECT_EQ(tokenizer->encode(all["strings"][i].get<std::string>()),
              expected["stress"][i].get<std::vector<int32_t>>())
        << all["strings"][i];
  SEDUM_NEEDS(data_folder(), "SEDUM_TEST_DATA");
  size_t count = 0;
  for (const auto& [name, file] : expected["files"].items()) {
    const std::vector<std::string> lines = lines_of(*data_folder() / name);
    EXPECT_EQ(lines.size(), file["lines"].get<size_t>()) << name;
    EXPECT_EQ(digest_of(*tokenizer, lines), file["sha256"].get<std::string>()) << name;
    count += lines.size();
  }
  std::printf("  %s: %zu strings and %zu lines\n", GetParam(), all["strings"].size(), count);
}

INSTANTIATE_TEST_SUITE_P(Files, Tokens, testing::Values("smollm2", "qwen"),
                         [](const auto& each) { return each.param; });

}  // namespace
}  // namespace sedum::parity
