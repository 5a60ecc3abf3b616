#include "serve/reader.h"

#include "base/json.h"

namespace sedum::serve {
using json = nlohmann::ordered_json;

Reader::Reader(const Options& options) : options_(options) {
  if (options_.kind == Kind::kParse) parser_.emplace(options_.syntax, options_.prompt, options_.tools);
}

Delta Reader::push(std::string_view text) {
  Delta delta;
  if (options_.kind == Kind::kPlain) {
    delta.content = text;
  } else if (options_.kind == Kind::kParse) {
    take(parser_->push(text), delta);
  } else {
    held_ += text;
    read_call(delta, false);
  }
  return delta;
}

Delta Reader::finish() {
  Delta delta;
  if (options_.kind == Kind::kParse) take(parser_->finish(), delta);
  if (options_.kind == Kind::kOneCall) read_call(delta, true);
  return delta;
}

void Reader::take(const std::vector<AnswerPiece>& pieces, Delta& delta) {
  for (const AnswerPiece& piece : pieces) {
    if (piece.kind == AnswerPiece::kReasoning) delta.reasoning += piece.text;
    if (piece.kind == AnswerPiece::kContent) delta.content += piece.text;
    if (piece.kind != AnswerPiece::kToolCall || (calls_ > 0 && !options_.parallel)) continue;
    const std::string id = piece.call.id.empty() ? random_id("call_") : piece.call.id;
    delta.calls.push_back({calls_++, id, piece.call.name, piece.call.arguments});
  }
}

// The text is {"name": "f", "arguments": A}: once the name is known, A is what follows the colon, up to the last brace.
void Reader::read_call(Delta& delta, bool last) {
  if (!in_call_) {
    static constexpr std::string_view kMark = "\"arguments\"";
    const size_t at = held_.find(kMark);
    const size_t colon = at == std::string::npos ? at : held_.find(':', at + kMark.size());
    if (colon == std::string::npos) return;
    const std::string before = held_.substr(0, held_.find_last_not_of(", \n\t", at - 1) + 1) + "}";
    const json head = try_parse_json<json>(before);
    if (!head.is_object() || !head.contains("name") || !head["name"].is_string()) return;
    delta.calls.push_back({0, random_id("call_"), head["name"].get<std::string>(), ""});
    in_call_ = true, calls_ = 1;
    held_.erase(0, colon + 1);
    held_.erase(0, std::min(held_.find_first_not_of(" \n\t"), held_.size()));
  }
  size_t end = held_.find_last_not_of("} \n\t") + 1;  // some of these braces close the call itself
  if (last) {
    end = held_.rfind('}');
    end = end == std::string::npos ? held_.size() : held_.find_last_not_of(" \n\t", end - 1) + 1;
  }
  if (end == 0) return;
  if (delta.calls.empty()) delta.calls.push_back({0, "", "", ""});
  delta.calls.back().arguments = held_.substr(0, end);
  held_.erase(0, end);
}

std::string forced_call_schema(const json& tools, const std::string& name) {
  json calls = json::array();
  for (const json& tool : tools) {
    const json& function = tool["function"];
    if (!name.empty() && function["name"] != name) continue;
    calls.push_back({{"type", "object"},
                     {"properties", {{"name", {{"const", function["name"]}}}, {"arguments", function["parameters"]}}},
                     {"required", {"name", "arguments"}},
                     {"additionalProperties", false}});
  }
  if (calls.empty())
    throw openai::Failure::invalid("tool_choice",
                                   name.empty() ? "tool_choice asks for a call, and there are no tools"
                                                : "tool_choice names \"" + name + "\", which is none of the tools",
                                   "invalid_value");
  return calls.size() == 1 ? calls[0].dump() : json{{"anyOf", std::move(calls)}}.dump();
}

}  // namespace sedum::serve
