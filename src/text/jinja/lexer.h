#pragma once
// Cuts a template's source into tokens, with the whitespace control of trim_blocks and lstrip_blocks.

#include <string>
#include <string_view>
#include <vector>

namespace sedum::jinja {

enum class TokenType {
  kText,
  kBlockBegin,
  kBlockEnd,
  kOutputBegin,
  kOutputEnd,
  kName,
  kString,
  kInteger,
  kFloat,
  kOperator,
  kEnd
};

struct Token {
  TokenType type;
  std::string text;  // strings: unescaped
  int line;
};

// Throws Error that names the line.
std::vector<Token> tokenize(std::string_view source);

[[noreturn]] void template_error(int line, const std::string& reason);

// What Python's str.strip and \s take for whitespace.
bool is_python_space(char32_t code);
std::string_view strip_left(std::string_view text);
std::string_view strip_right(std::string_view text);

}  // namespace sedum::jinja
