#include "text/tool_calls.h"

#include <algorithm>
#include <cctype>

#include "base/json.h"

namespace sedum {

namespace {

using Json = nlohmann::ordered_json;

constexpr int kMaxDepth = 200;
constexpr std::string_view kSpace = " \t\r\n";

std::string_view trimmed(std::string_view text) {
  const size_t begin = text.find_first_not_of(kSpace);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kSpace) + 1 - begin);
}

std::string dumped(const Json& json) { return json.dump(-1, ' ', false, Json::error_handler_t::replace); }

// A JSON value no deeper than kMaxDepth: what follows walks it by recursion.
Json parsed(std::string_view text) {
  int depth = 0;
  const auto too_deep = [&depth](int level, Json::parse_event_t, Json&) {
    depth = std::max(depth, level);
    return level < kMaxDepth;
  };
  Json json = Json::parse(text, too_deep, false);
  return depth >= kMaxDepth ? Json(Json::value_t::discarded) : json;
}

// {"name": "f", "arguments": {…}}; Llama says "parameters", others wrap it as {"type": "function", "function": {…}}; arguments may be
// written as text.
bool read_call(const Json& json, std::vector<ToolCall>& calls) {
  if (!json.is_object()) return false;
  if (const auto inner = json.find("function"); inner != json.end() && inner->is_object())
    return read_call(*inner, calls);
  ToolCall call;
  for (const char* key : {"name", "function", "tool_name"}) {
    const auto name = json.find(key);
    if (name != json.end() && name->is_string()) call.name = name->get<std::string>();
    if (!call.name.empty()) break;
  }
  if (call.name.empty()) return false;
  call.arguments = "{}";
  for (const char* key : {"arguments", "parameters"}) {
    const auto arguments = json.find(key);
    if (arguments == json.end() || arguments->is_null()) continue;
    const Json value = arguments->is_string() ? parsed(arguments->get_ref<const std::string&>()) : *arguments;
    if (!value.is_object()) return false;
    call.arguments = dumped(value);
    break;
  }
  const auto id = json.find("id");
  if (id != json.end() && id->is_string()) call.id = id->get<std::string>();
  calls.push_back(std::move(call));
  return true;
}

bool read_calls(const Json& json, std::vector<ToolCall>& calls) {
  if (!json.is_array()) return read_call(json, calls);
  for (const Json& item : json)
    if (!read_call(item, calls)) return false;
  return !json.empty();
}

// Runs `read` on a copy, so that a failure half-way leaves nothing.
template <class Read>
bool all_or_nothing(std::vector<ToolCall>& calls, Read read) {
  std::vector<ToolCall> found;
  if (!read(found) || found.empty()) return false;
  calls.insert(calls.end(), std::make_move_iterator(found.begin()), std::make_move_iterator(found.end()));
  return true;
}

bool is_name(std::string_view text) {
  if (text.empty() || text.size() > 256) return false;
  for (const char c : text)
    if (!std::isalnum(static_cast<unsigned char>(c)) && c != '_' && c != '-' && c != '.') return false;
  return true;
}

// What a value in a call's text stands for: JSON where it is JSON, else the text itself.
Json loose_value(std::string_view text) {
  Json value = parsed(text);
  return value.is_discarded() ? Json(std::string(text)) : value;
}

// A Python string literal or anything JSON: the value at text[0], and how far it goes; npos: none.
size_t python_value(std::string_view text, Json& value) {
  if (text.empty()) return std::string_view::npos;
  const char quote = text[0];
  if (quote == '"' || quote == '\'') {
    std::string out;
    for (size_t i = 1; i < text.size(); i++) {
      if (text[i] == quote) return value = out, i + 1;
      if (text[i] == '\\' && i + 1 < text.size()) {
        const char c = text[++i];
        out += c == 'n' ? '\n' : c == 't' ? '\t' : c == 'r' ? '\r' : c;
      } else {
        out += text[i];
      }
    }
    return std::string_view::npos;
  }
  size_t end = text.find_first_of(",)");
  if (quote == '{' || quote == '[') {
    end = json_end(text);
    if (end == kTooDeep) end = std::string_view::npos;
  }
  if (end == std::string_view::npos) return end;
  const std::string_view word = trimmed(text.substr(0, end));
  value = word == "True" ? Json(true) : word == "False" ? Json(false) : word == "None" ? Json() : parsed(word);
  return value.is_discarded() ? std::string_view::npos : end;
}

// name.call(key=value, …)
bool parse_builtin(std::string_view body, std::vector<ToolCall>& calls) {
  const size_t open = body.find(".call(");
  if (open == std::string_view::npos || !is_name(body.substr(0, open))) return false;
  Json arguments = Json::object();
  std::string_view rest = trimmed(body.substr(open + 6));
  while (!rest.empty() && rest[0] != ')') {
    const size_t equals = rest.find('=');
    if (equals == std::string_view::npos) return false;
    const std::string key(trimmed(rest.substr(0, equals)));
    rest = trimmed(rest.substr(equals + 1));
    Json value;
    const size_t end = python_value(rest, value);
    if (!is_name(key) || end == std::string_view::npos) return false;
    arguments[key] = std::move(value);
    rest = trimmed(rest.substr(end));
    if (rest.starts_with(',')) rest = trimmed(rest.substr(1));
  }
  if (rest != ")") return false;
  calls.push_back({std::string(body.substr(0, open)), dumped(arguments), ""});
  return true;
}

}  // namespace

