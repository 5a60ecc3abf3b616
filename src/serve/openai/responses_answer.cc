// OpenAI's Responses API: an answer is a list of items (reasoning, a message, calls), and a stream tells of each as it grows.
#include "serve/dialect.h"

namespace sedum::serve {
namespace {

using json = nlohmann::ordered_json;

class ResponsesDialect : public Dialect {
 public:
  explicit ResponsesDialect(AnswerHead head) : head_(std::move(head)) {}

  std::string begin(const std::vector<Choice>&) override {
    const json empty = response("in_progress", json::array(), nullptr);
    const std::string created = say("response.created", {{"response", empty}});  // they are numbered in this order
    return created + say("response.in_progress", {{"response", empty}});
  }

  std::string delta(int, const Delta& delta) override {
    std::string events;
    if (!delta.reasoning.empty()) {
      if (open_ != Open::kReasoning) events += open_item(Open::kReasoning);
      current_["content"][0]["text"].get_ref<std::string&>() += delta.reasoning;
      events += say("response.reasoning_text.delta", part({{"delta", delta.reasoning}}));
    }
    if (!delta.content.empty() || !delta.logprobs.empty()) {
      if (open_ != Open::kMessage) events += open_item(Open::kMessage);
      current_["content"][0]["text"].get_ref<std::string&>() += delta.content;
      json logprobs = logprobs_json(delta.logprobs);
      for (const json& one : logprobs) current_["content"][0]["logprobs"].push_back(one);
      events += say("response.output_text.delta", part({{"delta", delta.content}, {"logprobs", std::move(logprobs)}}));
    }
    for (const Delta::CallPart& call : delta.calls) {
      if (!call.id.empty()) events += open_call(call);
      if (call.arguments.empty()) continue;
      current_["arguments"].get_ref<std::string&>() += call.arguments;
      events += say("response.function_call_arguments.delta", item({{"delta", call.arguments}}));
    }
    return events;
  }

  std::string finish(int, const Choice&) override {
    std::string events;
    if (output_.empty() && open_ == Open::kNone)
      events += open_item(Open::kMessage);  // an empty answer is one all the same
    return events + close();
  }

  std::string end(const std::vector<Choice>& choices, const Usage& usage) override {
    const bool cut = choices[0].finish == "length";
    const json last = response(cut ? "incomplete" : "completed", output_, usage_of(usage));
    return say(cut ? "response.incomplete" : "response.completed", {{"response", last}});
  }

  std::string failure_event(const openai::Failure& failure) override {
    json last = response("failed", output_, nullptr);
    last["error"] = {{"code", failure.code.empty() ? "server_error" : failure.code}, {"message", failure.what()}};
    return say("response.failed", {{"response", std::move(last)}});
  }

  std::string whole(const std::vector<Choice>& choices, const Usage& usage) override {
    const Choice& c = choices[0];
    Delta all;
    all.reasoning = c.reasoning, all.content = c.content, all.logprobs = c.logprobs;
    for (size_t i = 0; i < c.calls.size(); ++i)
      all.calls.push_back({i, c.calls[i].id, c.calls[i].name, c.calls[i].arguments});
    delta(0, all);  // builds the items
    finish(0, c);
    return dump(response(c.finish == "length" ? "incomplete" : "completed", output_, usage_of(usage)));
  }

 private:
  enum class Open { kNone, kReasoning, kMessage, kCall };

  std::string say(const char* type, json fields) {
    json data = {{"type", type}, {"sequence_number", sequence_++}};
    data.update(fields);
    return event(type, data);
  }
  json item(json more) const {
    json fields = {{"item_id", current_["id"]}, {"output_index", output_.size()}};
    fields.update(more);
    return fields;
  }
  json part(json more) const {
    json fields = item({{"content_index", 0}});
    fields.update(more);
    return fields;
  }

  std::string open_item(Open kind) {
    std::string events = close();
    open_ = kind;
    const bool message = kind == Open::kMessage;
    if (message)
      current_ = {{"id", random_id("msg_")}, {"type", "message"}, {"status", "in_progress"}, {"role", "assistant"}};
    else
      current_ = {
          {"id", random_id("rs_")}, {"type", "reasoning"}, {"status", "in_progress"}, {"summary", json::array()}};
    current_["content"] = json::array();
    events += say("response.output_item.added", {{"output_index", output_.size()}, {"item", current_}});
    json first =
        message
            ? json{{"type", "output_text"}, {"text", ""}, {"annotations", annotations()}, {"logprobs", json::array()}}
            : json{{"type", "reasoning_text"}, {"text", ""}};
    current_["content"].push_back(first);
    return events + say("response.content_part.added", part({{"part", std::move(first)}}));
  }

