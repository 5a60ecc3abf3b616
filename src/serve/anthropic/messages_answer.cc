// Anthropic's message: blocks of thinking, text and tool use, and a stream that tells of each as it grows.
#include "base/json.h"
#include "serve/anthropic/request.h"
#include "serve/dialect.h"

namespace sedum::serve {
namespace {

using json = nlohmann::ordered_json;

class MessagesDialect : public Dialect {
 public:
  explicit MessagesDialect(AnswerHead head) : head_(std::move(head)) {}

  std::string begin(const std::vector<Choice>&) override {
    const Usage so_far{.prompt_tokens = head_.prompt_tokens};
    return event("message_start",
                 {{"type", "message_start"}, {"message", message(json::array(), nullptr, nullptr, so_far)}}) +
           event("ping", {{"type", "ping"}});
  }

  std::string delta(int, const Delta& delta) override {
    std::string events;
    if (!delta.reasoning.empty()) {
      events += open(Block::kThinking, {{"type", "thinking"}, {"thinking", ""}, {"signature", ""}});
      events += grow({{"type", "thinking_delta"}, {"thinking", delta.reasoning}});
    }
    if (!delta.content.empty()) {
      events += open(Block::kText, {{"type", "text"}, {"text", ""}});
      events += grow({{"type", "text_delta"}, {"text", delta.content}});
    }
    for (const Delta::CallPart& call : delta.calls) {
      if (!call.id.empty()) {
        events += close();
        events +=
            open(Block::kTool, {{"type", "tool_use"}, {"id", call.id}, {"name", call.name}, {"input", json::object()}});
      }
      if (!call.arguments.empty()) events += grow({{"type", "input_json_delta"}, {"partial_json", call.arguments}});
    }
    return events;
  }

  std::string finish(int, const Choice&) override {
    std::string events;
    if (index_ < 0) events += open(Block::kText, {{"type", "text"}, {"text", ""}});
    return events + close();
  }

  std::string end(const std::vector<Choice>& choices, const Usage& usage) override {
    json delta = {{"stop_reason", reason(choices[0])}, {"stop_sequence", sequence(choices[0])}};
    return event("message_delta",
                 {{"type", "message_delta"}, {"delta", std::move(delta)}, {"usage", usage_of(usage)}}) +
           event("message_stop", {{"type", "message_stop"}});
  }

  std::string failure_event(const openai::Failure& failure) override {
    return "event: error\n" + event(anthropic::error_json(failure));
  }

  std::string whole(const std::vector<Choice>& choices, const Usage& usage) override {
    const Choice& c = choices[0];
    json content = json::array();
    if (!c.reasoning.empty()) content.push_back({{"type", "thinking"}, {"thinking", c.reasoning}, {"signature", ""}});
    if (!c.content.empty() || c.calls.empty()) content.push_back({{"type", "text"}, {"text", c.content}});
    for (const Call& call : c.calls) {
      json input = try_parse_json<json>(call.arguments);
      if (!input.is_object()) input = json::object();  // cut off by max_tokens
      content.push_back({{"type", "tool_use"}, {"id", call.id}, {"name", call.name}, {"input", std::move(input)}});
    }
    return dump(message(std::move(content), reason(c), sequence(c), usage));
  }

  http::Response failure(const openai::Failure& failure) override { return anthropic::response(failure); }

 private:
  enum class Block { kNone, kThinking, kText, kTool };

  std::string open(Block kind, json block) {
    if (open_ == kind) return "";
    std::string events = close();
    open_ = kind;
    return events + event("content_block_start",
                          {{"type", "content_block_start"}, {"index", ++index_}, {"content_block", std::move(block)}});
  }
  std::string grow(json delta) const {
    return event("content_block_delta",
                 {{"type", "content_block_delta"}, {"index", index_}, {"delta", std::move(delta)}});
  }
  std::string close() {
    if (std::exchange(open_, Block::kNone) == Block::kNone) return "";
    return event("content_block_stop", {{"type", "content_block_stop"}, {"index", index_}});
  }

  static const char* reason(const Choice& choice) {
    return choice.finish == "length"       ? "max_tokens"
           : choice.finish == "tool_calls" ? "tool_use"
           : !choice.stop_string.empty()   ? "stop_sequence"
                                           : "end_turn";
  }
  static json sequence(const Choice& choice) { return choice.stop_string.empty() ? json() : json(choice.stop_string); }
  static json usage_of(const Usage& usage) {
    return {{"input_tokens", usage.prompt_tokens - usage.cached_tokens},
            {"cache_creation_input_tokens", 0},
            {"cache_read_input_tokens", usage.cached_tokens},
            {"output_tokens", usage.completion_tokens}};
  }
  json message(json content, json stop_reason, json stop_sequence, const Usage& usage) const {
    json whole = {{"id", head_.id},
                  {"type", "message"},
                  {"role", "assistant"},
                  {"model", head_.model},
                  {"content", std::move(content)},
                  {"stop_reason", std::move(stop_reason)},
                  {"stop_sequence", std::move(stop_sequence)},
                  {"usage", usage_of(usage)}};
    if (!head_.sources.is_null()) whole["sources"] = head_.sources;
    return whole;
  }

  const AnswerHead head_;
  Block open_ = Block::kNone;
  int index_ = -1;
};

}  // namespace

std::unique_ptr<Dialect> messages_dialect(AnswerHead head) {
  return std::make_unique<MessagesDialect>(std::move(head));
}

}  // namespace sedum::serve
