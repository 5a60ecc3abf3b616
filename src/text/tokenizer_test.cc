#include "text/tokenizer.h"

#include <chrono>
#include <cstdlib>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/random.h"
#include "text/golden_ids_testing.h"
#include "text/pre_tokenizer.h"
#include "text/tokenizer_json.h"
#include "text/unicode.h"

namespace sedum {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
namespace fs = std::filesystem;

const fs::path kSource = SEDUM_SOURCE_DIR;
const char* test_data() { return std::getenv("SEDUM_TEST_DATA"); }

TokenizerSpec tiny_spec(const std::string& pre_tokenizer = "gpt-2") {
  TokenizerSpec spec = read_tokenizer_json(kSource / "tests/golden/text/tiny_tokenizer.json");
  EXPECT_EQ(spec.pre_tokenizer, "gpt-2");  // recognised by its pattern
  spec.pre_tokenizer = pre_tokenizer;
  apply_known_defaults(spec);
  spec.add_bos = false;
  return spec;
}

class PreTokenizers : public testing::TestWithParam<const char*> {};

TEST_P(PreTokenizers, GiveTheIdsOfHuggingFace) {
  const Tokenizer tokenizer(tiny_spec(GetParam()));
  EXPECT_THAT(golden_id_mismatches(tokenizer, std::string("tiny/") + GetParam(), kSource, test_data()), IsEmpty());
}

// The same cutting by PCRE2, from the patterns that tokenizer.json holds.
TEST_P(PreTokenizers, ByHandAreThePatternsTheyStandFor) {
  const std::string rest = R"(| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
  const std::string gpt2 = R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
  const std::string qwen2 = R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|)";
  const std::map<std::string, std::vector<std::string>> patterns = {{"gpt-2", {gpt2}},
                                                                    {"smollm", {R"(\p{N})", gpt2}},
                                                                    {"qwen2", {qwen2 + R"(\p{N})" + rest}},
                                                                    {"llama-bpe", {qwen2 + R"(\p{N}{1,3})" + rest}}};
  const PatternSplitter splitter(patterns.at(GetParam()));
  const NextWord next = find_pre_tokenizer(GetParam());
  const std::vector<std::string> parts = {"a",  "Z", " ",  "  ", "\n", "\r",     "\t",     "'", "s", "ll", "'RE",   "7",
                                          "42", ".", "!?", "é",  "中", "\u00a0", "\u0301", "½", "🌵", "_",  "\u2028"};
  const Random random(7, Purpose::kTest);
  for (uint64_t round = 0, at = 0; round < 3000; round++) {
    std::string text;
    for (uint64_t n = random.below(12, at++); n > 0; n--) text += parts[random.below(parts.size(), at++)];
    std::vector<std::string_view> words;
    for (const char *p = text.data(), *end = p + text.size(), *q; p < end; p = q)
      q = next(p, end), words.emplace_back(p, size_t(q - p));
    ASSERT_EQ(words, splitter.split(text)) << nlohmann::json(text).dump();
  }
}

INSTANTIATE_TEST_SUITE_P(Tokenizer, PreTokenizers, testing::Values("gpt-2", "smollm", "qwen2", "llama-bpe"));

TEST(Tokenizer, Gpt2Vectors) {
  if (!test_data()) GTEST_SKIP() << "SEDUM_TEST_DATA is not set";
  const fs::path data = test_data();
  const Tokenizer tokenizer(
      read_vocab_and_merges(data / "tokenizers/gpt2-vocab.json", data / "tokenizers/gpt2-merges.txt"));
  EXPECT_THAT(golden_id_mismatches(tokenizer, "gpt2", kSource, test_data()), IsEmpty());
  const std::string inputs = read_file(data / "vocab/ggml-vocab-gpt-2.gguf.inp"), separator = "\n__ggml_vocab_test__\n";
  std::istringstream outputs(read_file(data / "vocab/ggml-vocab-gpt-2.gguf.out"));
  size_t vectors = 0;
  for (size_t at = 0; at < inputs.size(); vectors++) {
    const size_t end = std::min(inputs.find(separator, at), inputs.size());
    std::string line;
    std::getline(outputs, line);
    std::istringstream numbers(line);
    std::vector<int32_t> expected{std::istream_iterator<int32_t>(numbers), {}};
    EXPECT_EQ(tokenizer.encode(inputs.substr(at, end - at)), expected) << inputs.substr(at, end - at);
    at = end + separator.size();
  }
  EXPECT_EQ(vectors, 46u);
}

