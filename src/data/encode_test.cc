#include "data/encode.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"
#include "text/tokenizer_json.h"

namespace sedum::data {
namespace {

using Json = nlohmann::ordered_json;
using testing::HasSubstr;

const std::string kGolden = std::string(SEDUM_SOURCE_DIR) + "/tests/golden/data/";

TokenizerSpec tiny_spec() {
  TokenizerSpec spec = read_tokenizer_json(kGolden + "tokenizer.json");
  spec.bos = 0, spec.eos = 2;  // <|endoftext|>, <|im_end|>
  return spec;
}

const Json& golden() {
  static const Json json = parse_json<Json>(read_file(kGolden + "masks.json"));
  return json;
}

Conversation conversation(const Json& messages) {
  return to_conversation(Json{{"messages", messages}}, {"mine.jsonl", 17});
}

Conversation question_answer(const std::string& question, const std::string& answer) {
  return {{{"user", question}, {"assistant", answer}}, "", {"mine.jsonl", 17}};
}

template <class F>
std::string error_of(F&& work) {
  try {
    work();
  } catch (const Error& e) {
    return e.what();
  }
  return "";
}

std::vector<int> mask_of(const Sample& sample) {
  std::vector<int> mask;
  for (size_t i = 0; i < sample.ids.size(); ++i) {
    EXPECT_TRUE(sample.labels[i] == kIgnored || sample.labels[i] == sample.ids[i]);
    mask.push_back(sample.labels[i] != kIgnored);
  }
  return mask;
}

class EncodeGolden : public testing::TestWithParam<const char*> {};

TEST_P(EncodeGolden, MasksAreThoseOfTransformers) {
  const Tokenizer tokenizer(tiny_spec());
  const ChatTemplate chat(golden()[GetParam()].get<std::string>());
  SampleEncoder encoder(tokenizer, &chat);
  int64_t labels = 0;
  for (const Json& test : golden()["cases"]) {
    const Sample sample = encoder.encode(conversation(test["messages"]));
    EXPECT_EQ(sample.ids, test["ids"].get<std::vector<int32_t>>());
    EXPECT_EQ(mask_of(sample), test["mask"].get<std::vector<int>>()) << show_mask(tokenizer, sample, false);
    for (const int bit : mask_of(sample)) labels += bit;
  }
  EXPECT_EQ(encoder.statistics().samples, int64_t(golden()["cases"].size()));
  EXPECT_EQ(encoder.statistics().label_tokens, labels);
  EXPECT_EQ(encoder.statistics().truncated, 0);
}

INSTANTIATE_TEST_SUITE_P(Templates, EncodeGolden, testing::Values("generation_template", "plain_template"));

// With normalisation the tokens stand for other bytes than the rendering has.
TEST(Encode, MasksThroughNormalisation) {
  TokenizerSpec spec = tiny_spec();
  spec.nfc = true;
  const Tokenizer tokenizer(spec);
  const ChatTemplate chat(golden()["plain_template"].get<std::string>());
  const Sample sample = SampleEncoder(tokenizer, &chat).encode(question_answer("cafe\u0301", "e\u0301!"));
  EXPECT_EQ(show_mask(tokenizer, sample, false),
            "<|im_start|>user\ncafé<|im_end|>\n<|im_start|>assistant\n⟦é!<|im_end|>⟧\n");
  // A border inside a combining sequence: e of the prompt and the accent of the answer become one character.
  const std::string text = "e\u0301";
  const std::vector<Span> spans = {{1, 3}};
  EXPECT_THAT(error_of([&] { tokens_in_spans(tokenizer, tokenizer.encode(text), text, spans); }),
              HasSubstr("across the borders"));
}

TEST(Encode, SpansMapToEveryTokenTheyTouch) {
  const Tokenizer tokenizer(tiny_spec());
  const std::string text = "Water a succulent";
  const auto ids = tokenizer.encode(text);
  std::vector<size_t> begins;
  size_t at = 0;
  for (const int32_t id : ids) begins.push_back(at), at += tokenizer.token_bytes(id).size();
  begins.push_back(at);
  ASSERT_EQ(at, text.size());
  for (size_t begin = 0; begin <= text.size(); ++begin)
    for (size_t end = begin; end <= text.size(); ++end) {
      const std::vector<Span> spans = {{begin, end}};
      const auto inside = tokens_in_spans(tokenizer, ids, text, spans);
      for (size_t i = 0; i < ids.size(); ++i)
        EXPECT_EQ(inside[i], std::max(begins[i], begin) < std::min(begins[i + 1], end))
            << begin << " " << end << " " << i;
    }
}

TEST(Encode, TrainOnPrompt) {
  const Tokenizer tokenizer(tiny_spec());
  const ChatTemplate chat(golden()["plain_template"].get<std::string>());
  const Sample sample = SampleEncoder(tokenizer, &chat, {.train_on_prompt = true}).encode(question_answer("Q", "A"));
  EXPECT_EQ(sample.labels, sample.ids);
  EXPECT_EQ(sample.ids, SampleEncoder(tokenizer, &chat).encode(question_answer("Q", "A")).ids);
}

TEST(Encode, CutsAndCounts) {
  const Tokenizer tokenizer(tiny_spec());
  const ChatTemplate chat(golden()["plain_template"].get<std::string>());
  const auto row = question_answer("How often?", "When the soil is dry all the way through.");
  const Sample whole = SampleEncoder(tokenizer, &chat).encode(row);
  const int length = int(whole.ids.size());
  SampleEncoder exact(tokenizer, &chat, {.cutoff_length = length}),
      cut(tokenizer, &chat, {.cutoff_length = length - 5});
  EXPECT_EQ(exact.encode(row).ids, whole.ids);
  EXPECT_EQ(exact.statistics().truncated, 0);
  const Sample shorter = cut.encode(row);
  EXPECT_EQ(shorter.ids, std::vector<int32_t>(whole.ids.begin(), whole.ids.end() - 5));
  EXPECT_EQ(shorter.labels, std::vector<int32_t>(whole.labels.begin(), whole.labels.end() - 5));
  EXPECT_EQ(cut.statistics().truncated, 1);
  EXPECT_EQ(cut.statistics().tokens, length - 5);
  EXPECT_EQ(cut.statistics().longest, length);
}

TEST(Encode, NothingToLearn) {
  const Tokenizer tokenizer(tiny_spec());
  const ChatTemplate chat(golden()["plain_template"].get<std::string>());
  const auto row = question_answer("How often?", "When the soil is dry.");
  const Sample whole = SampleEncoder(tokenizer, &chat).encode(row);
  const auto first = std::find_if(whole.labels.begin(), whole.labels.end(), [](int32_t l) { return l != kIgnored; }) -
                     whole.labels.begin();
  SampleEncoder enough(tokenizer, &chat, {.cutoff_length = int(first) + 1}),
      short_of(tokenizer, &chat, {.cutoff_length = int(first)});
  EXPECT_NO_THROW(enough.encode(row));
  EXPECT_THAT(error_of([&] { short_of.encode(row); }),
              HasSubstr("mine.jsonl:17: the answer begins beyond the first " + std::to_string(first) + " of " +
                        std::to_string(whole.ids.size()) + " tokens"));
  const ChatTemplate mute(
      "{% for m in messages %}{% if m.role == 'user' %}{{ m.content }}{% generation %}{% endgeneration %}{% endif %}{% "
      "endfor %}");
  SampleEncoder nothing(tokenizer, &mute);
  EXPECT_THAT(error_of([&] { nothing.encode(row); }), HasSubstr("mine.jsonl:17: the row has nothing to learn"));
}

TEST(Encode, TwoBosAreFound) {
  const Tokenizer tokenizer(tiny_spec());
  const ChatTemplate chat("{{ bos_token + bos_token }}{% for m in messages %}{{ m.content }}{% endfor %}");
  SampleEncoder encoder(tokenizer, &chat, {.train_on_prompt = true});
  EXPECT_THAT(error_of([&] { encoder.encode(question_answer("Q", "A")); }),
              HasSubstr("mine.jsonl:17: the sample begins with two BOS tokens (<|endoftext|>)"));
  TokenizerSpec spec = tiny_spec();
  spec.add_bos = true;
  const Tokenizer with_bos(spec);
  SampleEncoder text_encoder(with_bos, nullptr);
  EXPECT_EQ(text_encoder.encode({{}, "a", {"x", 1}}).ids.front(), 0);
  EXPECT_THAT(error_of([&] { text_encoder.encode({{}, "<|endoftext|>a", {"x", 1}}); }), HasSubstr("two BOS"));
}

TEST(Encode, PlainTexts) {
  const Tokenizer tokenizer(tiny_spec());
  SampleEncoder encoder(tokenizer, nullptr);
  const Sample sample = encoder.encode({{}, "Water a succulent", {"x", 1}});
  EXPECT_EQ(sample.ids.back(), 2);
  EXPECT_EQ(sample.labels, sample.ids);
  EXPECT_THAT(error_of([&] { encoder.encode(question_answer("Q", "A")); }),
              HasSubstr("mine.jsonl:17: the model has no chat template"));
}

TEST(Encode, DocumentsInBlocks) {
  const Tokenizer tokenizer(tiny_spec());
  const std::vector<std::string> texts = {"Water a succulent when its soil is dry.", "", "多肉植物"};
  std::vector<int32_t> stream;
  for (const std::string& text : texts) {
    const auto ids = tokenizer.encode(text);
    stream.insert(stream.end(), ids.begin(), ids.end());
    stream.push_back(2);
  }
  for (const int length : {2, 3, 7, 1000}) {
    const auto blocks = encode_documents(tokenizer, texts, length);
    std::vector<int32_t> joined;
    for (size_t b = 0; b < blocks.size(); ++b) {
      EXPECT_EQ(blocks[b].labels, blocks[b].ids);
      if (b + 1 < blocks.size()) {
        EXPECT_EQ(blocks[b].ids.size(), size_t(length));
      }
      joined.insert(joined.end(), blocks[b].ids.begin(), blocks[b].ids.end());
    }
    const size_t lost = stream.size() % size_t(length) == 1 ? 1 : 0;  // one token alone predicts nothing
    EXPECT_EQ(joined, std::vector<int32_t>(stream.begin(), stream.end() - ptrdiff_t(lost)));
  }
  TokenizerSpec spec = tiny_spec();
  spec.eos = -1;
  EXPECT_THROW(encode_documents(Tokenizer(spec), texts, 8), Error);
  EXPECT_THROW(encode_documents(tokenizer, texts, 1), ApiError);
}

TEST(Encode, ShowsTheMask) {
  const Tokenizer tokenizer(tiny_spec());
  const Sample sample = {tokenizer.encode("ab"), {kIgnored, 1}};
  ASSERT_EQ(sample.ids.size(), 2u);
  EXPECT_EQ(show_mask(tokenizer, sample, false), "a⟦b⟧");
  EXPECT_EQ(show_mask(tokenizer, sample, true), "a\033[32mb\033[0m");
}

}  // namespace
}  // namespace sedum::data
