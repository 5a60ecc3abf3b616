#include "text/jinja/lexer.h"

#include <algorithm>

#include "base/error.h"
#include "text/unicode.h"

namespace sedum::jinja {

void template_error(int line, const std::string& reason) {
  throw Error("chat template, line " + std::to_string(line) + ": " + reason);
}

bool is_python_space(char32_t code) { return unicode::is_space(code) || (code >= 0x1C && code <= 0x1F); }

std::string_view strip_left(std::string_view text) {
  while (!text.empty()) {
    const unicode::Decoded c = unicode::decode(text.data(), text.data() + text.size());
    if (!is_python_space(c.code)) break;
    text.remove_prefix(size_t(c.length));
  }
  return text;
}

std::string_view strip_right(std::string_view text) {
  while (!text.empty()) {
    size_t begin = text.size() - 1;
    while (begin > 0 && text.size() - begin < 4 && (static_cast<unsigned char>(text[begin]) & 0xC0) == 0x80) begin--;
    const unicode::Decoded c = unicode::decode(text.data() + begin, text.data() + text.size());
    if (!is_python_space(c.code) || begin + size_t(c.length) != text.size()) break;
    text.remove_suffix(text.size() - begin);
  }
  return text;
}

namespace {

std::string normalize_newlines(std::string_view source) {
  std::string out;
  out.reserve(source.size());
  for (size_t i = 0; i < source.size(); i++) {
    if (source[i] == '\r') {
      out += '\n';
      if (i + 1 < source.size() && source[i + 1] == '\n') i++;
    } else {
      out += source[i];
    }
  }
  if (out.ends_with('\n')) out.pop_back();  // keep_trailing_newline is off
  return out;
}

class Lexer {
 public:
  explicit Lexer(std::string_view source) : source_(normalize_newlines(source)) {}

  std::vector<Token> run() {
    while (at_ < source_.size()) text_and_tag();
    tokens_.push_back({TokenType::kEnd, "", line_});
    return std::move(tokens_);
  }

 private:
  [[noreturn]] void fail(const std::string& reason) const { template_error(line_, reason); }
  std::string_view rest() const { return std::string_view(source_).substr(at_); }
  char peek(size_t offset = 0) const { return at_ + offset < source_.size() ? source_[at_ + offset] : '\0'; }
  bool looking_at(std::string_view text) const { return rest().starts_with(text); }
  void advance(size_t n) {
    line_ += int(std::count(source_.begin() + long(at_), source_.begin() + long(at_ + n), '\n'));
    at_ += n;
    line_starting_ = n > 0 && source_[at_ - 1] == '\n';
  }
  void push(TokenType type, std::string text) { tokens_.push_back({type, std::move(text), line_}); }
  void skip_space() { advance(rest().size() - strip_left(rest()).size()); }

  // Template text up to the next tag, then the tag.
  void text_and_tag() {
    size_t tag = at_;
    while (true) {
      tag = source_.find('{', tag);
      if (tag == std::string::npos || tag + 1 >= source_.size()) tag = source_.size();
      if (tag == source_.size() || source_[tag + 1] == '{' || source_[tag + 1] == '%' || source_[tag + 1] == '#') break;
      tag++;
    }
    std::string_view text(source_.data() + at_, tag - at_);
    const bool was_line_starting = line_starting_;
    if (tag < source_.size()) text = strip_before_tag(text, tag, was_line_starting);
    if (!text.empty()) push(TokenType::kText, std::string(text));
    advance(tag - at_);
    if (at_ >= source_.size()) return;
    const char kind = peek(1);
    const char sign = peek(2);
    advance(sign == '-' || sign == '+' ? 3 : 2);
    if (kind == '#') return comment();
    if (kind == '{') return tag_body(TokenType::kOutputBegin, TokenType::kOutputEnd, "}}");
    if (raw_block()) return;
    tag_body(TokenType::kBlockBegin, TokenType::kBlockEnd, "%}");
  }

  // lstrip_blocks: spaces between the start of a line and a block or comment go; a minus takes all whitespace.
  std::string_view strip_before_tag(std::string_view text, size_t tag, bool line_starting) const {
    const char sign = tag + 2 < source_.size() ? source_[tag + 2] : '\0';
    if (sign == '-') return strip_right(text);
    if (sign == '+' || source_[tag + 1] == '{') return text;
    const size_t line = text.rfind('\n') + 1;  // npos + 1 == 0
    if (line == 0 && !line_starting) return text;
    return strip_left(text.substr(line)).empty() ? text.substr(0, line) : text;
  }