class RealModels : public testing::TestWithParam<const char*> {};
TEST_P(RealModels, GiveTheIdsOfHuggingFace) {
  const char* folder = std::getenv("SEDUM_TEST_MODELS");
  if (!folder) GTEST_SKIP() << "SEDUM_TEST_MODELS is not set";
  const Tokenizer tokenizer(gguf_tokenizer_for_test(fs::path(folder) / (std::string(GetParam()) + ".gguf")));
  EXPECT_THAT(golden_id_mismatches(tokenizer, GetParam(), kSource, test_data()), IsEmpty());
  EXPECT_TRUE(tokenizer.ends_generation(*tokenizer.id_of("<|im_end|>")));
  EXPECT_TRUE(tokenizer.ends_generation(*tokenizer.id_of("<|endoftext|>")));
}
INSTANTIATE_TEST_SUITE_P(Tokenizer, RealModels, testing::Values("smollm2", "qwen"));

std::string random_bytes(uint64_t seed, size_t size) {
  const Random random(seed, Purpose::kTest);
  std::string bytes(size, '\0');
  for (size_t i = 0; i < size; i++) bytes[i] = char(random.below(i % 3 ? 256 : 128, i));
  return bytes;
}

TEST(Tokenizer, AnyBytesComeBack) {
  for (const char* pre : {"gpt-2", "smollm", "llama-bpe"}) {
    const Tokenizer tokenizer(tiny_spec(pre));
    for (uint64_t seed = 0; seed < 50; seed++) {
      const std::string bytes = random_bytes(seed, seed * 7);
      EXPECT_EQ(tokenizer.decode(tokenizer.encode(bytes)), bytes);
    }
    for (const std::string text : {"\xff", "a\xc3", "\xed\xa0\x80", "\xf0\x9f\x8c", "\xc0\xaf x", "\xf4\x90\x80\x80"}) {
      EXPECT_EQ(tokenizer.decode(tokenizer.encode(text)), text);
    }
  }
}

TEST(Tokenizer, LongWordsTakeNoLongTime) {
  const Tokenizer tokenizer(tiny_spec());
  std::string word;
  const Random random(1, Purpose::kTest);
  for (uint64_t i = 0; i < 1'000'000; i++) word += char('a' + random.below(26, i));
  const auto start = std::chrono::steady_clock::now();
  const std::vector<int32_t> ids = tokenizer.encode(word);
  EXPECT_EQ(tokenizer.decode(ids), word);
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(20));  // quadratic: hours
  // The heap and the scan agree: cut so that no merge crosses, both give the same.
  const std::string piece = word.substr(0, 40);
  std::string spaced;
  for (int i = 0; i < 100; i++) spaced += " " + piece;
  const std::vector<int32_t> one = tokenizer.encode(" " + piece), many = tokenizer.encode(spaced);
  EXPECT_EQ(many.size(), 100 * one.size());
}

TEST(Tokenizer, SpecialTokensOnlyWhereAskedFor) {
  TokenizerSpec spec = tiny_spec();
  spec.bos = 0, spec.eos = 2, spec.add_bos = spec.add_eos = true;
  const Tokenizer tokenizer(spec);
  EXPECT_THAT(tokenizer.encode("<|im_start|>"), ElementsAre(1));
  EXPECT_THAT(tokenizer.encode("", {.add_special = true}), ElementsAre(0, 2));
  const std::vector<int32_t> as_text = tokenizer.encode("<|im_start|>", {.parse_special = false});
  EXPECT_THAT(as_text, testing::Not(testing::Contains(1)));
  EXPECT_EQ(tokenizer.decode(as_text), "<|im_start|>");
  EXPECT_EQ(tokenizer.decode(std::vector<int32_t>{0, 1}, true), "");
  EXPECT_EQ(tokenizer.token_bytes(1), "<|im_start|>");
  EXPECT_EQ(tokenizer.id_of("<|im_start|>"), 1);
  EXPECT_TRUE(tokenizer.is_special(1));
  EXPECT_TRUE(tokenizer.ends_generation(2));
  EXPECT_FALSE(tokenizer.ends_generation(1));
  EXPECT_EQ(tokenizer.id_of("no such token at all"), std::nullopt);
}

