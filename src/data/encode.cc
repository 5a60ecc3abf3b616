#include "data/encode.h"

#include <algorithm>

#include "base/error.h"
#include "base/json.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"
#include "text/unicode.h"

namespace sedum::data {
namespace {

// The bytes that the tokens stand for. (decode() would be the same text, but may one day clean it up.)
std::string token_text(const Tokenizer& tokenizer, std::span<const int32_t> ids) {
  std::string text;
  for (const int32_t id : ids) text += tokenizer.token_bytes(id);
  return text;
}

std::string special_text(const Tokenizer& tokenizer, int32_t id) {
  return id < 0 ? std::string() : std::string(tokenizer.token_bytes(id));
}

// The same spans counted in `target`, the normalised form of `text`: a part of the text alone normalises to the same
// bytes as inside the whole, unless a border cuts a combining sequence.
std::vector<Span> spans_after_normalization(const Tokenizer& tokenizer, const std::string& text,
                                            std::span<const Span> spans, const std::string& target) {
  std::string joined;
  size_t begin = 0;
  const auto advance = [&](size_t end) {
    joined += token_text(tokenizer, tokenizer.encode(std::string_view(text).substr(begin, end - begin)));
    begin = end;
    return joined.size();
  };
  std::vector<Span> moved;
  for (const Span& span : spans) {
    const size_t first = advance(span.begin);
    moved.push_back({first, advance(span.end)});
  }
  advance(text.size());
  if (joined != target)
    throw Error(
        "the tokenizer changes the text across the borders of the assistant's part, so that the loss cannot be limited "
        "to it",
        "set train_on_prompt: true, or use a template whose answers begin after a special token");
  return moved;
}

// Templates go on after the token that ends a turn, with a line break that a model never gets to say: no loss on that.
// (A template with `generation` blocks says itself where the assistant's part ends.)
void end_with_the_turn(const Tokenizer& tokenizer, std::span<const int32_t> ids, std::vector<bool>& spoken) {
  bool ended = false;
  for (size_t i = 0; i < ids.size(); ++i) {
    const bool blank = tokenizer.token_bytes(ids[i]).find_first_not_of(" \t\r\n") == std::string_view::npos;
    if (ended && blank)
      spoken[i] = false;
    else
      ended = spoken[i] && tokenizer.ends_generation(ids[i]);
  }
}

int64_t count_targets(const Sample& sample) {
  if (sample.labels.empty()) return 0;
  return std::count_if(sample.labels.begin() + 1, sample.labels.end(), [](int32_t label) { return label != kIgnored; });
}

}  // namespace

std::vector<bool> tokens_in_spans(const Tokenizer& tokenizer, std::span<const int32_t> ids, const std::string& text,
                                  std::span<const Span> spans) {
  const std::string bytes = token_text(tokenizer, ids);
  const std::vector<Span> found = bytes == text ? std::vector<Span>(spans.begin(), spans.end())
                                                : spans_after_normalization(tokenizer, text, spans, bytes);
  std::vector<bool> inside(ids.size());
  size_t begin = 0;
  auto span = found.begin();
  for (size_t i = 0; i < ids.size(); ++i) {
    const size_t end = begin + tokenizer.token_bytes(ids[i]).size();
    while (span != found.end() && span->end <= begin) ++span;
    inside[i] = span != found.end() && std::max(begin, span->begin) < std::min(end, span->end);
    begin = end;
  }
  return inside;
}

SampleEncoder::SampleEncoder(const Tokenizer& tokenizer, const ChatTemplate* chat, SampleOptions options)
    : tokenizer_(tokenizer), chat_(chat), options_(options) {}

Sample SampleEncoder::encode(const Conversation& conversation) {
  const auto fail = [&](const std::string& problem, const std::string& mend) {
    throw Error(conversation.origin.to_string() + ": " + problem, mend);
  };
  Sample sample;
  try {
    sample = conversation.is_text() ? encode_text(conversation.text) : encode_chat(conversation);
  } catch (const Error& e) {
    fail(e.problem(), e.mend());
  }
  check_bos(sample, conversation.origin);
  const int64_t length = int64_t(sample.ids.size());
  const bool truncate = options_.cutoff_length > 0 && length > options_.cutoff_length;
  if (count_targets(sample) == 0)
    fail("the row has nothing to learn: no token carries a loss", "check its answer and the chat template");
  if (truncate) {
    sample.ids.resize(size_t(options_.cutoff_length));
    sample.labels.resize(size_t(options_.cutoff_length));
    if (count_targets(sample) == 0)
      fail("the answer begins beyond the first " + std::to_string(options_.cutoff_length) + " of " +
               std::to_string(length) + " tokens",
           "raise cutoff_len, or shorten or remove the row");
  }
  ++statistics_.samples;
  statistics_.truncated += truncate;
  statistics_.tokens += int64_t(sample.ids.size());
  statistics_.label_tokens += count_targets(sample);
  statistics_.longest = std::max(statistics_.longest, length);
  return sample;
}

Sample SampleEncoder::encode_chat(const Conversation& conversation) const {
  if (!chat_)
    throw Error("the model has no chat template, and the row is a conversation",
                "use an instruction model, or rows with \"text\"");
  TemplateOptions options;
  options.bos_token = special_text(tokenizer_, tokenizer_.spec().bos);
  options.eos_token = special_text(tokenizer_, tokenizer_.spec().eos);
  options.now = options_.now;
  const nlohmann::ordered_json messages = messages_json(conversation);
  // The template writes BOS itself where the model wants one, so the tokenizer adds none.
  if (options_.train_on_prompt) {
    Sample sample;
    sample.ids = sample.labels = tokenizer_.encode(chat_->render(messages, options));
    return sample;
  }
  RenderedChat rendered = chat_->assistant_spans(messages, options);
  if (options_.last_answer_only && !rendered.spans.empty()) rendered.spans = {rendered.spans.back()};
  Sample sample;
  sample.ids = tokenizer_.encode(rendered.text);
  sample.labels = sample.ids;
  std::vector<bool> spoken = tokens_in_spans(tokenizer_, sample.ids, rendered.text, rendered.spans);
  if (!chat_->has_generation_blocks()) end_with_the_turn(tokenizer_, sample.ids, spoken);
  for (size_t i = 0; i < spoken.size(); ++i)
    if (!spoken[i]) sample.labels[i] = kIgnored;
  return sample;
}

Sample SampleEncoder::encode_text(const std::string& text) const {
  Sample sample;
  sample.ids = tokenizer_.encode(text, {.add_special = true, .parse_special = true});
  const int32_t eos = tokenizer_.spec().eos;
  if (eos >= 0 && (sample.ids.empty() || sample.ids.back() != eos)) sample.ids.push_back(eos);
  sample.labels = sample.ids;
  return sample;
}

void SampleEncoder::check_bos(const Sample& sample, const Origin& origin) const {
  const int32_t bos = tokenizer_.spec().bos;
  // Some models have one token for both ends; a text may then be empty in the middle.
  if (bos < 0 || bos == tokenizer_.spec().eos || sample.ids.size() < 2 || sample.ids[0] != bos || sample.ids[1] != bos)
    return;
  throw Error(origin.to_string() + ": the sample begins with two BOS tokens (" + special_text(tokenizer_, bos) + ")",
              "remove it from the row's text; the tokenizer or the template adds it");
}

std::vector<Sample> encode_documents(const Tokenizer& tokenizer, std::span<const std::string> texts, int block_length,
                                     bool isolate) {
  if (block_length < 2)
    throw ApiError("encode_documents", "block_length is " + std::to_string(block_length) + ", below 2");
  const int32_t eos = tokenizer.spec().eos;
  if (eos < 0 && texts.size() > 1)
    throw Error("the tokenizer names no EOS token to put between documents", "set eos_token in tokenizer_config.json");
  std::vector<Sample> blocks;
  std::vector<int32_t> pending;
  const auto cut = [&](size_t begin, size_t count) {
    Sample& block = blocks.emplace_back();
    block.ids.assign(pending.begin() + ptrdiff_t(begin), pending.begin() + ptrdiff_t(begin + count));
    block.labels = block.ids;
    for (size_t i = 1; isolate && i < count; ++i)
      if (block.ids[i - 1] == eos) block.starts.push_back(int32_t(i));
  };
  const size_t length = size_t(block_length);
  for (const std::string& text : texts) {
    const std::vector<int32_t> ids = tokenizer.encode(text, {.add_special = true, .parse_special = true});
    pending.insert(pending.end(), ids.begin(), ids.end());
    if (eos >= 0 && (ids.empty() || ids.back() != eos)) pending.push_back(eos);
    size_t done = 0;
    for (; done + length <= pending.size(); done += length) cut(done, length);
    pending.erase(pending.begin(), pending.begin() + ptrdiff_t(done));
  }
  if (pending.size() >= 2) cut(0, pending.size());  // one token alone has nothing to predict
  return blocks;
}

std::string show_mask(const Tokenizer& tokenizer, const Sample& sample, bool colour) {
  const char *open = colour ? "\033[32m" : "⟦", *close = colour ? "\033[0m" : "⟧";
  std::string shown;
  for (size_t begin = 0, end = 0; begin < sample.ids.size(); begin = end) {
    const bool trained = sample.labels[begin] != kIgnored;
    while (end < sample.ids.size() && (sample.labels[end] != kIgnored) == trained) ++end;
    const std::string part =
        unicode::replace_invalid(token_text(tokenizer, std::span(sample.ids).subspan(begin, end - begin)));
    shown += trained ? open + part + close : part;
  }
  return shown;
}

}  // namespace sedum::data
