// Every kind of tokenizer against tests/golden/text/tokenizers.json (tools/golden/text_tokenizers.py).

#include <cstdlib>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/json.h"
#include "base/random.h"
#include "text/golden_tokenizers_testing.h"
#include "text/normalizer.h"
#include "text/pre_tokenizer.h"
#include "text/pre_tokenizer_steps.h"
#include "text/sentencepiece.h"
#include "text/tokenizer_json.h"
#include "text/unicode.h"

namespace sedum {
namespace {

namespace fs = std::filesystem;
using testing::IsEmpty;
using Json = nlohmann::json;

const fs::path kGolden = fs::path(SEDUM_SOURCE_DIR) / "tests/golden/text";

std::vector<std::string> names_with(const std::string& prefix) {
  std::vector<std::string> names;
  for (const auto& [name, value] : golden_tokenizers().at("tokenizers").items())
    if (name.starts_with(prefix)) names.push_back(name.substr(prefix.size()));
  return names;
}

class OwnTokenizers : public testing::TestWithParam<std::string> {};

TEST_P(OwnTokenizers, GiveTheIdsAndTextOfHuggingFace) {
  const TokenizerSpec spec = read_tokenizer_json(kGolden / "tokenizers" / (GetParam() + ".json"));
  EXPECT_THAT(golden_tokenizer_mismatches(Tokenizer(spec), "own/" + GetParam(), true, nullptr), IsEmpty());
  // Written and read again.
  const Tokenizer again(parse_tokenizer_json(write_tokenizer_json(spec)));
  EXPECT_THAT(golden_tokenizer_mismatches(again, "own/" + GetParam(), true, nullptr), IsEmpty());
}

TEST_P(OwnTokenizers, FrameTruncateAndPadAsHuggingFaceDoes) {
  const Json& expected = golden_tokenizers()["tokenizers"]["own/" + GetParam()];
  if (!expected.contains("framed")) return;
  const Tokenizer tokenizer(read_tokenizer_json(kGolden / "tokenizers" / (GetParam() + ".json")));
  const auto as_json = [](const Encoding& e) { return Json::array({e.ids, e.type_ids, e.attention_mask}); };
  const Json &pairs = golden_tokenizers()["pairs"], &framed = expected["framed"];
  std::vector<Encoding> batch;
  for (size_t i = 0; i < pairs.size(); i++) {
    Encoding one[1] = {tokenizer.encode_pair(pairs[i][0].get<std::string>(), pairs[i][1].get<std::string>())};
    tokenizer.pad(one);
    EXPECT_EQ(as_json(one[0]), framed["pair"][i]) << i;
    one[0] = tokenizer.encode_single(pairs[i][0].get<std::string>());
    if (i < 2) batch.push_back(one[0]);
    tokenizer.pad(one);
    EXPECT_EQ(as_json(one[0]), framed["single"][i]) << i;
  }
  batch.push_back(tokenizer.encode_single("x"));
  if (framed["batch"][0][0].size() != framed["batch"][2][0].size()) return;  // the file asks for no padding
  tokenizer.pad(batch);
  for (size_t i = 0; i < batch.size(); i++) EXPECT_EQ(as_json(batch[i]), framed["batch"][i]) << i;
}

std::string test_name(const testing::TestParamInfo<std::string>& info) {
  std::string name = info.param;
  for (char& c : name)
    if (!std::isalnum(static_cast<unsigned char>(c))) c = '_';
  return name;
}
INSTANTIATE_TEST_SUITE_P(Tokenizers, OwnTokenizers, testing::ValuesIn(names_with("own/")), test_name);

class PublishedPreTokenizers : public testing::TestWithParam<std::string> {};
TEST_P(PublishedPreTokenizers, CutAsHuggingFaceDoes) {
  TokenizerSpec spec = read_tokenizer_json(kGolden / "tiny_tokenizer.json");
  spec.pre_tokenizer = GetParam();
  spec.added.clear();
  EXPECT_THAT(golden_tokenizer_mismatches(Tokenizer(spec), "pre/" + GetParam(), false, nullptr), IsEmpty());
}
TEST_P(PublishedPreTokenizers, CutWhereHuggingFaceDoes) {
  const NextWord next = find_pre_tokenizer(GetParam());
  const PatternSplitter splitter(pre_tokenizer_patterns(GetParam()));
  const Json &strings = golden_tokenizers()["strings"],
             &expected = golden_tokenizers()["tokenizers"]["pre/" + GetParam()]["cuts"];
  for (size_t i = 0; i < strings.size(); i++) {
    const std::string text = strings[i];
    std::vector<int32_t> by_hand, by_pattern;
    for (const std::string_view piece : splitter.split(text)) by_pattern.push_back(int32_t(piece.size()));
    const auto digest = [](const std::vector<int32_t>& cuts) {
      return golden_details::sha256(golden_details::joined(cuts), 16);
    };
    EXPECT_EQ(digest(by_pattern), expected[i]) << i << ": " << golden_details::shown(text);
    if (!next) continue;
    for (const char *p = text.data(), *end = p + text.size(), *q; p < end; p = q)
      q = next(p, end), by_hand.push_back(int32_t(q - p));
    EXPECT_EQ(digest(by_hand), expected[i]) << i << ", by hand: " << golden_details::shown(text);
  }
}
INSTANTIATE_TEST_SUITE_P(Tokenizers, PublishedPreTokenizers, testing::ValuesIn(names_with("pre/")), test_name);

class SharedTokenizers : public testing::Test {
 protected:
  void SetUp() override {
    if (!std::getenv("SEDUM_TEST_DATA")) GTEST_SKIP() << "SEDUM_TEST_DATA is not set";
    data = std::getenv("SEDUM_TEST_DATA");
  }
  std::vector<std::string> compare(const TokenizerSpec& spec, const char* name, bool parse_special) {
    return golden_tokenizer_mismatches(Tokenizer(spec), name, parse_special, data.c_str());
  }
  fs::path data;
};

TEST_F(SharedTokenizers, SentencePieceBpe) {
  EXPECT_THAT(compare(read_sentencepiece(data / "tokenizers/mistral-v1-tokenizer.model"), "mistral.model", false),
              IsEmpty());
}
TEST_F(SharedTokenizers, SentencePieceUnigram) {
  EXPECT_THAT(compare(read_sentencepiece(data / "tokenizers/t5-spiece.model"), "t5.model", false), IsEmpty());
}
TEST_F(SharedTokenizers, UnigramAsTokenizerJson) {
  const TokenizerSpec spec = read_sentencepiece(data / "tokenizers/t5-spiece.model");
  EXPECT_THAT(compare(parse_tokenizer_json(write_tokenizer_json(Tokenizer(spec).spec())), "t5.json", true), IsEmpty());
}
TEST_F(SharedTokenizers, SentencePieceBpeAsTokenizerJson) {
  const Tokenizer model(read_sentencepiece(data / "tokenizers/mistral-v1-tokenizer.model"));
  const Tokenizer json(parse_tokenizer_json(write_tokenizer_json(model.spec())));
  for (const std::string& line : golden_chunks(data / "text/botchan.txt"))
    ASSERT_EQ(json.encode(line), model.encode(line)) << line;
}
TEST_F(SharedTokenizers, WordPiece) {
  EXPECT_THAT(compare(read_vocab_txt(data / "tokenizers/bert-base-uncased-vocab.txt"), "bert-uncased", true),
              IsEmpty());
}
TEST_F(SharedTokenizers, WordPieceChinese) {
  std::vector<std::string> tokens = golden_chunks(data / "tokenizers/bert-base-chinese-vocab.txt");
  EXPECT_THAT(compare(bert_tokenizer(tokens, "vocab.txt", true), "bert-chinese", true), IsEmpty());
}

TEST(SentencePiece, DamagedModelsAreRefused) {
  const Random random(5, Purpose::kTest);
  // piece "a" of score -1, piece "<unk>"
  std::string good =
      "\x0a\x08\x0a\x01"
      "a"
      "\x15";
  good += std::string("\x00\x00\x80\xbf", 4);
  good += std::string("\x0a\x09\x0a\x05<unk>\x18\x02", 11);
  const Tokenizer tokenizer(parse_sentencepiece(good));
  EXPECT_THAT(tokenizer.encode("aab"), testing::ElementsAre(1, 0, 0, 1));
  for (uint64_t at = 0; at < good.size(); at++) {
    std::string bad = good.substr(0, at);
    try {
      Tokenizer(parse_sentencepiece(bad)).encode("aab");
    } catch (const Error&) {
    }
    for (int bit = 0; bit < 8; bit++) {
      bad = good, bad[at] = char(bad[at] ^ 1 << bit);
      try {
        Tokenizer(parse_sentencepiece(bad)).encode("aab");
      } catch (const Error&) {
      }
    }
  }
  EXPECT_THROW(parse_sentencepiece("hello"), Error);
  EXPECT_THROW(parse_sentencepiece(""), Error);
}

// Each part of Hugging Face's knows Unicode of another year.
TEST(Normalization, EveryCharacterAsHuggingFace) {
  const auto pieces = [](std::string_view text) {
    PreTokenizerSteps::Work work;
    PreTokenizerSteps(Json{{"type", "Punctuation"}}, "test").split(text, true, work);
    std::string joined;
    for (const std::string_view piece : work.pieces) joined.append(joined.empty() ? "" : "\n").append(piece);
    return joined;
  };
  for (const auto& [part, digests] : golden_tokenizers().at("every").items()) {
    Json json = {{"type", part}};
    if (std::islower(static_cast<unsigned char>(part[0]))) {
      json = {{"type", "BertNormalizer"}};
      for (const char* flag : {"clean_text", "handle_chinese_chars", "strip_accents", "lowercase"})
        json[flag] = part == flag;
    }
    const Normalizer normalizer(part == "Punctuation" ? Json() : json, "test");
    size_t block = 0;
    for (char32_t start = 0; start < 0x110000; start += 4096) {
      std::string all;
      for (char32_t code = start; code < start + 4096; code++) {
        if (code >= 0xD800 && code < 0xE000) continue;
        std::string c;
        unicode::append(c, code);
        const std::string text = "a" + c + "\u0334\u0345" + c + "b\n";
        all += part == "Punctuation" ? pieces(text) : normalizer(text);
      }
      if (all.empty()) continue;
      EXPECT_EQ(golden_details::sha256(all, 16), digests[block++]) << part << " from " << uint32_t(start);
    }
  }
}

TEST(Normalization, CompatibilityForms) {
  EXPECT_EQ(unicode::nfkc("\uFB01 \uFF21 \u00BD \u2460 \u337F"), "fi A 1\u20442 1 株式会社");
  EXPECT_EQ(unicode::nfkc("\uFF76\uFF9E"), "\u30AC");
  EXPECT_EQ(unicode::nfkd("\u30AC\u00E9"), "\u30AB\u3099e\u0301");
  EXPECT_EQ(unicode::nfkc("\u3131\u314F"), "\uAC00");
}

}  // namespace
}  // namespace sedum
