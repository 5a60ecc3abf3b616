#include "serve/anthropic/request.h"

#include <limits>

#include <fmt/format.h>

#include "serve/openai/fields.h"

namespace sedum::anthropic {
using openai::Failure;
using openai::Fields;
using openai::json;

namespace {

constexpr double kMaxInt = std::numeric_limits<int32_t>::max();
constexpr size_t kMaxMessages = 2000, kMaxBlocks = 1000;

[[noreturn]] void unsupported_block(const std::string& path, const std::string& type) {
  throw Failure::invalid(path + "type", path + "type is \"" + type + "\", and this model takes text only",
                         "unsupported_content");
}

// A string, or blocks of text.
std::string parse_text(Fields& holder, const char* name, bool required) {
  const json* value = required ? &holder.required(name) : holder.find(name);
  if (!value) return "";
  if (value->is_string()) return value->get<std::string>();
  if (!value->is_array()) holder.wrong_type(name, "a string or an array of text blocks", *value);
  std::string text;
  for (size_t i = 0; i < value->size(); ++i) {
    const std::string path = fmt::format("{}{}[{}].", holder.path(), name, i);
    const json& item = (*value)[i];
    if (!item.is_object()) holder.wrong_type(fmt::format("{}[{}]", name, i), "an object", item);
    Fields block(item, path);
    if (const std::string type = block.text("type"); type != "text") unsupported_block(path, type);
    if (i > 0) text += '\n';
    text += block.text("text");
    block.ignored({"cache_control", "citations"});
    block.end();
  }
  return text;
}

// What one message's blocks come to: its text, its calls, and the results of calls, which are messages of their own.
struct Parsed {
  std::string text;
  json calls = json::array(), results = json::array();
};

void parse_block(const json& item, const std::string& path, const std::string& role, Parsed& parsed) {
  Fields block(item, path);
  const std::string type = block.text("type");
  if (type == "text") {
    if (!parsed.text.empty()) parsed.text += '\n';
    parsed.text += block.text("text");
  } else if (type == "tool_use" && role == "assistant") {
    const json* input = block.object("input");
    if (!input) block.required("input");
    parsed.calls.push_back({{"id", block.text("id")},
                            {"type", "function"},
                            {"function", {{"name", block.text("name")}, {"arguments", *input}}}});
  } else if (type == "tool_result" && role == "user") {
    std::string content = parse_text(block, "content", false);
    if (block.boolean("is_error", false)) content = "error: " + content;
    parsed.results.push_back({{"role", "tool"}, {"tool_call_id", block.text("tool_use_id")}, {"content", content}});
  } else if ((type == "thinking" || type == "redacted_thinking") && role == "assistant") {
    return;  // what a model thought before is not shown to it again
  } else {
    unsupported_block(path, type);
  }
  block.ignored({"cache_control", "citations", "caller"});
  block.end();
}

void parse_message(const json& message, size_t index, json& messages) {
  const std::string path = fmt::format("messages[{}].", index);
  if (!message.is_object()) Fields(message).wrong_type(fmt::format("messages[{}]", index), "an object", message);
  Fields fields(message, path);
  const std::string role = fields.one_of("role", {"user", "assistant", "system"}, "");
  const json& content = fields.required("content");
  Parsed parsed;
  if (content.is_string()) {
    parsed.text = content.get<std::string>();
  } else {
    const json* blocks = fields.array("content", kMaxBlocks);
    if (blocks->empty()) fields.fail("content", "must not be an empty array");
    for (size_t i = 0; i < blocks->size(); ++i) {
      if (!(*blocks)[i].is_object()) fields.wrong_type(fmt::format("content[{}]", i), "an object", (*blocks)[i]);
      parse_block((*blocks)[i], fmt::format("{}content[{}].", path, i), role, parsed);
    }
  }
  fields.end();
  for (json& result : parsed.results) messages.push_back(std::move(result));
  if (parsed.text.empty() && parsed.calls.empty() && !parsed.results.empty()) return;
  json turn = {{"role", role}, {"content", parsed.text}};
  if (!parsed.calls.empty()) turn["tool_calls"] = std::move(parsed.calls);
  messages.push_back(std::move(turn));
}

void parse_tools(Fields& fields, MessagesRequest& request) {
  if (const json* tools = fields.array("tools", openai::kMaxTools)) {
    for (size_t i = 0; i < tools->size(); ++i) {
      const std::string path = fmt::format("tools[{}].", i);
      if (!(*tools)[i].is_object()) fields.wrong_type(fmt::format("tools[{}]", i), "an object", (*tools)[i]);
      Fields tool((*tools)[i], path);
      tool.one_of("type", {"custom"}, "custom");
      tool.required("input_schema");
      request.tools.push_back(
          {{"type", "function"}, {"function", openai::parse_function((*tools)[i], path, "input_schema")}});
    }
  }
  const json* choice = fields.object("tool_choice");
  if (!choice) return;
  Fields inner(*choice, "tool_choice.");
  const std::string type = inner.one_of("type", {"auto", "any", "tool", "none"}, "");
  using openai::ToolUse;
  request.tool_use = type == "auto" ? ToolUse::kAuto : type == "none" ? ToolUse::kNone : ToolUse::kRequired;
  if (type == "tool") request.tool_name = inner.text("name");
  request.parallel_tool_calls = !inner.boolean("disable_parallel_tool_use", false);
  inner.end();
}

void parse_sampling(Fields& fields, MessagesRequest& request) {
  fields.required("max_tokens");
  SamplingParams& sampling = request.sampling;
  sampling.max_tokens = int(fields.integer("max_tokens", 0, {1, kMaxInt}));
  sampling.temperature = float(fields.number("temperature", 1, {0, 1}));
  sampling.top_p = fields.share("top_p");
  sampling.top_k = int(fields.integer("top_k", 0, {0, kMaxInt}));
  sampling.stop = openai::parse_stop(fields, "stop_sequences");
  request.stream = fields.boolean("stream", false);
  fields.ignored({"metadata", "service_tier", "cache_control"});
  for (const char* name : {"container", "mcp_servers", "output_config", "context_management"}) fields.unsupported(name);
}

}  // namespace

MessagesRequest parse_messages(std::string_view body, bool counting) {
  const json object = openai::parse_object(body);
  Fields fields(object);
  MessagesRequest request;
  request.model = fields.text("model");
  if (!counting) parse_sampling(fields, request);
  if (const std::string system = parse_text(fields, "system", false); !system.empty())
    request.messages.push_back({{"role", "system"}, {"content", system}});
  fields.required("messages");
  const json& messages = *fields.array("messages", kMaxMessages);
  if (messages.empty()) fields.fail("messages", "must not be empty");
  for (size_t i = 0; i < messages.size(); ++i) parse_message(messages[i], i, request.messages);
  parse_tools(fields, request);
  if (const json* thinking = fields.object("thinking")) {
    Fields inner(*thinking, "thinking.");
    request.variables["enable_thinking"] = inner.one_of("type", {"enabled", "disabled", "adaptive"}, "") != "disabled";
    inner.ignored({"budget_tokens", "display"});
    inner.end();
  }
  request.use_documents = fields.boolean("use_documents", true);
  fields.end();
  return request;
}

std::string error_json(const Failure& failure) {
  const int s = failure.status;
  const char* type = s == 401   ? "authentication_error"
                     : s == 403 ? "permission_error"
                     : s == 404 ? "not_found_error"
                     : s == 413 ? "request_too_large"
                     : s == 429 ? "rate_limit_error"
                     : s == 503 ? "overloaded_error"
                     : s >= 500 ? "api_error"
                                : "invalid_request_error";
  const json error = {{"type", "error"}, {"error", {{"type", type}, {"message", failure.what()}}}};
  return error.dump(-1, ' ', false, json::error_handler_t::replace);
}

http::Response response(const Failure& failure) {
  http::Response answer = openai::response(failure);
  answer.body = anthropic::error_json(failure);
  return answer;
}

}  // namespace sedum::anthropic