TEST(Tokenizer, AddedTokensTakeWhitespaceAndWordsAsAsked) {
  TokenizerSpec spec = tiny_spec();
  const auto add = [&](const char* text, auto change) {
    AddedToken token;
    token.text = text, token.id = int32_t(spec.tokens.size());
    change(token);
    spec.tokens.push_back(text);
    spec.kinds.push_back(TokenKind::kUserDefined);
    spec.added.push_back(token);
    return token.id;
  };
  const int32_t left = add("<l>", [](AddedToken&t) { t.lstrip = true; }),
                right = add("<r>", [](AddedToken&t) { t.rstrip = true; });
  const int32_t word = add("cat", [](AddedToken&t) { t.single_word = true; }), longer = add("<r>>", [](AddedToken&) {});
  const Tokenizer tokenizer(spec);
  EXPECT_THAT(tokenizer.encode(" \n<l><r> \t<l>"), ElementsAre(left, right, left));
  EXPECT_THAT(tokenizer.encode("<r>><r>"), ElementsAre(longer, right));
  EXPECT_THAT(tokenizer.encode("cat"), ElementsAre(word));
  EXPECT_THAT(tokenizer.encode("cats"), testing::Not(testing::Contains(word)));
  EXPECT_THAT(tokenizer.encode("écat"), testing::Not(testing::Contains(word)));
  EXPECT_THAT(tokenizer.encode("-cat-"), testing::Contains(word));
}

TEST(Tokenizer, HashFollowsWhatChangesIds) {
  const std::string hash = Tokenizer(tiny_spec()).hash();
  EXPECT_EQ(hash.size(), 64u);
  EXPECT_EQ(Tokenizer(tiny_spec()).hash(), hash);
  TokenizerSpec other = tiny_spec();
  other.chat_template = "{{ messages }}";
  EXPECT_EQ(Tokenizer(other).hash(), hash);
  std::swap(other.merges[0], other.merges[1]);
  EXPECT_NE(Tokenizer(other).hash(), hash);
  EXPECT_NE(Tokenizer(tiny_spec("smollm")).hash(), hash);
}

TEST(Tokenizer, ManyThreads) {
  const Tokenizer tokenizer(tiny_spec());
  const std::string text = read_file(kSource / "tests/golden/text/jinja.json");
  const std::vector<int32_t> expected = tokenizer.encode(text);
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; i++)
    threads.emplace_back([&] {
      for (int j = 0; j < 20; j++) EXPECT_EQ(tokenizer.encode(text), expected);
    });
  for (std::thread& thread : threads) thread.join();
}

TEST(Tokenizer, RefusesWhatContradictsItself) {
  TokenizerSpec spec = tiny_spec();
  EXPECT_THROW(Tokenizer{TokenizerSpec{}}, Error);
  spec.merges.push_back("zzzz qqqq");
  EXPECT_THROW(Tokenizer{spec}, Error);
  spec = tiny_spec();
  spec.bos = 1 << 20;
  EXPECT_THROW(Tokenizer{spec}, Error);
  spec = tiny_spec();
  spec.pre_tokenizer = "qwen3";
  try {
    apply_known_defaults(spec);
    FAIL();
  } catch (const Error& e) {
    EXPECT_THAT(e.what(), HasSubstr("\"qwen2\""));
  }
  EXPECT_THROW(Tokenizer(tiny_spec()).decode(std::vector<int32_t>{-1}), Error);
  EXPECT_THROW(Tokenizer(tiny_spec()).decode(std::vector<int32_t>{5000}), Error);
}

TEST(Patterns, AreLimitedAndChecked) {
  EXPECT_THROW(PatternSplitter(std::vector<std::string>{"(unclosed"}), Error);
  const PatternSplitter slow(std::vector<std::string>{R"((a+)+\d)"});
  EXPECT_THROW(slow.split(std::string(200, 'a')), Error);
  const PatternSplitter digits(std::vector<std::string>{R"(\d)"});
  EXPECT_THAT(digits.split("a1\xff\xfe"
                           "2"),
              ElementsAre("a", "1", "\xff\xfe", "2"));
  EXPECT_THAT(digits.split(""), IsEmpty());
  const PatternSplitter nothing(std::vector<std::string>{"x*"});
  EXPECT_THAT(nothing.split("éxxé"), ElementsAre("é", "xx", "é"));
}