  std::string open_call(const Delta::CallPart& call) {
    std::string events = close();
    open_ = Open::kCall;
    current_ = {{"id", random_id("fc_")}, {"type", "function_call"}, {"status", "in_progress"},
                {"call_id", call.id},     {"name", call.name},       {"arguments", ""}};
    return events + say("response.output_item.added", {{"output_index", output_.size()}, {"item", current_}});
  }

  std::string close() {
    if (open_ == Open::kNone) return "";
    std::string events;
    current_["status"] = "completed";
    if (open_ == Open::kCall) {
      events = say("response.function_call_arguments.done",
                   item({{"name", current_["name"]}, {"arguments", current_["arguments"]}}));
    } else {
      const json& content = current_["content"][0];
      json done = {{"text", content["text"]}};
      if (open_ == Open::kMessage) done["logprobs"] = content["logprobs"];
      events = say(open_ == Open::kMessage ? "response.output_text.done" : "response.reasoning_text.done", part(done));
      events += say("response.content_part.done", part({{"part", content}}));
    }
    open_ = Open::kNone;
    events += say("response.output_item.done", {{"output_index", output_.size()}, {"item", current_}});
    output_.push_back(std::move(current_));
    return events;
  }

  // Documents that the answer rests on, in the form of OpenAI's citations of files.
  json annotations() const {
    json list = json::array();
    for (const json& source : head_.sources)
      list.push_back({{"type", "file_citation"},
                      {"index", source["index"]},
                      {"file_id", source["path"]},
                      {"filename", source["path"]}});
    return list;
  }

  json logprobs_json(const std::vector<TokenLogprobs>& tokens) const {
    json list = json::array();
    for (const TokenLogprobs& token : tokens) list.push_back(logprob_json(head_, token));
    return list;
  }

  static json usage_of(const Usage& usage) {
    return {{"input_tokens", usage.prompt_tokens},
            {"input_tokens_details", {{"cached_tokens", usage.cached_tokens}}},
            {"output_tokens", usage.completion_tokens},
            {"output_tokens_details", {{"reasoning_tokens", 0}}},
            {"total_tokens", usage.prompt_tokens + usage.completion_tokens}};
  }

  json response(const char* status, json output, json usage) const {
    const auto given = [&](const char* name, json otherwise) { return head_.echo.value(name, std::move(otherwise)); };
    json incomplete = nullptr;
    if (std::string_view(status) == "incomplete") incomplete = {{"reason", "max_output_tokens"}};
    json whole = {{"id", head_.id},
                  {"object", "response"},
                  {"created_at", head_.created},
                  {"status", status},
                  {"background", false},
                  {"error", nullptr},
                  {"incomplete_details", std::move(incomplete)},
                  {"instructions", given("instructions", nullptr)},
                  {"max_output_tokens", given("max_output_tokens", nullptr)},
                  {"metadata", given("metadata", json::object())},
                  {"model", head_.model},
                  {"output", std::move(output)},
                  {"parallel_tool_calls", given("parallel_tool_calls", true)},
                  {"previous_response_id", nullptr},
                  {"reasoning", given("reasoning", {{"effort", nullptr}, {"summary", nullptr}})},
                  {"store", false},
                  {"temperature", given("temperature", 1.0)},
                  {"text", given("text", {{"format", {{"type", "text"}}}})},
                  {"tool_choice", given("tool_choice", "auto")},
                  {"tools", given("tools", json::array())},
                  {"top_p", given("top_p", 1.0)},
                  {"truncation", "disabled"},
                  {"usage", std::move(usage)}};
    if (!head_.sources.is_null()) whole["sources"] = head_.sources;
    return whole;
  }

  const AnswerHead head_;
  int sequence_ = 0;
  Open open_ = Open::kNone;
  json current_, output_ = json::array();
};

}  // namespace

std::unique_ptr<Dialect> responses_dialect(AnswerHead head) {
  return std::make_unique<ResponsesDialect>(std::move(head));
}

}  // namespace sedum::serve
