#include "serve/openai/request.h"

#include <limits>

#include <fmt/format.h>

#include "serve/openai/failure.h"
#include "serve/openai/fields.h"

namespace sedum::openai {
using nlohmann::json;

namespace {

constexpr double kMaxInt = std::numeric_limits<int32_t>::max();
constexpr size_t kMaxStops = 16;
constexpr size_t kMaxStopBytes = 1000;

std::vector<std::string> parse_stop(Fields& fields) {
  const json* value = fields.find("stop");
  if (!value) return {};
  if (!value->is_string() && !value->is_array()) fields.wrong_type("stop", "a string or an array of strings", *value);
  std::vector<std::string> stops;
  for (const json& item : value->is_array() ? *value : json::array({*value})) {
    if (!item.is_string()) fields.wrong_type("stop", "a string or an array of strings", item);
    if (item == "") fields.fail("stop", "must not hold an empty string");
    stops.push_back(item.get<std::string>());
    if (stops.back().size() > kMaxStopBytes)
      fields.fail("stop", fmt::format("must not hold strings over {} bytes", kMaxStopBytes));
  }
  if (stops.size() > kMaxStops) fields.fail("stop", fmt::format("must hold at most {} strings", kMaxStops));
  return stops;
}

void parse_common(Fields& fields, CommonRequest& request) {
  request.model = fields.text("model");
  SamplingParams& sampling = request.sampling;
  sampling.temperature = float(fields.number("temperature", 1, {0, 2}));
  sampling.top_p = float(fields.number("top_p", 1, {0, 1}));
  if (sampling.top_p == 0) fields.fail("top_p", "must be above 0");
  sampling.top_k =
      int(std::max<int64_t>(0, fields.integer("top_k", 0, {-1, kMaxInt})));  // some clients say "off" by −1
  sampling.min_p = float(fields.number("min_p", 0, {0, 1}));
  sampling.repetition_penalty = float(fields.number("repetition_penalty", 1, {0.01, 10}));
  sampling.ignore_end = fields.boolean("ignore_eos", false);
  sampling.stop = parse_stop(fields);
  if (fields.find("seed")) request.seed = uint64_t(fields.integer("seed", 0, {-0x1p63, 0x1p63 - 1024}));
  request.n = int(fields.integer("n", 1, {1, kMaxAnswers}));
  request.stream = fields.boolean("stream", false);
  if (const json* options = fields.find("stream_options")) {
    if (!options->is_object()) fields.wrong_type("stream_options", "an object", *options);
    if (!request.stream) fields.fail("stream_options", "is only allowed when stream is true");
    Fields inner(*options, "stream_options.");
    request.include_usage = inner.boolean("include_usage", false);
    inner.ignored({"include_obfuscation"});
    inner.end();
  }
  fields.unsupported("frequency_penalty");
  fields.unsupported("presence_penalty");
  fields.unsupported("logit_bias");
  fields.unsupported("logprobs");
  fields.ignored({"user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key"});
}

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
    if (const std::string type = part.text("type"); type != "text") {
      throw Failure::invalid(part_path + "type", part_path + "type is \"" + type + "\", and this model takes text only",
                             "unsupported_content");
    }
    if (i > 0) text += '\n';
    text += part.text("text");
    part.end();
  }
  return text;
}

ChatMessage parse_message(const json& message, size_t index) {
  const std::string path = fmt::format("messages[{}].", index);
  Fields fields(message, path);
  if (!message.is_object()) Fields(message).wrong_type(fmt::format("messages[{}]", index), "an object", message);
  ChatMessage parsed{.role = fields.text("role"), .content = {}};
  if (parsed.role == "developer") parsed.role = "system";  // the newer name
  if (parsed.role == "tool" || parsed.role == "function") {
    throw Failure::invalid(path + "role",
                           path + "role is \"" + parsed.role + "\", and tools are not supported by this server",
                           "unsupported_parameter");
  }
  if (parsed.role != "system" && parsed.role != "user" && parsed.role != "assistant") {
    fields.fail("role", "must be one of system, developer, user, assistant, it is \"" + parsed.role + "\"");
  }
  parsed.content = parse_content(fields.required("content"), path);
  for (const char* name : {"tool_calls", "function_call", "audio", "refusal"}) fields.unsupported(name);
  fields.ignored({"name"});
  fields.end();
  return parsed;
}

