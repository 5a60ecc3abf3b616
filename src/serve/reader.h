#pragma once
// An answer's text, taken apart as it comes: reasoning, content, calls of tools.
//
//   Reader reader({.kind = Reader::Kind::kTools, .syntax = model.syntax, .prompt = prompt_text});
//   Delta delta = reader.push(update.text);   delta = reader.finish();

#include <optional>
#include <string>
#include <string_view>

#include "serve/dialect.h"
#include "text/answer_parser.h"

namespace sedum::serve {

class Reader {
 public:
  enum class Kind {
    kPlain,    // all is content
    kParse,    // reasoning and, with `tools`, calls, as the model's family writes them
    kOneCall,  // the grammar made it {"name": …, "arguments": {…}}: a call whose arguments are passed on as they come
  };
  struct Options {
    Kind kind = Kind::kPlain;
    AnswerSyntax syntax = {};
    std::string prompt = {};  // rendered: it may leave a reasoning block open
    bool tools = false;
    bool parallel = true;  // false: calls after the first are left out
  };
  explicit Reader(const Options& options);
  Delta push(std::string_view text);
  Delta finish();

 private:
  void take(const std::vector<AnswerPiece>& pieces, Delta& delta);
  void read_call(Delta& delta, bool last);

  Options options_;
  std::optional<AnswerParser> parser_;
  size_t calls_ = 0;
  std::string held_;      // of kOneCall: what is not passed on yet
  bool in_call_ = false;  // its name is known
};

// The schema that a forced call obeys: one of the tools, or the one named. Failure when there is no such tool.
std::string forced_call_schema(const nlohmann::ordered_json& tools, const std::string& name);

}  // namespace sedum::serve
