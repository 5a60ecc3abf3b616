#pragma once
// What a model's answer holds: reasoning, words for the user, calls of tools. The way back from a chat template.
//
//   const AnswerSyntax syntax = answer_syntax(chat.source());
//   // (decode without skipping marker_ids(syntax, tokenizer): some markers are special tokens)
//   AnswerParser parser(syntax, prompt_text);
//   for (int32_t id : ids)
//     for (const AnswerPiece& piece : parser.push(decoder.push(id))) ...     // reasoning and content as they come, calls when whole
//   for (const AnswerPiece& piece : parser.finish()) ...
//
// What looks like a call and is none (broken JSON, no name) comes back as content, exactly as the model wrote it.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "text/tokenizer.h"

namespace sedum {

// How a family writes calls of tools.
enum class ToolSyntax {
  kNone,
  kHermes,  // <tool_call>{"name": …, "arguments": {…}}</tool_call>: Hermes, Qwen2.5, Qwen3, SmolLM3;
            // or <tool_call><function=f><parameter=x>…</parameter></function></tool_call>: Qwen3-Coder
  kLlama3,  // {"name": …, "parameters": {…}} as the whole answer, or behind <|python_tag|>; <|python_tag|>f.call(x="…")
  kMistral,  // [TOOL_CALLS] [{"name": …, "arguments": {…}, "id": …}], [TOOL_CALLS]f[ARGS]{…}, [TOOL_CALLS]f{…}
  kDeepSeek,  // <｜tool▁call▁begin｜>function<｜tool▁sep｜>f\n```json\n{…}\n```<｜tool▁call▁end｜>, and V3.1's without the frame
  kPhi,       // <|tool_call|>[{"name": …, "arguments": {…}}]<|/tool_call|>: Phi-4; Granite writes no end
};

struct AnswerSyntax {
  ToolSyntax tools = ToolSyntax::kNone;
  std::string think_begin = "<think>", think_end = "</think>";  // looked for at the beginning of an answer
};

// The family by what its chat template writes.
AnswerSyntax answer_syntax(std::string_view chat_template);

// Tokens of the vocabulary that the parser must see though they are special.
std::vector<int32_t> marker_ids(const AnswerSyntax& syntax, const Tokenizer& tokenizer);

struct ToolCall {
  std::string name;
  std::string arguments;  // a JSON object as text
  std::string id;         // "" where the family has none: the caller makes one up
};

struct AnswerPiece {
  enum Kind { kReasoning, kContent, kToolCall };
  Kind kind;
  std::string text;  // not empty, but for a call
  ToolCall call = {};
};

class AnswerParser {
 public:
  // `prompt` is the rendered prompt, or its end: where it leaves a reasoning block open the answer begins inside it.
  // Without `tools` (the request offered none) calls are content.
  explicit AnswerParser(AnswerSyntax syntax, std::string_view prompt = {}, bool tools = true);
  std::vector<AnswerPiece> push(std::string_view text);
  std::vector<AnswerPiece> finish();  // what was held back

 private:
  enum class State { kStart, kReasoning, kContent, kBareJson, kCall };
  bool step(bool last);  // false: needs more text
  bool start(bool last);
  bool reasoning(bool last);
  bool content(bool last);
  bool bare_json(bool last);
  bool call(bool last);
  void finish_call(std::string_view body, size_t consumed);
  void emit(AnswerPiece::Kind kind, std::string_view text);
  void emit_text(AnswerPiece::Kind kind, size_t length, bool before_marker);
  void enter_content(size_t consumed, bool trim);
  bool can_begin_bare_call() const;

  AnswerSyntax syntax_;
  std::string tool_begin_, tool_end_;  // empty: the family has none
  State state_ = State::kStart;
  std::string buffer_;  // not given out yet
  std::string space_;   // whitespace that stands at the end of what was given out, held back: dropped before a marker
  size_t scanned_ = 0;  // bytes of `buffer_` in which no end was found
  bool trim_ = false;   // drop whitespace until something else comes
  bool calls_ = false;  // a call has been found
  std::vector<AnswerPiece> out_;
};

// Convenience for whole answers.
struct Answer {
  std::string reasoning, content;
  std::vector<ToolCall> tool_calls;
};
Answer parse_answer(const AnswerSyntax& syntax, std::string_view text, std::string_view prompt = {}, bool tools = true);

}  // namespace sedum
