// OpenAI's chat.completion and its chunks.
#include "serve/dialect.h"

namespace sedum::serve {
namespace {

using json = nlohmann::ordered_json;

json call_json(const Call& call) {
  return {{"id", call.id}, {"type", "function"}, {"function", {{"name", call.name}, {"arguments", call.arguments}}}};
}

class ChatDialect : public Dialect {
 public:
  explicit ChatDialect(AnswerHead head) : head_(std::move(head)) {}

  std::string begin(const std::vector<Choice>& choices) override {
    std::string events;
    for (size_t i = 0; i < choices.size(); ++i) {
      json first = {{"role", "assistant"}, {"content", ""}};
      if (!head_.sources.is_null()) first["sources"] = head_.sources;
      events += chunk(int(i), std::move(first), nullptr, nullptr);
    }
    return events;
  }

  std::string delta(int index, const Delta& delta) override {
    std::string events;
    if (!delta.reasoning.empty()) events += chunk(index, {{"reasoning_content", delta.reasoning}}, nullptr, nullptr);
    if (!delta.content.empty() || !delta.logprobs.empty())
      events += chunk(index, {{"content", delta.content}}, logprobs(delta.logprobs), nullptr);
    for (const Delta::CallPart& part : delta.calls) {
      json call = {{"index", part.index}};
      if (!part.id.empty()) call["id"] = part.id, call["type"] = "function";
      call["function"] = json::object();
      if (!part.id.empty()) call["function"]["name"] = part.name;
      call["function"]["arguments"] = part.arguments;
      events += chunk(index, {{"tool_calls", json::array({std::move(call)})}}, nullptr, nullptr);
    }
    return events;
  }

  std::string finish(int index, const Choice& choice) override {
    return chunk(index, json::object(), nullptr, choice.finish);
  }

  std::string end(const std::vector<Choice>&, const Usage& usage) override {
    if (!head_.include_usage) return kDoneEvent;
    json last = base("chat.completion.chunk");
    last["choices"] = json::array();
    last["usage"] = usage_json(usage);
    return event(dump(last)) + kDoneEvent;
  }

  std::string failure_event(const openai::Failure& failure) override { return event(openai::error_json(failure)); }

  std::string whole(const std::vector<Choice>& choices, const Usage& usage) override {
    json answer = base("chat.completion");
    answer["choices"] = json::array();
    for (size_t i = 0; i < choices.size(); ++i) {
      const Choice& c = choices[i];
      json message = {{"role", "assistant"}, {"content", c.content}, {"refusal", nullptr}};
      if (c.content.empty() && !c.calls.empty()) message["content"] = nullptr;
      if (!c.reasoning.empty()) message["reasoning_content"] = c.reasoning;
      for (const Call& call : c.calls) message["tool_calls"].push_back(call_json(call));
      if (!head_.sources.is_null()) message["sources"] = head_.sources;
      answer["choices"].push_back({{"index", i},
                                   {"message", std::move(message)},
                                   {"logprobs", logprobs(c.logprobs)},
                                   {"finish_reason", c.finish}});
    }
    answer["usage"] = usage_json(usage);
    return dump(answer);
  }

 private:
  json base(const char* object) const {
    return {{"id", head_.id}, {"object", object}, {"created", head_.created}, {"model", head_.model}};
  }

  std::string chunk(int index, json delta, json logprobs, json finish) const {
    json chunk = base("chat.completion.chunk");
    chunk["choices"] = json::array({{{"index", index},
                                     {"delta", std::move(delta)},
                                     {"logprobs", std::move(logprobs)},
                                     {"finish_reason", std::move(finish)}}});
    if (head_.include_usage) chunk["usage"] = nullptr;
    return event(dump(chunk));
  }

  json logprobs(const std::vector<TokenLogprobs>& tokens) const {
    if (tokens.empty()) return nullptr;
    json content = json::array();
    for (const TokenLogprobs& token : tokens) content.push_back(logprob_json(head_, token));
    return {{"content", std::move(content)}, {"refusal", nullptr}};
  }

  const AnswerHead head_;
};

}  // namespace

std::unique_ptr<Dialect> chat_dialect(AnswerHead head) { return std::make_unique<ChatDialect>(std::move(head)); }

}  // namespace sedum::serve