TEST(TokenizerJson, WrittenAndReadAgainIsTheSame) {
  TokenizerSpec spec = tiny_spec("qwen2");
  spec.bos = 0, spec.add_bos = true;
  const TokenizerSpec again = parse_tokenizer_json(write_tokenizer_json(spec));
  EXPECT_EQ(again.pre_tokenizer, "qwen2");
  EXPECT_TRUE(again.nfc);
  EXPECT_EQ(Tokenizer(again).hash(), Tokenizer(spec).hash());
}

TEST(TokenizerJson, RefusesWhatItDoesNotKnow) {
  const auto error = [](const std::string& json) -> std::string {
    try {
      Tokenizer(parse_tokenizer_json(json));
    } catch (const Error& e) {
      return e.what();
    }
    return "";
  };
  const std::string model = R"("model": {"type": "BPE", "vocab": {"a": 0}, "merges": []})",
                    level = R"("pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false})";
  EXPECT_EQ(error("{" + model + "," + level + "}"), "");
  EXPECT_THAT(error("{"), HasSubstr("damaged"));
  EXPECT_THAT(error("[]"), HasSubstr("no JSON object"));
  EXPECT_THAT(error("{}"), HasSubstr("no model"));
  EXPECT_THAT(error(R"({"model": {"type": "Unigram"}})"), HasSubstr("vocab"));
  EXPECT_THAT(error(R"({"normalizer": {"type": "Rot13"},)" + model + "," + level + "}"), HasSubstr("Rot13"));
  EXPECT_THAT(error(R"({"pre_tokenizer": {"type": "Syllables"},)" + model + "}"), HasSubstr("Syllables"));
  EXPECT_THAT(error(R"({"model": {"type": "BPE", "vocab": {"a": 99999999}, "merges": []},)" + level + "}"),
              HasSubstr("99999999"));
  EXPECT_THAT(error(R"({"model": {"type": "BPE", "vocab": {"a": "b"}, "merges": []},)" + level + "}"),
              HasSubstr("no integer"));
  EXPECT_THAT(error(R"({"model": {"type": "BPE", "vocab": {"a": 0}, "merges": ["a b"]},)" + level + "}"),
              HasSubstr("\"b\""));
}

TEST(TokenizerJson, ReadsNamesFromTheConfig) {
  const std::string json = read_file(kSource / "tests/golden/text/tiny_tokenizer.json");
  const TokenizerSpec spec = parse_tokenizer_json(
      json,
      R"({"bos_token": {"content": "<|endoftext|>"}, "eos_token": "<|im_end|>", "add_bos_token": true, "chat_template": [{"name": "default", "template": "T"}]})");
  EXPECT_EQ(spec.bos, 0);
  EXPECT_EQ(spec.eos, 2);
  EXPECT_TRUE(spec.add_bos);
  EXPECT_EQ(spec.chat_template, "T");
}

TEST(StreamDecoder, NeverSplitsACharacter) {
  const Tokenizer tokenizer(tiny_spec());
  const std::string text = "多肉🌵é, \U0001f468\u200d\U0001f469 end";
  StreamDecoder stream(tokenizer);
  std::string all;
  for (int32_t id : tokenizer.encode(text)) {
    const std::string part = stream.push(id);
    EXPECT_EQ(unicode::replace_invalid(part), part);
    all += part;
  }
  EXPECT_EQ(all + stream.finish(), text);
}

TEST(StreamDecoder, ReplacesWhatIsNoText) {
  const Tokenizer tokenizer(tiny_spec());
  const std::string bytes =
      "a\xf0\x9f\x8c"
      "b\xff\xe4\xb8";
  StreamDecoder stream(tokenizer);
  std::string all;
  for (int32_t id : tokenizer.encode(bytes)) all += stream.push(id);
  EXPECT_EQ(all + stream.finish(), "a\uFFFDb\uFFFD\uFFFD");
  StreamDecoder special(tokenizer, false);
  EXPECT_EQ(special.push(1), "<|im_start|>");
}

}  // namespace
}  // namespace sedum