void parse_chat_output(Fields& fields) {
  if (const json* format = fields.find("response_format")) {
    if (!format->is_object()) fields.wrong_type("response_format", "an object", *format);
    Fields inner(*format, "response_format.");
    if (inner.text("type") != "text") {
      throw Failure::invalid("response_format",
                             "response_format other than {\"type\": \"text\"} is not supported by this server",
                             "unsupported_parameter");
    }
  }
  if (const json* modalities = fields.find("modalities"); modalities && *modalities != json::array({"text"})) {
    throw Failure::invalid("modalities", "modalities other than [\"text\"] are not supported by this server",
                           "unsupported_parameter");
  }
  for (const char* name : {"tools", "functions", "top_logprobs", "audio", "prediction", "web_search_options",
                           "reasoning_effort", "verbosity", "function_call"}) {
    fields.unsupported(name);
  }
  if (const json* choice = fields.find("tool_choice"); choice && *choice != "none" && *choice != "auto") {
    throw Failure::invalid("tool_choice", "tool_choice is not supported by this server", "unsupported_parameter");
  }
  fields.ignored({"parallel_tool_calls"});  // says nothing without tools
}

std::vector<int32_t> parse_ids(const Fields& fields, const json& ids) {
  std::vector<int32_t> parsed;
  for (const json& id : ids) {
    if (!id.is_number_integer()) fields.wrong_type("prompt", "text, token ids, or an array of one kind", id);
    const double value = id.get<double>();
    if (value < 0 || value > kMaxInt)
      fields.fail("prompt", "holds a token id that the model does not have: " + id.dump());
    parsed.push_back(id.get<int32_t>());
  }
  return parsed;
}

std::vector<Prompt> parse_prompts(Fields& fields) {
  const json& value = fields.required("prompt");
  if (value.is_string()) return {value.get<std::string>()};
  if (!value.is_array()) fields.wrong_type("prompt", "a string or an array", value);
  if (value.empty()) fields.fail("prompt", "must not be empty");
  if (value[0].is_number()) return {parse_ids(fields, value)};
  if (value.size() > kMaxPrompts) fields.fail("prompt", fmt::format("must hold at most {} prompts", kMaxPrompts));
  std::vector<Prompt> prompts;
  for (const json& item : value) {
    if (item.type() != value[0].type()) fields.wrong_type("prompt", "an array of one kind", item);
    if (item.is_string())
      prompts.emplace_back(item.get<std::string>());
    else if (item.is_array())
      prompts.emplace_back(parse_ids(fields, item));
    else
      fields.wrong_type("prompt", "text, token ids, or an array of one kind", item);
  }
  return prompts;
}

}  // namespace

ChatRequest parse_chat(std::string_view body) {
  const json object = parse_object(body);
  Fields fields(object);
  ChatRequest request;
  parse_common(fields, request);
  request.sampling.max_tokens = int(fields.integer("max_tokens", -1, {1, kMaxInt}));
  request.sampling.max_tokens = int(fields.integer("max_completion_tokens", request.sampling.max_tokens, {1, kMaxInt}));
  parse_chat_output(fields);
  const json& messages = fields.required("messages");
  if (!messages.is_array()) fields.wrong_type("messages", "an array", messages);
  if (messages.empty()) fields.fail("messages", "must not be empty");
  for (size_t i = 0; i < messages.size(); ++i) request.messages.push_back(parse_message(messages[i], i));
  fields.end();
  return request;
}

CompletionRequest parse_completion(std::string_view body) {
  const json object = parse_object(body);
  Fields fields(object);
  CompletionRequest request;
  parse_common(fields, request);
  request.sampling.max_tokens = int(fields.integer("max_tokens", 16, {1, kMaxInt}));  // OpenAI's default
  request.echo = fields.boolean("echo", false);
  for (const char* name : {"suffix", "best_of"}) {
    if (const json* value = fields.find(name); value && *value != 1) fields.unsupported(name);
  }
  request.prompts = parse_prompts(fields);
  fields.end();
  return request;
}

}  // namespace sedum::openai
