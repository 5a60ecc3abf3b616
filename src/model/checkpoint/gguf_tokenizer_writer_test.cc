#include <algorithm>
#include <cstdlib>
#include <numeric>

#include <gmock/gmock.h>

#include "base/json.h"
#include "model/checkpoint/gguf_metadata.h"
#include "model/checkpoint/gguf_tokenizer.h"
#include "model/model_testing.h"
#include "text/golden_tokenizers_testing.h"
#include "text/sentencepiece.h"
#include "text/tokenizer_json.h"

namespace sedum {
namespace {

using nlohmann::json;
using ::testing::AllOf;
using testing::golden;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::ScratchFolder;

struct Written {
  explicit Written(const Tokenizer& tokenizer, int64_t rows = 0, const std::string& name = "") {
    GgufWriter out(scratch / "t.gguf");
    if (!name.empty()) out.set("general.name", name);
    write_gguf_tokenizer(out, tokenizer, rows, "model");
    out.finish();
    file.emplace(scratch / "t.gguf");
    again.emplace(read_gguf_tokenizer(*file));
  }
  ScratchFolder scratch;
  std::optional<GgufFile> file;
  std::optional<Tokenizer> again;
};

std::string refusal(const TokenizerSpec& spec) {
  return testing::problem_of([&] { Written written{Tokenizer(spec)}; });
}

// SentencePiece's kind of tokenizer.json, its merges by Hugging Face's trainer; without the tokens that claim whitespace.
json own_llama() {
  json file = parse_json(read_file(golden("text/tokenizers/llama.json")));
  json& added = file["added_tokens"];
  added.erase(added.begin() + 3, added.end());
  return file;
}
TokenizerSpec parsed(const json& file) { return parse_tokenizer_json(file.dump()); }

// The same pieces with scores, as a tokenizer.model would have them, and what the converter makes of that.
TokenizerSpec scored() {
  TokenizerSpec spec = sentencepiece_of_components(parsed(own_llama()), "test");
  spec.add_bos = true, spec.bos = 1, spec.eos = 2;
  return spec;
}
json converted() { return parse_json(write_tokenizer_json(Tokenizer(scored()).spec())); }

void expect_same_ids(const Tokenizer& a, const Tokenizer& b, bool parse_special = true) {
  for (const std::string text : golden_tokenizers().at("strings"))
    ASSERT_EQ(a.encode(text, {.add_special = true, .parse_special = parse_special}),
              b.encode(text, {.add_special = true, .parse_special = parse_special}))
        << text;
}

TEST(GgufTokenizerWriter, ScoresAndKindsTravel) {
  const Tokenizer tokenizer(scored());
  const Written written(tokenizer);
  EXPECT_EQ(written.file->get<std::string>("tokenizer.ggml.model"), "llama");
  EXPECT_TRUE(written.file->get<bool>("tokenizer.ggml.add_space_prefix"));
  EXPECT_TRUE(written.file->get<bool>("tokenizer.ggml.add_bos_token"));
  EXPECT_EQ(written.again->spec().tokens, tokenizer.spec().tokens);
  EXPECT_EQ(written.again->spec().scores, tokenizer.spec().scores);
  EXPECT_EQ(written.again->spec().kinds, tokenizer.spec().kinds);
  EXPECT_EQ(written.again->spec().kinds[0], TokenKind::kUnknown);
  EXPECT_EQ(written.again->spec().kinds[13], TokenKind::kByte);
  expect_same_ids(*written.again, tokenizer, false);
  const Written twice(*written.again);
  EXPECT_EQ(twice.again->hash(), written.again->hash());
}

// The converter's merges give the scores back that they were made of.
TEST(GgufTokenizerWriter, ScoresFollowFromMerges) {
  const Tokenizer tokenizer(parsed(converted()));
  ASSERT_EQ(tokenizer.spec().model, "components");
  const Written written(tokenizer);
  EXPECT_EQ(written.again->spec().scores, scored().scores);
  EXPECT_EQ(written.again->spec().bos, 1);
  EXPECT_TRUE(written.again->spec().add_bos);
  expect_same_ids(*written.again, tokenizer);
}

TEST(GgufTokenizerWriter, UnusedTokensFillTheRows) {
  const Written written(Tokenizer(scored()), 1000);
  EXPECT_EQ(written.file->get<std::vector<float>>("tokenizer.ggml.scores").size(), 1000u);
  const TokenizerSpec spec = without_padding(written.again->spec());
  EXPECT_EQ(spec.tokens, scored().tokens);
  EXPECT_EQ(spec.scores, scored().scores);
}

// As Gemma has them: no space before the text, runs of spaces and line breaks that are pieces of their own.
TEST(GgufTokenizerWriter, GemmasPieces) {
  TokenizerSpec spec = scored();
  spec.sentencepiece.add_dummy_prefix = false;
  for (const char* text : {"▁▁▁", "\n\n", "<start_of_turn>"}) {
    spec.tokens.emplace_back(text), spec.scores.push_back(0);
    spec.kinds.push_back(*text == '<' ? TokenKind::kControl : TokenKind::kUserDefined);
  }
  const Tokenizer tokenizer(spec);
  const Written written(tokenizer);
  EXPECT_FALSE(written.file->get<bool>("tokenizer.ggml.add_space_prefix"));
  EXPECT_EQ(written.again->spec().tokens[spec.tokens.size() - 3], "   ");
  for (const char* text : {"a   b", "   ", "      x\n\n\ny", "<start_of_turn>user\n\n   Hi", " a"})
    EXPECT_EQ(written.again->encode(text), tokenizer.encode(text)) << text;
}

TEST(GgufTokenizerWriter, GemmasParts) {
  json file = converted();
  file["normalizer"] = {{"type", "Replace"}, {"pattern", {{"String", " "}}}, {"content", "▁"}};
  file["pre_tokenizer"] = {
      {"type", "Split"}, {"pattern", {{"String", " "}}}, {"behavior", "MergedWithPrevious"}, {"invert", false}};
  file["decoder"]["decoders"].erase(3);
  const Tokenizer tokenizer(parsed(file));
  const Written written(tokenizer);
  EXPECT_FALSE(written.file->get<bool>("tokenizer.ggml.add_space_prefix"));
  expect_same_ids(*written.again, tokenizer);
}

// llama.cpp knows Phi-3's tokens, which take the whitespace behind them, by the model's name.
TEST(GgufTokenizerWriter, Phi3sTokensWantItsName) {
  json file = converted();
  int64_t id = int64_t(file["model"]["vocab"].size());
  for (const std::string text : {"<|endoftext|>", "<|user|>", "<|end|>"})
    file["added_tokens"].push_back(
        {{"id", id++}, {"content", text}, {"rstrip", text != "<|endoftext|>"}, {"special", true}});
  for (json& token : file["added_tokens"])
    if (token["content"] == "</s>") token["rstrip"] = true, token["special"] = false;
  const Tokenizer tokenizer(parsed(file));
  ASSERT_TRUE(needs_phi3_name(tokenizer));
  EXPECT_EQ(gguf_model_name("mine", true), "mine-phi3");
  EXPECT_EQ(gguf_model_name("Phi-3-mini", true), "Phi-3-mini");
  const Written written(tokenizer, 0, gguf_model_name("mine", true)), nameless(tokenizer);
  const std::string text = "<|user|>\n Hi <|end|>\n\n<|endoftext|>\n a</s> b<s> c";
  EXPECT_EQ(written.again->encode(text), tokenizer.encode(text));
  EXPECT_NE(nameless.again->encode(text), tokenizer.encode(text));
  for (json& token : file["added_tokens"])
    if (token["content"] == "<|user|>") token["rstrip"] = false;
  EXPECT_THAT(refusal(parsed(file)), HasSubstr("around an added token"));
}

TEST(GgufTokenizerWriter, WhatGgufCannotSayIsRefused) {
  json file = converted();
  file["normalizer"]["normalizers"].push_back(json::object({{"type", "NFKC"}}));
  EXPECT_THAT(refusal(parsed(file)), HasSubstr("no option for the normalizer NFKC"));
  file = converted();
  file["normalizer"] = nullptr;
  file["pre_tokenizer"] = {{"type", "Metaspace"}, {"replacement", "▁"}, {"prepend_scheme", "first"}, {"split", false}};
  EXPECT_THAT(refusal(parsed(file)), HasSubstr("its way with spaces has no key"));
  file["pre_tokenizer"] = {{"type", "WhitespaceSplit"}};
  EXPECT_THAT(refusal(parsed(file)), HasSubstr("no option for the pre-tokenizer WhitespaceSplit"));
  for (const char* claim : {"lstrip", "rstrip", "single_word"}) {
    file = converted();
    file["added_tokens"][1][claim] = true;
    EXPECT_THAT(refusal(parsed(file)), HasSubstr("what stands around an added token has no key")) << claim;
  }
  TokenizerSpec spec = scored();
  spec.sentencepiece.remove_extra_spaces = true;
  EXPECT_THAT(refusal(spec), HasSubstr("llama.cpp knows no removing of spaces"));
  spec = scored(), spec.sentencepiece.byte_fallback = false;
  EXPECT_THAT(refusal(spec), HasSubstr("vocabulary without all bytes"));
  EXPECT_THAT(refusal(read_tokenizer_json(golden("text/tokenizers/wordpiece.json"))), HasSubstr("way of cutting"));
}

// In "and" the merges make an first, and no merge leads on from there; with scores an and d are neighbours that make a piece.
TEST(GgufTokenizerWriter, MergesThatNoScoresOrderAreRefused) {
  json file = converted();
  file["model"]["merges"] = {"a n", "n d", "a nd"};
  EXPECT_THAT(refusal(parsed(file)), HasSubstr("no scores give"));
}

class SharedGgufTokenizers : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!std::getenv("SEDUM_TEST_DATA")) GTEST_SKIP() << "SEDUM_TEST_DATA is not set";
    data = std::getenv("SEDUM_TEST_DATA");
  }
  void expect_travels(const TokenizerSpec& spec, const char* name) {
    const Tokenizer tokenizer(spec);
    const Written written(tokenizer);
    EXPECT_EQ(written.again->spec().tokens, tokenizer.spec().tokens);
    EXPECT_EQ(written.again->spec().scores, tokenizer.spec().scores);
    EXPECT_EQ(written.again->spec().kinds, tokenizer.spec().kinds);
    EXPECT_EQ(written.again->spec().sentencepiece.charsmap, tokenizer.spec().sentencepiece.charsmap);
    EXPECT_THAT(golden_tokenizer_mismatches(*written.again, name, false, data.c_str()), IsEmpty());
  }
  std::filesystem::path data;
};