  // At the end of a tag: "-%}" takes the whitespace behind it, "%}" one newline (trim_blocks, not for output), "+%}" nothing.
  bool tag_end(std::string_view close, bool trims) {
    if (looking_at("-" + std::string(close))) {
      advance(1 + close.size());
      skip_space();
    } else if (trims && looking_at("+" + std::string(close))) {
      advance(1 + close.size());
    } else if (looking_at(close)) {
      advance(close.size());
      if (trims && peek() == '\n') advance(1);
    } else {
      return false;
    }
    return true;
  }

  void comment() {
    const int begun = line_;
    while (at_ < source_.size()) {
      if (tag_end("#}", true)) return;
      advance(1);
    }
    template_error(begun, "a comment does not end");
  }

  // {% raw %} ... {% endraw %}; the opening "{%" has been read.
  bool raw_block() {
    const size_t start = at_;
    const int line = line_;
    const bool starting = line_starting_;
    skip_space();
    if (looking_at("raw")) {
      advance(3);
      skip_space();
      if (looking_at("-%}")) {
        advance(3), skip_space();
        return raw_text(), true;
      }
      if (looking_at("%}")) {
        advance(2);
        return raw_text(), true;
      }
    }
    at_ = start, line_ = line, line_starting_ = starting;
    return false;
  }

  void raw_text() {
    const int begun = line_;
    for (size_t tag = source_.find("{%", at_); tag != std::string::npos; tag = source_.find("{%", tag + 1)) {
      size_t name = tag + 2;
      if (name < source_.size() && (source_[name] == '-' || source_[name] == '+')) name++;
      const std::string_view after = strip_left(std::string_view(source_).substr(name));
      if (!after.starts_with("endraw")) continue;
      const std::string_view close = strip_left(after.substr(6));
      if (!close.starts_with("%}") && !close.starts_with("-%}") && !close.starts_with("+%}")) continue;
      const std::string_view text =
          strip_before_tag(std::string_view(source_).substr(at_, tag - at_), tag, line_starting_);
      if (!text.empty()) push(TokenType::kText, std::string(text));
      advance(size_t(close.data() - source_.data()) - at_);
      tag_end("%}", true);
      return;
    }
    template_error(begun, "a raw block does not end");
  }

  void tag_body(TokenType begin, TokenType end, std::string_view close) {
    push(begin, "");
    std::string brackets;  // what has to be closed first
    while (true) {
      skip_space();
      if (at_ >= source_.size()) fail("the tag does not end with " + std::string(close));
      if (brackets.empty()) {
        const int line = line_;
        if (tag_end(close, end == TokenType::kBlockEnd)) {
          tokens_.push_back({end, "", line});
          return;
        }
      }
      token(brackets);
    }
  }

  void token(std::string& brackets) {
    const char c = peek();
    if (c >= '0' && c <= '9') return number();
    if (c == '\'' || c == '"') return string(c);
    if (const size_t length = name_length()) {
      push(TokenType::kName, std::string(rest().substr(0, length)));
      return advance(length);
    }
    for (std::string_view op : {"//", "**", "==", "!=", "<=", ">=", "+", "-", "/", "*", "%", "~", "[",
                                "]",  "(",  ")",  "{",  "}",  ">",  "<", "=", ".", ":", "|", ",", ";"}) {
      if (!looking_at(op)) continue;
      balance(op[0], brackets);
      push(TokenType::kOperator, std::string(op));
      return advance(op.size());
    }
    fail("unexpected character '" +
         unicode::replace_invalid(
             rest().substr(0, size_t(unicode::decode(rest().data(), rest().data() + rest().size()).length))) +
         "'");
  }

  void balance(char c, std::string& brackets) const {
    if (c == '(') brackets += ')';
    if (c == '[') brackets += ']';
    if (c == '{') brackets += '}';
    if (c != ')' && c != ']' && c != '}') return;
    if (brackets.empty()) fail(std::string("unexpected '") + c + "'");
    if (brackets.back() != c) fail(std::string("unexpected '") + c + "', expected '" + brackets.back() + "'");
    brackets.pop_back();
  }

