// POST /v1/responses
#include <limits>

#include <fmt/format.h>

#include "serve/openai/failure.h"
#include "serve/openai/fields.h"
#include "serve/openai/request.h"

namespace sedum::openai {
namespace {

constexpr double kMaxInt = std::numeric_limits<int32_t>::max();
constexpr size_t kMaxItems = 2000;

std::string parse_parts(const json& content, const std::string& path) {
  if (content.is_string()) return content.get<std::string>();
  const Fields whole(content, path);
  if (!content.is_array()) whole.wrong_type("content", "a string or an array of parts", content);
  std::string text;
  for (size_t i = 0; i < content.size(); ++i) {
    const std::string part_path = fmt::format("{}content[{}].", path, i);
    if (!content[i].is_object())
      Fields(content[i], path).wrong_type(fmt::format("content[{}]", i), "an object", content[i]);
    Fields part(content[i], part_path);
    const std::string type = part.text("type");
    if (type != "input_text" && type != "output_text" && type != "text" && type != "refusal")
      throw Failure::invalid(part_path + "type", part_path + "type is \"" + type + "\", and this model takes text only",
                             "unsupported_content");
    if (i > 0) text += '\n';
    text += part.text(type == "refusal" ? "refusal" : "text");
    part.ignored({"annotations", "logprobs"});
    part.end();
  }
  return text;
}

// A call joins the assistant's message before it, as chat templates have it.
void add_call(json& messages, json call) {
  if (messages.empty() || messages.back()["role"] != "assistant")
    messages.push_back({{"role", "assistant"}, {"content", ""}});
  messages.back()["tool_calls"].push_back(std::move(call));
}

void add_message(Fields& fields, json& messages) {
  std::string role = fields.one_of("role", {"user", "assistant", "system", "developer"}, "");
  if (role == "developer") role = "system";
  messages.push_back({{"role", role}, {"content", parse_parts(fields.required("content"), fields.path())}});
  fields.ignored({"id", "status", "phase"});
}

void add_item(const json& item, size_t index, json& messages) {
  const std::string path = fmt::format("input[{}].", index);
  if (!item.is_object()) Fields(item).wrong_type(fmt::format("input[{}]", index), "an object", item);
  Fields fields(item, path);
  const std::string type = fields.text_or("type", "message");
  if (type == "message") {
    add_message(fields, messages);
  } else if (type == "function_call") {
    json function = {{"name", fields.text("name")}, {"arguments", parse_arguments(fields.text("arguments"))}};
    add_call(messages, {{"id", fields.text("call_id")}, {"type", "function"}, {"function", std::move(function)}});
    fields.ignored({"id", "status"});
  } else if (type == "function_call_output") {
    const json& output = fields.required("output");
    messages.push_back(
        {{"role", "tool"}, {"tool_call_id", fields.text("call_id")}, {"content", parse_parts(output, path)}});
    fields.ignored({"id", "status"});
  } else if (type == "reasoning") {
    return;  // what a model thought before is not shown to it again
  } else {
    throw Failure::invalid(path + "type", path + "type \"" + type + "\" is not supported by this server",
                           "unsupported_parameter");
  }
  fields.end();
}

void parse_input(Fields& fields, ResponsesRequest& request) {
  if (fields.find("instructions"))
    request.messages.push_back({{"role", "system"}, {"content", fields.text("instructions")}});
  const json& input = fields.required("input");
  if (input.is_string()) {
    request.messages.push_back({{"role", "user"}, {"content", input}});
    return;
  }
  if (!input.is_array()) fields.wrong_type("input", "a string or an array", input);
  if (input.empty()) fields.fail("input", "must not be empty");
  if (input.size() > kMaxItems) fields.fail("input", fmt::format("must hold at most {} items", kMaxItems));
  for (size_t i = 0; i < input.size(); ++i) add_item(input[i], i, request.messages);
}

void parse_tools(Fields& fields, ResponsesRequest& request) {
  if (const json* tools = fields.array("tools", kMaxTools)) {
    for (size_t i = 0; i < tools->size(); ++i) {
      const std::string path = fmt::format("tools[{}].", i);
      if (!(*tools)[i].is_object()) fields.wrong_type(fmt::format("tools[{}]", i), "an object", (*tools)[i]);
      Fields((*tools)[i], path).one_of("type", {"function"}, "");
      request.tools.push_back({{"type", "function"}, {"function", parse_function((*tools)[i], path, "parameters")}});
    }
  }
  if (const json* choice = fields.find("tool_choice")) {
    if (choice->is_object()) {
      Fields named(*choice, "tool_choice.");
      named.one_of("type", {"function"}, "");
      request.tool_use = ToolUse::kRequired, request.tool_name = named.text("name");
      named.end();
    } else {
      const std::string word = fields.one_of("tool_choice", {"none", "auto", "required"}, "auto");
      request.tool_use = word == "none" ? ToolUse::kNone : word == "required" ? ToolUse::kRequired : ToolUse::kAuto;
    }
  }
  request.parallel_tool_calls = fields.boolean("parallel_tool_calls", true);
}

void parse_text(Fields& fields, ResponsesRequest& request) {
  const json* text = fields.object("text");
  if (!text) return;
  Fields inner(*text, "text.");
  add_format(inner, "format", false, request);
  inner.unsupported("verbosity");
  inner.end();
}

void parse_reasoning(Fields& fields, ResponsesRequest& request) {
  const json* reasoning = fields.object("reasoning");
  if (!reasoning) return;
  Fields inner(*reasoning, "reasoning.");
  if (inner.find("effort"))
    request.variables["reasoning_effort"] =
        inner.one_of("effort", {"none", "minimal", "low", "medium", "high", "xhigh"}, "medium");
  inner.ignored({"summary", "generate_summary"});
  inner.end();
}

}  // namespace

ResponsesRequest parse_responses(std::string_view body) {
  const json object = parse_object(body);
  Fields fields(object);
  ResponsesRequest request;
  parse_sampling(fields, request);
  if (request.sampling.n > 1) fields.fail("n", "is not a field of responses");
  request.sampling.max_tokens = int(fields.integer("max_output_tokens", -1, {1, kMaxInt}));
  parse_input(fields, request);
  parse_tools(fields, request);
  parse_text(fields, request);
  parse_reasoning(fields, request);
  const int64_t top = fields.integer("top_logprobs", 0, {0, 20});
  bool logprobs = false;
  if (const json* include = fields.array("include", 20)) {
    for (const json& item : *include) {
      if (item == "message.output_text.logprobs")
        logprobs = true;
      else if (item != "reasoning.encrypted_content")
        fields.fail("include", "holds " + item.dump() + ", which this server cannot include");
    }
  }
  if (logprobs) request.sampling.logprobs = int(top);
  request.use_documents = fields.boolean("use_documents", true);
  if (fields.one_of("truncation", {"disabled", "auto"}, "disabled") == "auto") fields.unsupported("truncation");
  for (const char* name : {"previous_response_id", "conversation", "background", "prompt", "max_tool_calls"})
    fields.unsupported(name);
  for (const char* name : {"instructions", "max_output_tokens", "metadata", "temperature", "top_p", "tools",
                           "tool_choice", "text", "reasoning", "parallel_tool_calls"}) {
    if (const json* value = fields.find(name)) request.echo[name] = *value;
  }
  fields.end();
  return request;
}

}  // namespace sedum::openai
