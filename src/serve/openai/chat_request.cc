// POST /v1/chat/completions
#include <limits>

#include <fmt/format.h>

#include "serve/openai/failure.h"
#include "serve/openai/fields.h"
#include "serve/openai/request.h"

namespace sedum::openai {
namespace {

constexpr double kMaxInt = std::numeric_limits<int32_t>::max();
constexpr size_t kMaxMessages = 2000;
constexpr size_t kMaxCalls = 128;

// Text, or parts of type text.
std::string parse_content(const json& content, const std::string& path) {
  const Fields whole(content, path);
  if (content.is_string()) return content.get<std::string>();
  if (!content.is_array()) whole.wrong_type("content", "a string or an array of parts", content);
  if (content.empty()) whole.fail("content", "must not be an empty array");
  std::string text;
  for (size_t i = 0; i < content.size(); ++i) {
    const std::string part_path = fmt::format("{}content[{}].", path, i);
    if (!content[i].is_object())
      Fields(content[i], path).wrong_type(fmt::format("content[{}]", i), "an object", content[i]);
    Fields part(content[i], part_path);
    const std::string type = part.text("type");
    if (type != "text" && type != "refusal") {
      throw Failure::invalid(part_path + "type", part_path + "type is \"" + type + "\", and this model takes text only",
                             "unsupported_content");
    }
    if (i > 0) text += '\n';
    text += part.text(type.c_str());
    part.end();
  }
  return text;
}

json parse_tool_calls(Fields& fields) {
  json calls = json::array();
  const json* given = fields.array("tool_calls", kMaxCalls);
  if (!given) return calls;
  for (size_t i = 0; i < given->size(); ++i) {
    const std::string path = fmt::format("{}tool_calls[{}].", fields.path(), i);
    const json& item = (*given)[i];
    if (!item.is_object()) fields.wrong_type(fmt::format("tool_calls[{}]", i), "an object", item);
    Fields call(item, path);
    const std::string id = call.text("id");
    call.one_of("type", {"function"}, "function");
    const json* function = call.object("function");
    if (!function) call.required("function");
    Fields inner(*function, path + "function.");
    const std::string name = inner.text("name");
    calls.push_back({{"id", id},
                     {"type", "function"},
                     {"function", {{"name", name}, {"arguments", parse_arguments(inner.text("arguments"))}}}});
    inner.end();
    call.ignored({"index"});
    call.end();
  }
  return calls;
}

json parse_message(const json& message, size_t index) {
  const std::string path = fmt::format("messages[{}].", index);
  if (!message.is_object()) Fields(message).wrong_type(fmt::format("messages[{}]", index), "an object", message);
  Fields fields(message, path);
  std::string role = fields.text("role");
  if (role == "developer") role = "system";  // the newer name
  if (role != "system" && role != "user" && role != "assistant" && role != "tool") {
    fields.fail("role", "must be one of system, developer, user, assistant, tool, it is \"" + role + "\"");
  }
  json parsed = {{"role", role}};
  json calls = role == "assistant" ? parse_tool_calls(fields) : json::array();
  const bool may_be_empty = !calls.empty() || fields.find("refusal");
  parsed["content"] = may_be_empty && !fields.find("content") ? "" : parse_content(fields.required("content"), path);
  if (role == "assistant") {
    if (fields.find("reasoning_content")) parsed["reasoning_content"] = fields.text("reasoning_content");
    fields.text_or("refusal", "");
    if (!calls.empty()) parsed["tool_calls"] = std::move(calls);
    fields.unsupported("function_call");
    fields.unsupported("audio");
    fields.ignored({"annotations", "sources"});  // of an answer that comes back as it was given
  }
  if (role == "tool") parsed["tool_call_id"] = fields.text("tool_call_id");
  if (fields.find("name")) parsed["name"] = fields.text("name");
  fields.end();
  return parsed;
}

void parse_tools(Fields& fields, ChatRequest& request) {
  if (const json* tools = fields.array("tools", kMaxTools)) {
    for (size_t i = 0; i < tools->size(); ++i) {
      const std::string path = fmt::format("tools[{}].", i);
      if (!(*tools)[i].is_object()) fields.wrong_type(fmt::format("tools[{}]", i), "an object", (*tools)[i]);
      Fields tool((*tools)[i], path);
      tool.one_of("type", {"function"}, "");
      const json* function = tool.object("function");
      if (!function) tool.required("function");
      request.tools.push_back(
          {{"type", "function"}, {"function", parse_function(*function, path + "function.", "parameters")}});
      tool.end();
    }
  }
  if (const json* choice = fields.find("tool_choice")) {
    if (choice->is_object()) {
      Fields inner(*choice, "tool_choice.");
      inner.one_of("type", {"function"}, "");
      const json* function = inner.object("function");
      if (!function) inner.required("function");
      Fields named(*function, "tool_choice.function.");
      request.tool_use = ToolUse::kRequired, request.tool_name = named.text("name");
      named.end();
      inner.end();
    } else {
      const std::string word = fields.one_of("tool_choice", {"none", "auto", "required"}, "auto");
      request.tool_use = word == "none" ? ToolUse::kNone : word == "required" ? ToolUse::kRequired : ToolUse::kAuto;
    }
  }
  request.parallel_tool_calls = fields.boolean("parallel_tool_calls", true);
  fields.unsupported("functions");
  fields.unsupported("function_call");
}

void parse_output(Fields& fields, ChatRequest& request) {
  add_format(fields, "response_format", true, request);
  if (const json* modalities = fields.find("modalities"); modalities && *modalities != json::array({"text"})) {
    throw Failure::invalid("modalities", "modalities other than [\"text\"] are not supported by this server",
                           "unsupported_parameter");
  }
  const bool logprobs = fields.boolean("logprobs", false);
  const int64_t top = fields.integer("top_logprobs", 0, {0, 20});
  if (fields.find("top_logprobs") && top > 0 && !logprobs)
    fields.fail("top_logprobs", "is only allowed when logprobs is true");
  if (logprobs) request.sampling.logprobs = int(top);
  for (const char* name : {"audio", "prediction", "web_search_options", "verbosity"}) fields.unsupported(name);
}

void parse_variables(Fields& fields, ChatRequest& request) {
  if (const json* variables = fields.object("chat_template_kwargs")) request.variables = *variables;
  for (const char* own : {"messages", "tools", "add_generation_prompt"})
    if (request.variables.contains(own)) fields.fail("chat_template_kwargs", std::string("must not hold ") + own);
  if (fields.find("reasoning_effort")) {
    const std::string effort =
        fields.one_of("reasoning_effort", {"none", "minimal", "low", "medium", "high", "xhigh"}, "medium");
    request.variables["reasoning_effort"] = effort;
    if (effort == "none") request.variables["enable_thinking"] = false;
  }
  request.use_documents = fields.boolean("use_documents", true);
}

}  // namespace

json parse_arguments(const std::string& text) {
  try {
    return parse_object(text.empty() ? "{}" : text);
  } catch (const Failure&) {
    return text;  // a model's own slip, sent back to it
  }
}

void check_tool_name(const Fields& fields, const char* field, const std::string& name) {
  const bool plain = !name.empty() && name.size() <= 64 && std::all_of(name.begin(), name.end(), [](unsigned char c) {
    return c < 128 && (std::isalnum(c) || c == '_' || c == '-');
  });
  if (!plain) fields.fail(field, "must be 1 to 64 letters, digits, _ or -");
}

json parse_function(const json& function, const std::string& path, const char* parameters_name) {
  Fields fields(function, path);
  const std::string name = fields.text("name");
  check_tool_name(fields, "name", name);
  json parsed = {{"name", name}};
  if (fields.find("description")) parsed["description"] = fields.text("description");
  const json* parameters = fields.object(parameters_name);
  parsed["parameters"] = parameters ? *parameters : json{{"type", "object"}, {"properties", json::object()}};
  fields.boolean("strict", false);
  fields.ignored({"type", "cache_control"});
  fields.end();
  return parsed;
}

ChatRequest parse_chat(std::string_view body) {
  const json object = parse_object(body);
  Fields fields(object);
  ChatRequest request;
  parse_sampling(fields, request);
  request.sampling.max_tokens = int(fields.integer("max_tokens", -1, {1, kMaxInt}));
  request.sampling.max_tokens = int(fields.integer("max_completion_tokens", request.sampling.max_tokens, {1, kMaxInt}));
  parse_output(fields, request);
  parse_tools(fields, request);
  parse_variables(fields, request);
  fields.required("messages");
  const json& messages = *fields.array("messages", kMaxMessages);
  if (messages.empty()) fields.fail("messages", "must not be empty");
  for (size_t i = 0; i < messages.size(); ++i) request.messages.push_back(parse_message(messages[i], i));
  fields.end();
  return request;
}

}  // namespace sedum::openai
