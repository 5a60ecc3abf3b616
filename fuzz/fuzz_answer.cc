// Answers of models: read back in every syntax, in one piece and byte by byte, which must agree. Nothing may be thrown.

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "text/answer_parser.h"

namespace {

void take(sedum::Answer& answer, const std::vector<sedum::AnswerPiece>& pieces) {
  for (const sedum::AnswerPiece& piece : pieces) {
    if (piece.kind == sedum::AnswerPiece::kReasoning) answer.reasoning += piece.text;
    if (piece.kind == sedum::AnswerPiece::kContent) answer.content += piece.text;
    if (piece.kind == sedum::AnswerPiece::kToolCall) answer.tool_calls.push_back(piece.call);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  using sedum::ToolSyntax;
  for (const ToolSyntax tools : {ToolSyntax::kNone, ToolSyntax::kHermes, ToolSyntax::kLlama3, ToolSyntax::kMistral,
                                 ToolSyntax::kDeepSeek, ToolSyntax::kPhi}) {
    sedum::AnswerSyntax syntax;
    syntax.tools = tools;
    const sedum::Answer whole = sedum::parse_answer(syntax, text);
    sedum::AnswerParser parser(syntax);
    sedum::Answer cut;
    for (const char c : text) take(cut, parser.push(std::string_view(&c, 1)));
    take(cut, parser.finish());
    if (cut.reasoning != whole.reasoning) std::abort();
    if (cut.tool_calls.empty() && whole.tool_calls.empty() && cut.content != whole.content) std::abort();
  }
  return 0;
}