TEST_F(SharedGgufTokenizers, ModelFilesTravel) {
  expect_travels(read_sentencepiece(data / "tokenizers/mistral-v1-tokenizer.model"), "mistral.model");
  expect_travels(read_sentencepiece(data / "tokenizers/t5-spiece.model"), "t5.model");
}

TEST_F(SharedGgufTokenizers, GgufTravelsToTheBit) {
  const GgufFile file(data / "vocab/ggml-vocab-llama-spm.gguf");
  const Tokenizer tokenizer(read_gguf_tokenizer(file));
  expect_travels(tokenizer.spec(), "llama.gguf");
  const Written written(tokenizer);
  EXPECT_EQ(written.again->hash(), tokenizer.hash());
  const auto same = [&]<class T>(const char* key, T) { EXPECT_EQ(written.file->get<T>(key), file.get<T>(key)) << key; };
  same("tokenizer.ggml.scores", std::vector<float>{});
  same("tokenizer.ggml.token_type", std::vector<int32_t>{});
  same("tokenizer.ggml.tokens", std::vector<std::string_view>{});
}

TEST_F(SharedGgufTokenizers, MistralsMergesGiveItsOrderBack) {
  const Tokenizer model(read_sentencepiece(data / "tokenizers/mistral-v1-tokenizer.model"));
  const Written written(Tokenizer(parse_tokenizer_json(write_tokenizer_json(model.spec()))));
  EXPECT_THAT(golden_tokenizer_mismatches(*written.again, "mistral.model", false, data.c_str()), IsEmpty());
  const auto &scores = model.spec().scores, &again = written.again->spec().scores;
  std::vector<size_t> ids(28705 - 259);  // the pieces of more than one character
  std::iota(ids.begin(), ids.end(), 259u);
  std::stable_sort(ids.begin(), ids.end(), [&](size_t a, size_t b) { return scores[a] > scores[b]; });
  for (size_t i = 1; i < ids.size(); ++i) ASSERT_LT(again[ids[i]], again[ids[i - 1]]) << ids[i];
}

