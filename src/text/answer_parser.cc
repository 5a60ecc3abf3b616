#include "text/answer_parser.h"

#include <algorithm>
#include <utility>

#include "text/tool_calls.h"

namespace sedum {

namespace {

constexpr std::string_view kSpace = " \t\r\n";
constexpr size_t kNone = std::string_view::npos;

// How many bytes at the end of `text` may be the beginning of `marker`.
size_t partial_marker(std::string_view text, std::string_view marker) {
  for (size_t n = std::min(text.size(), marker.size() - 1); n > 0; n--)
    if (text.ends_with(marker.substr(0, n))) return n;
  return 0;
}

struct Markers {
  std::string_view begin, end;
};
// An empty end: to the end of the answer.
Markers markers_of(ToolSyntax tools) {
  switch (tools) {
    case ToolSyntax::kHermes:
      return {"<tool_call>", "</tool_call>"};
    case ToolSyntax::kLlama3:
      return {"<|python_tag|>", ""};
    case ToolSyntax::kMistral:
      return {"[TOOL_CALLS]", ""};
    case ToolSyntax::kDeepSeek:
      return {"<｜tool▁call▁begin｜>", "<｜tool▁call▁end｜>"};
    case ToolSyntax::kPhi:
      return {"<|tool_call|>", "<|/tool_call|>"};
    case ToolSyntax::kNone:
      break;
  }
  return {};
}

// What frames DeepSeek's calls and says nothing.
constexpr std::string_view kDeepSeekFrames[] = {"<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>"};

bool parse_calls(ToolSyntax tools, std::string_view body, std::vector<ToolCall>& calls) {
  switch (tools) {
    case ToolSyntax::kHermes:
      return parse_json_calls(body, calls) || parse_xml_call(body, calls);
    case ToolSyntax::kLlama3:
      return parse_python_tag(body, calls);
    case ToolSyntax::kMistral:
      return parse_mistral_calls(body, calls);
    case ToolSyntax::kDeepSeek:
      return parse_deepseek_call(body, calls);
    case ToolSyntax::kPhi:
      return parse_json_calls(body, calls);
    case ToolSyntax::kNone:
      break;
  }
  return false;
}

}  // namespace

AnswerSyntax answer_syntax(std::string_view chat_template) {
  const auto writes = [chat_template](std::string_view text) { return chat_template.find(text) != kNone; };
  AnswerSyntax syntax;
  if (writes("[THINK]")) syntax.think_begin = "[THINK]", syntax.think_end = "[/THINK]";
  if (writes("[TOOL_CALLS]")) {
    syntax.tools = ToolSyntax::kMistral;
  } else if (writes("<｜tool▁call▁begin｜>")) {
    syntax.tools = ToolSyntax::kDeepSeek;
  } else if (writes("<|python_tag|>") || (writes("<|start_header_id|>") && writes("\"parameters\": "))) {
    syntax.tools = ToolSyntax::kLlama3;
  } else if (writes("<|tool_call|>") || writes("<|tool|>")) {  // Phi-4-mini's template writes tools alone
    syntax.tools = ToolSyntax::kPhi;
  } else if (writes("<tool_call>")) {
    syntax.tools = ToolSyntax::kHermes;
  }
  return syntax;
}

std::vector<int32_t> marker_ids(const AnswerSyntax& syntax, const Tokenizer& tokenizer) {
  const Markers markers = markers_of(syntax.tools);
  std::vector<std::string_view> texts = {syntax.think_begin, syntax.think_end, markers.begin, markers.end};
  if (syntax.tools == ToolSyntax::kMistral) texts.insert(texts.end(), {"[ARGS]", "[CALL_ID]"});
  if (syntax.tools == ToolSyntax::kDeepSeek)
    texts.insert(texts.end(), {kDeepSeekFrames[0], kDeepSeekFrames[1], "<｜tool▁sep｜>"});
  std::vector<int32_t> ids;
  for (const std::string_view text : texts) {
    const auto id = text.empty() ? std::nullopt : tokenizer.id_of(text);
    if (id && tokenizer.is_special(*id)) ids.push_back(*id);
  }
  return ids;
}

AnswerParser::AnswerParser(AnswerSyntax syntax, std::string_view prompt, bool tools) : syntax_(std::move(syntax)) {
  if (!tools) syntax_.tools = ToolSyntax::kNone;
  tool_begin_ = markers_of(syntax_.tools).begin, tool_end_ = markers_of(syntax_.tools).end;
  const size_t end = prompt.find_last_not_of(kSpace);
  if (end != kNone && prompt.substr(0, end + 1).ends_with(syntax_.think_begin))
    state_ = State::kReasoning, trim_ = true;
}

std::vector<AnswerPiece> AnswerParser::push(std::string_view text) {
  buffer_ += text;
  while (!buffer_.empty() && step(false)) {
  }
  return std::exchange(out_, {});
}

std::vector<AnswerPiece> AnswerParser::finish() {
  while (!buffer_.empty() && step(true)) {
  }
  if (!calls_ && state_ != State::kReasoning) emit(AnswerPiece::kContent, std::exchange(space_, {}));
  space_.clear();
  return std::exchange(out_, {});
}

bool AnswerParser::step(bool last) {
  switch (state_) {
    case State::kStart:
      return start(last);
    case State::kReasoning:
      return reasoning(last);
    case State::kContent:
      return content(last);
    case State::kBareJson:
      return bare_json(last);
    case State::kCall:
      return call(last);
  }
  return false;
}

void AnswerParser::emit(AnswerPiece::Kind kind, std::string_view text) {
  if (text.empty()) return;
  if (!out_.empty() && out_.back().kind == kind) {
    out_.back().text += text;
  } else {
    out_.push_back({kind, std::string(text)});
  }
}

// Gives out the first `length` bytes of the buffer but for whitespace at the end, which may turn out to stand before a marker.
void AnswerParser::emit_text(AnswerPiece::Kind kind, size_t length, bool before_marker) {
  std::string_view text = std::string_view(buffer_).substr(0, length);
  if (trim_) text.remove_prefix(std::min(text.find_first_not_of(kSpace), text.size()));
  if (!text.empty()) trim_ = false;
  const size_t last = text.find_last_not_of(kSpace);
  if (last == kNone) {
    space_ += text;
  } else {
    emit(kind, std::exchange(space_, {}));
    emit(kind, text.substr(0, last + 1));
    space_ = text.substr(last + 1);
  }
  if (before_marker) space_.clear();
  buffer_.erase(0, length);
}

void AnswerParser::enter_content(size_t consumed, bool trim) {
  buffer_.erase(0, consumed);
  state_ = State::kContent, trim_ = trim, scanned_ = 0;
}

bool AnswerParser::can_begin_bare_call() const { return syntax_.tools == ToolSyntax::kLlama3; }

// Whitespace, then the reasoning's marker or a bare call, or content.
bool AnswerParser::start(bool last) {
  // A semicolon or a line break stands between calls.
  const size_t first = buffer_.find_first_not_of(calls_ ? "; \t\r\n" : kSpace);
  if (calls_) buffer_.erase(0, std::min(first, buffer_.size()));
  if (calls_ && first != kNone && first > 0) return true;
  if (first == kNone) {
    if (last) enter_content(0, trim_);
    return last;
  }
  const std::string_view text = std::string_view(buffer_).substr(first), marker = syntax_.think_begin;
  if (text.starts_with(marker)) {
    buffer_.erase(0, first + marker.size());
    state_ = State::kReasoning, trim_ = true;
    return true;
  }
  if (!last && text.size() < marker.size() && marker.starts_with(text)) return false;
  if (can_begin_bare_call() && text[0] == '{') {
    state_ = State::kBareJson, scanned_ = 0;
  } else {
    enter_content(0, trim_);
  }
  return true;
}

bool AnswerParser::reasoning(bool last) {
  const size_t end = buffer_.find(syntax_.think_end);
  if (end == kNone) {
    emit_text(AnswerPiece::kReasoning, buffer_.size() - (last ? 0 : partial_marker(buffer_, syntax_.think_end)), last);
    return false;
  }
  emit_text(AnswerPiece::kReasoning, end, true);
  buffer_.erase(0, syntax_.think_end.size());
  state_ = can_begin_bare_call() ? State::kStart : State::kContent;
  trim_ = true;
  return true;
}

bool AnswerParser::content(bool last) {
  if (tool_begin_.empty()) return emit_text(AnswerPiece::kContent, buffer_.size(), false), false;
  size_t marker = buffer_.find(tool_begin_), length = tool_begin_.size(), held = partial_marker(buffer_, tool_begin_);
  bool frame = false;
  if (syntax_.tools == ToolSyntax::kDeepSeek) {
    for (const std::string_view text : kDeepSeekFrames) {
      const size_t at = buffer_.find(text);
      if (at < marker) marker = at, length = text.size(), frame = true;
      held = std::max(held, partial_marker(buffer_, text));
    }
  }
  if (marker == kNone) return emit_text(AnswerPiece::kContent, buffer_.size() - (last ? 0 : held), false), false;
  // The whitespace before a call is dropped with it, but not before it is sure that it is one.
  emit_text(AnswerPiece::kContent, marker, false);
  if (frame) {
    space_.clear();
    buffer_.erase(0, length);
    trim_ = true;
    return true;
  }
  state_ = State::kCall, scanned_ = length;
  return true;
}

// Llama 3 calls a tool by an answer that is nothing but JSON.
bool AnswerParser::bare_json(bool last) {
  const bool may_be_closed = last || buffer_.find('}', scanned_) != kNone;
  scanned_ = buffer_.size();
  if (!may_be_closed) return false;
  const size_t first = buffer_.find_first_not_of(kSpace);
  const std::string_view text = std::string_view(buffer_).substr(std::min(first, buffer_.size()));
  const size_t end = text.starts_with('{') ? json_end(text) : kTooDeep;
  if (end == kNone && !last) return false;
  std::vector<ToolCall> calls;
  if (end >= kTooDeep || !parse_json_calls(text.substr(0, end), calls)) return enter_content(0, trim_), true;
  calls_ = true;
  for (ToolCall& c : calls) out_.push_back({AnswerPiece::kToolCall, "", std::move(c)});
  buffer_.erase(0, first + end);
  state_ = State::kStart, trim_ = true;
  return true;
}

// The buffer begins with the marker.
bool AnswerParser::call(bool last) {
  const size_t begin = tool_begin_.size();
  if (tool_end_.empty()) {
    if (!last) return false;
    finish_call(std::string_view(buffer_).substr(begin), buffer_.size());
    return true;
  }
  const size_t end = buffer_.find(tool_end_, scanned_);
  if (end == kNone) {
    if (last) return finish_call(std::string_view(buffer_).substr(begin), buffer_.size()), true;
    scanned_ = std::max(begin, buffer_.size() - std::min(buffer_.size(), tool_end_.size() - 1));
    return false;
  }
  std::vector<ToolCall> probe;
  const std::string_view body = std::string_view(buffer_).substr(begin, end - begin);
  // The end's text may stand inside a string of the JSON: then a later one closes the call.
  if (!last && !parse_calls(syntax_.tools, body, probe) && body.find('{') != kNone &&
      json_end(body.substr(body.find('{'))) == kNone) {
    scanned_ = end + tool_end_.size();
    return true;
  }
  finish_call(body, end + tool_end_.size());
  return true;
}

// A body that is no call becomes content, marker and all.
void AnswerParser::finish_call(std::string_view body, size_t consumed) {
  std::vector<ToolCall> calls;
  if (parse_calls(syntax_.tools, body, calls)) {
    calls_ = true;
    space_.clear();
    for (ToolCall& c : calls) out_.push_back({AnswerPiece::kToolCall, "", std::move(c)});
    return enter_content(consumed, true);
  }
  emit(AnswerPiece::kContent, std::exchange(space_, {}));
  emit(AnswerPiece::kContent, std::string_view(buffer_).substr(0, consumed));
  enter_content(consumed, false);
}

Answer parse_answer(const AnswerSyntax& syntax, std::string_view text, std::string_view prompt, bool tools) {
  Answer answer;
  AnswerParser parser(syntax, prompt, tools);
  const auto take = [&answer](std::vector<AnswerPiece> pieces) {
    for (AnswerPiece& piece : pieces) {
      if (piece.kind == AnswerPiece::kToolCall) answer.tool_calls.push_back(std::move(piece.call));
      if (piece.kind == AnswerPiece::kReasoning) answer.reasoning += piece.text;
      if (piece.kind == AnswerPiece::kContent) answer.content += piece.text;
    }
  };
  take(parser.push(text));
  take(parser.finish());
  return answer;
}

}  // namespace sedum
