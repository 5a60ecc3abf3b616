#pragma once
// From conversations and texts to token ids with a loss mask.
//
//   SampleEncoder encoder(tokenizer, &chat_template, {.cutoff_length = 1024});
//   for (const Conversation& c : conversations) samples.push_back(encoder.encode(c));
//   encoder.statistics().truncated;
//
// A conversation is rendered whole by the chat template and encoded whole, so that the ids are those of serving; then
// the bytes that the assistant speaks are mapped onto tokens. A token that only partly lies in them (a line break of
// the prompt merged with the answer's first) belongs to the assistant, as in transformers' assistant masks; so does the
// token that ends the turn, and nothing after it.

#include <cstdint>
#include <ctime>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "data/conversation.h"

namespace sedum {
class ChatTemplate;
class Tokenizer;
struct Span;
}  // namespace sedum

namespace sedum::data {

inline constexpr int32_t kIgnored = -100;  // a label without loss, as in PyTorch and transformers

// labels[i] is ids[i] or kIgnored: aligned, not shifted. The loader shifts.
struct Sample {
  std::vector<int32_t> ids, labels;
  std::vector<int32_t> starts = {};  // where further sequences begin inside it, ascending: they do not see one another
};

struct SampleOptions {
  int cutoff_length = 0;          // tokens; what goes beyond is cut at the end; 0: no limit
  bool train_on_prompt = false;   // loss on everything instead of on what the assistant says
  bool last_answer_only = false;  // loss on the last of the assistant's answers, for preferences
  // For templates that print the date: with the clock, a run resumed tomorrow would see other data.
  std::optional<std::time_t> now = {};
};

struct EncodingStatistics {
  int64_t samples = 0, truncated = 0;
  int64_t tokens = 0, label_tokens = 0;  // after truncation; tokens that carry a loss
  int64_t longest = 0;                   // tokens, before truncation
};

class SampleEncoder {
 public:
  // Both must outlive the encoder. Without a chat template only plain texts can be encoded.
  SampleEncoder(const Tokenizer& tokenizer, const ChatTemplate* chat, SampleOptions options = {});

  // Throws Error, which names the row: nothing left to learn (all labels ignored), two BOS at the beginning, no chat
  // template.
  Sample encode(const Conversation& conversation);
  const EncodingStatistics& statistics() const { return statistics_; }

 private:
  Sample encode_chat(const Conversation& conversation) const;
  Sample encode_text(const std::string& text) const;
  void check_bos(const Sample& sample, const Origin& origin) const;

  const Tokenizer& tokenizer_;
  const ChatTemplate* chat_;
  SampleOptions options_;
  EncodingStatistics statistics_;
};

// The texts as one stream of tokens, an EOS after each, cut into blocks of `block_length`; the last one may be shorter.
// For pre-training and for perplexity. isolate: documents in a block are sequences of their own.
std::vector<Sample> encode_documents(const Tokenizer& tokenizer, std::span<const std::string> texts, int block_length,
                                     bool isolate = false);

// Which tokens of `ids`, the encoding of `text`, have a byte in one of `spans` (ascending, apart). Bytes are counted in
// what the tokens stand for; where that is not `text` itself because the tokenizer normalises, the parts between the
// borders of spans are encoded alone to find the borders again. Throws Error when even so they cannot be found.
std::vector<bool> tokens_in_spans(const Tokenizer& tokenizer, std::span<const int32_t> ids, const std::string& text,
                                  std::span<const Span> spans);

// What a sample trains on, for people: the text of its tokens, the parts with loss in green or between ⟦ and ⟧.
std::string show_mask(const Tokenizer& tokenizer, const Sample& sample, bool colour);

}  // namespace sedum::data