  size_t name_length() const {
    size_t n = 0;
    while (at_ + n < source_.size()) {
      const unicode::Decoded c = unicode::decode(source_.data() + at_ + n, source_.data() + source_.size());
      if (c.code != '_' && !unicode::is_word(c.code)) break;
      n += size_t(c.length);
    }
    return n;
  }

  size_t digits(size_t from, std::string_view allowed) const {
    size_t n = from;
    while (at_ + n < source_.size() &&
           (allowed.find(source_[at_ + n]) != std::string_view::npos || (n > from && source_[at_ + n] == '_')))
      n++;
    return n;
  }

  void number() {
    constexpr std::string_view kDecimal = "0123456789";
    const char base = char(peek(1) | 32);
    size_t n = 0;
    TokenType type = TokenType::kInteger;
    if (peek() == '0' && (base == 'x' || base == 'o' || base == 'b')) {
      n = digits(2, base == 'x' ? "0123456789abcdefABCDEF" : base == 'o' ? "01234567" : "01");
    } else {
      n = digits(0, kDecimal);
      const bool after_dot = at_ > 0 && source_[at_ - 1] == '.';  // a.0.1 are two subscripts
      if (!after_dot && peek(n) == '.' && kDecimal.find(peek(n + 1)) != std::string_view::npos && peek(n + 1)) {
        n = digits(n + 1, kDecimal);
        type = TokenType::kFloat;
      }
      if (!after_dot && (peek(n) | 32) == 'e') {
        const size_t sign = peek(n + 1) == '+' || peek(n + 1) == '-' ? 2 : 1;
        const size_t end = digits(n + sign, kDecimal);
        if (end > n + sign) n = end, type = TokenType::kFloat;
      }
    }
    std::string text(rest().substr(0, n));
    std::erase(text, '_');
    push(type, std::move(text));
    advance(n);
  }

  void string(char quote) {
    size_t end = 1;
    while (at_ + end < source_.size() && source_[at_ + end] != quote) end += source_[at_ + end] == '\\' ? 2 : 1;
    if (at_ + end >= source_.size()) fail("a string does not end");
    push(TokenType::kString, unescape(rest().substr(1, end - 1)));
    advance(end + 1);
  }

  // Python's escapes.
  std::string unescape(std::string_view text) const {
    std::string out;
    for (size_t i = 0; i < text.size(); i++) {
      if (text[i] != '\\' || i + 1 >= text.size()) {
        out += text[i];
        continue;
      }
      const char c = text[++i];
      constexpr std::string_view kFrom = "nrtabfv\\'\"", kTo = "\n\r\t\a\b\f\v\\'\"";
      if (const size_t simple = kFrom.find(c); simple != std::string_view::npos) {
        out += kTo[simple];
      } else if (c == 'x' || c == 'u' || c == 'U') {
        const size_t n = c == 'x' ? 2 : c == 'u' ? 4 : 8;
        append_code(out, text.substr(i + 1, n), n, 16);
        i += n;
      } else if (c >= '0' && c <= '7') {
        size_t n = 1;
        while (n < 3 && i + n < text.size() && text[i + n] >= '0' && text[i + n] <= '7') n++;
        append_code(out, text.substr(i, n), n, 8);
        i += n - 1;
      } else if (c != '\n') {
        out += '\\', out += c;
      }
    }
    return out;
  }

  void append_code(std::string& out, std::string_view digits_text, size_t expected, int base) const {
    uint32_t code = 0;
    for (char c : digits_text) {
      const int lower = c | 32;
      const int digit = c >= '0' && c <= '9' ? c - '0' : lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : 99;
      if (digit >= base) expected = 0;
      code = code * uint32_t(base) + uint32_t(digit);
    }
    if (digits_text.size() != expected || code >= 0x110000 || (code >= 0xD800 && code < 0xE000))
      fail("a string holds a wrong escape");
    unicode::append(out, code);
  }

  std::string source_;
  size_t at_ = 0;
  int line_ = 1;
  bool line_starting_ = true;
  std::vector<Token> tokens_;
};

}  // namespace

std::vector<Token> tokenize(std::string_view source) { return Lexer(source).run(); }

}  // namespace sedum::jinja