size_t json_end(std::string_view text) {
  bool quoted = false;
  int depth = 0;
  for (size_t i = 0; i < text.size(); i++) {
    const char c = text[i];
    if (quoted) {
      if (c == '\\') i++;
      if (c == '"') quoted = false;
    } else if (c == '"') {
      quoted = true;
    } else if (c == '{' || c == '[') {
      if (++depth >= kMaxDepth) return kTooDeep;
    } else if ((c == '}' || c == ']') && --depth == 0) {
      return i + 1;
    }
  }
  return std::string_view::npos;
}

bool parse_json_calls(std::string_view body, std::vector<ToolCall>& calls) {
  return all_or_nothing(calls, [body](std::vector<ToolCall>& found) {
    std::string_view rest = trimmed(body);
    while (!rest.empty()) {
      if (rest[0] != '{' && rest[0] != '[') return false;
      const size_t end = json_end(rest);
      if (end >= kTooDeep || !read_calls(parsed(rest.substr(0, end)), found)) return false;
      rest = trimmed(rest.substr(end));
      if (rest.starts_with(';') || rest.starts_with(',')) rest = trimmed(rest.substr(1));
    }
    return true;
  });
}

bool parse_xml_call(std::string_view body, std::vector<ToolCall>& calls) {
  body = trimmed(body);
  constexpr std::string_view kFunction = "<function=", kFunctionEnd = "</function>",
                             kParameter = "<parameter=", kParameterEnd = "</parameter>";
  if (!body.starts_with(kFunction)) return false;
  const size_t name_end = body.find('>');
  if (name_end == std::string_view::npos) return false;
  const std::string_view name = body.substr(kFunction.size(), name_end - kFunction.size());
  if (!is_name(name)) return false;
  Json arguments = Json::object();
  std::string_view rest = trimmed(body.substr(name_end + 1));
  while (rest.starts_with(kParameter)) {
    const size_t key_end = rest.find('>'), end = rest.find(kParameterEnd);
    if (key_end == std::string_view::npos || end == std::string_view::npos || end < key_end) return false;
    std::string_view value = rest.substr(key_end + 1, end - key_end - 1);
    if (value.starts_with('\n')) value.remove_prefix(1);  // the frame's line breaks, no part of the value
    if (value.ends_with('\n')) value.remove_suffix(1);
    arguments[std::string(rest.substr(kParameter.size(), key_end - kParameter.size()))] = loose_value(value);
    rest = trimmed(rest.substr(end + kParameterEnd.size()));
  }
  if (!rest.empty() && rest != kFunctionEnd) return false;
  calls.push_back({std::string(name), dumped(arguments), ""});
  return true;
}

bool parse_python_tag(std::string_view body, std::vector<ToolCall>& calls) {
  body = trimmed(body);
  if (body.empty()) return false;
  if (parse_json_calls(body, calls) || parse_builtin(body, calls)) return true;
  calls.push_back({"code_interpreter", dumped({{"code", std::string(body)}}), ""});
  return true;
}

bool parse_mistral_calls(std::string_view body, std::vector<ToolCall>& calls) {
  body = trimmed(body);
  if (body.starts_with('[') || body.starts_with('{')) return parse_json_calls(body, calls);
  constexpr std::string_view kNext = "[TOOL_CALLS]", kArguments = "[ARGS]", kId = "[CALL_ID]";
  return all_or_nothing(calls, [=](std::vector<ToolCall>& found) {
    std::string_view rest = body;
    while (!rest.empty()) {
      // Tokenizers between v3 and v11 have no [ARGS]: the object follows the name.
      const size_t open = rest.find(kArguments), brace = rest.find('{');
      if (brace == std::string_view::npos) return false;
      const bool marked = open < brace;
      std::string_view name = rest.substr(0, marked ? open : brace), id;
      if (const size_t at = name.find(kId); at != std::string_view::npos)
        id = trimmed(name.substr(at + kId.size())), name = name.substr(0, at);
      rest = trimmed(rest.substr(marked ? open + kArguments.size() : brace));
      const size_t end = json_end(rest);
      if (!rest.starts_with('{') || end >= kTooDeep || !is_name(trimmed(name))) return false;
      const Json arguments = parsed(rest.substr(0, end));
      if (!arguments.is_object()) return false;
      found.push_back({std::string(trimmed(name)), dumped(arguments), std::string(id)});
      rest = trimmed(rest.substr(end));
      if (rest.starts_with(kNext)) rest = trimmed(rest.substr(kNext.size()));
    }
    return true;
  });
}

bool parse_deepseek_call(std::string_view body, std::vector<ToolCall>& calls) {
  constexpr std::string_view kSeparator = "<｜tool▁sep｜>", kFrame = "```json", kFrameEnd = "```";
  const size_t at = body.find(kSeparator);
  if (at == std::string_view::npos) return false;
  std::string_view name = trimmed(body.substr(0, at)), rest = trimmed(body.substr(at + kSeparator.size()));
  if (name == "function" && rest.find('\n') != std::string_view::npos) {
    name = trimmed(rest.substr(0, rest.find('\n')));
    rest = trimmed(rest.substr(rest.find('\n')));
  }
  if (rest.starts_with(kFrame)) rest.remove_prefix(kFrame.size());
  if (rest.ends_with(kFrameEnd)) rest.remove_suffix(kFrameEnd.size());
  const Json arguments = parsed(trimmed(rest));
  if (!arguments.is_object() || !is_name(name)) return false;
  calls.push_back({std::string(name), dumped(arguments), ""});
  return true;
}

}  // namespace sedum