TEST_F(SharedGgufTokenizers, FoldersMayHoldATokenizerModelAlone) {
  const ScratchFolder scratch;
  std::filesystem::copy(testing::tiny_model(), scratch / "m");
  std::filesystem::remove(scratch / "m/tokenizer.json"), std::filesystem::remove(scratch / "m/tokenizer_config.json");
  std::filesystem::copy(data / "tokenizers/mistral-v1-tokenizer.model", scratch / "m/tokenizer.model");
  json config{{"chat_template", "{{ 1 }}"}, {"added_tokens_decoder", {{"2", {{"content", "</s>"}}}}}};
  write_file(scratch / "m/tokenizer_config.json", config.dump());
  const Checkpoint model = Checkpoint::open(scratch / "m");
  EXPECT_EQ(model.tokenizer()->encode("Hello", {.add_special = true}), (std::vector<int32_t>{1, 22557}));
  EXPECT_EQ(model.tokenizer_spec().chat_template, "{{ 1 }}");
  config["added_tokens_decoder"]["32000"] = {{"content", "<|user|>"}};
  write_file(scratch / "m/tokenizer_config.json", config.dump());
  EXPECT_THAT(testing::problem_of([&] { Checkpoint::open(scratch / "m").tokenizer(); }),
              AllOf(HasSubstr("token 32000"), HasSubstr("not in tokenizer.model")));
}

}  // namespace
}  // namespace sedum
