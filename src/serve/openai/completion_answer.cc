// OpenAI's text_completion, whole and in pieces.
#include <cmath>

#include "serve/dialect.h"

namespace sedum::serve {
namespace {

using json = nlohmann::ordered_json;

// Characters, as Python counts them: text_offset is one's number.
size_t characters(const std::string& text) {
  size_t count = 0;
  for (const char c : text) count += (static_cast<unsigned char>(c) & 0xC0) != 0x80;
  return count;
}

class CompletionDialect : public Dialect {
 public:
  explicit CompletionDialect(AnswerHead head) : head_(std::move(head)) {}

  std::string begin(const std::vector<Choice>& choices) override {
    std::string events;
    offsets_.resize(choices.size());
    for (size_t i = 0; i < choices.size(); ++i) {
      if (choices[i].prefix.empty() && choices[i].prompt_logprobs.empty()) continue;
      events += chunk(int(i), choices[i].prefix, logprobs(choices[i].prompt_logprobs, true, offsets_[i]), nullptr);
    }
    return events;
  }

  std::string delta(int index, const Delta& delta) override {
    return chunk(index, delta.content, logprobs(delta.logprobs, false, offsets_[size_t(index)]), nullptr);
  }

  std::string finish(int index, const Choice& choice) override { return chunk(index, "", nullptr, choice.finish); }

  std::string end(const std::vector<Choice>&, const Usage& usage) override {
    if (!head_.include_usage) return kDoneEvent;
    json last = base();
    last["choices"] = json::array();
    last["usage"] = usage_json(usage);
    return event(dump(last)) + kDoneEvent;
  }

  std::string failure_event(const openai::Failure& failure) override { return event(openai::error_json(failure)); }

  std::string whole(const std::vector<Choice>& choices, const Usage& usage) override {
    json answer = base();
    answer["choices"] = json::array();
    for (size_t i = 0; i < choices.size(); ++i) {
      const Choice& c = choices[i];
      size_t offset = 0;
      json tokens = logprobs(c.prompt_logprobs, true, offset);
      if (tokens.is_null()) offset = characters(c.prefix);
      const json made = logprobs(c.logprobs, false, offset);
      if (tokens.is_null())
        tokens = made;
      else if (!made.is_null())
        for (const auto& [name, list] : made.items()) tokens[name].insert(tokens[name].end(), list.begin(), list.end());
      answer["choices"].push_back(
          {{"text", c.prefix + c.content}, {"index", i}, {"logprobs", std::move(tokens)}, {"finish_reason", c.finish}});
    }
    answer["usage"] = usage_json(usage);
    return dump(answer);
  }

 private:
  json base() const {
    return {{"id", head_.id}, {"object", "text_completion"}, {"created", head_.created}, {"model", head_.model}};
  }

  std::string chunk(int index, const std::string& text, json logprobs, json finish) const {
    json chunk = base();
    chunk["choices"] = json::array(
        {{{"text", text}, {"index", index}, {"logprobs", std::move(logprobs)}, {"finish_reason", std::move(finish)}}});
    if (head_.include_usage) chunk["usage"] = nullptr;
    return event(dump(chunk));
  }

  // `of_prompt`: nothing comes before the first token, so it has no probability.
  json logprobs(const std::vector<TokenLogprobs>& tokens, bool of_prompt, size_t& offset) const {
    if (tokens.empty()) return nullptr;
    json names = json::array(), values = json::array(), tops = json::array(), offsets = json::array();
    const auto value = [](float logprob) { return std::isfinite(logprob) ? logprob : -9999.0f; };
    for (size_t i = 0; i < tokens.size(); ++i) {
      const bool first = of_prompt && i == 0;
      const std::string text = head_.token_text(tokens[i].id);
      names.push_back(text);
      values.push_back(first ? json() : json(value(tokens[i].logprob)));
      json top = json::object();
      for (const auto& [id, logprob] : tokens[i].top) top[head_.token_text(id)] = value(logprob);
      tops.push_back(first ? json() : std::move(top));
      offsets.push_back(offset);
      offset += characters(text);
    }
    return {{"tokens", std::move(names)},
            {"token_logprobs", std::move(values)},
            {"top_logprobs", std::move(tops)},
            {"text_offset", std::move(offsets)}};
  }

  const AnswerHead head_;
  std::vector<size_t> offsets_;
};

}  // namespace

std::unique_ptr<Dialect> completion_dialect(AnswerHead head) {
  return std::make_unique<CompletionDialect>(std::move(head));
}

}  // namespace sedum::serve
