#pragma once
// The expressions of the grammar; parser.cc adds the statements.

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <initializer_list>

#include "text/jinja/ast.h"
#include "text/jinja/lexer.h"

namespace sedum::jinja {

using enum ExprKind;  // inside the class g++ 12 cannot compile it

// The expression grammar (Jinja's documentation, "Expressions"); each level is one precedence.
class ExpressionParser {
 public:
  ExpressionParser(std::vector<Token> tokens, int max_depth) : tokens_(std::move(tokens)), max_depth_(max_depth) {}

 protected:
  const Token& current() const { return tokens_[at_]; }
  const Token& ahead() const { return tokens_[std::min(at_ + 1, tokens_.size() - 1)]; }
  const Token& next() { return tokens_[at_ + 1 < tokens_.size() ? at_++ : at_]; }
  static bool is(const Token& t, TokenType type, std::string_view text) { return t.type == type && t.text == text; }
  bool at_operator(std::string_view op) const { return is(current(), TokenType::kOperator, op); }
  bool at_name(std::string_view name) const { return is(current(), TokenType::kName, name); }
  bool skip_operator(std::string_view op) { return at_operator(op) && (next(), true); }
  bool skip_name(std::string_view name) { return at_name(name) && (next(), true); }
  [[noreturn]] void fail(const std::string& reason) const { template_error(current().line, reason); }
  std::string shown() const {
    switch (current().type) {
      case TokenType::kEnd:
        return "end of template";
      case TokenType::kBlockEnd:
        return "end of statement block";
      case TokenType::kOutputEnd:
        return "end of print statement";
      case TokenType::kText:
        return "template text";
      default:
        return "'" + current().text + "'";
    }
  }
  void expect_operator(std::string_view op) {
    if (!skip_operator(op)) fail("expected '" + std::string(op) + "', got " + shown());
  }
  std::string expect_name() {
    if (current().type != TokenType::kName) fail("expected a name, got " + shown());
    return next().text;
  }

  // Counts recursion of the grammar itself.
  struct Nesting {
    explicit Nesting(ExpressionParser& p) : parser(p) {
      if (++parser.depth_ > parser.max_depth_) parser.fail("nested deeper than " + std::to_string(parser.max_depth_));
    }
    ~Nesting() { parser.depth_--; }
    Nesting(const Nesting&) = delete;
    ExpressionParser& parser;
  };

  // Chains (a.b.c, a + b + c) nest the tree without nesting the grammar.
  template <class... Children>
  ExprPtr make(ExprKind kind, int line, std::string text, Children... children) {
    auto e = std::make_unique<Expr>();
    e->kind = kind, e->line = line, e->text = std::move(text);
    (e->children.push_back(std::move(children)), ...);
    return finished(std::move(e));
  }
  ExprPtr finished(ExprPtr e) const {
    const auto deepen = [&](const ExprPtr& child) {
      if (child) e->depth = std::max(e->depth, child->depth + 1);
    };
    for (const ExprPtr& child : e->children) deepen(child);
    for (const ExprPtr& child : e->arguments.positional) deepen(child);
    for (const auto& [name, child] : e->arguments.named) deepen(child);
    deepen(e->arguments.spread), deepen(e->arguments.named_spread);
    if (e->depth > 4 * max_depth_)
      template_error(e->line, "expression longer than " + std::to_string(4 * max_depth_) + " links");
    return e;
  }
  ExprPtr constant(Value value, int line) {
    ExprPtr e = make(kConstant, line, "");
    e->constant = std::move(value);
    return e;
  }

  ExprPtr expression() {
    const Nesting nesting(*this);
    ExprPtr value = disjunction();
    while (at_name("if")) {
      const int line = next().line;
      ExprPtr condition = disjunction();
      ExprPtr otherwise = skip_name("else") ? expression() : nullptr;
      value = make(kCondition, line, "", std::move(value), std::move(condition), std::move(otherwise));
    }
    return value;
  }

  ExprPtr disjunction() {
    ExprPtr left = conjunction();
    while (at_name("or")) {
      const int line = next().line;
      left = make(kBinary, line, "or", std::move(left), conjunction());
    }
    return left;
  }

  ExprPtr conjunction() {
    ExprPtr left = negation();
    while (at_name("and")) {
      const int line = next().line;
      left = make(kBinary, line, "and", std::move(left), negation());
    }
    return left;
  }

  ExprPtr negation() {
    if (!at_name("not")) return comparison();
    const Nesting nesting(*this);
    const int line = next().line;
    return make(kUnary, line, "not", negation());
  }

  // The operator at hand if it compares: "==", ..., "in", "not in"; it is skipped.
  std::string skip_comparison() {
    for (std::string_view op : {"==", "!=", "<=", ">=", "<", ">"})
      if (skip_operator(op)) return std::string(op);
    if (skip_name("in")) return "in";
    if (at_name("not") && is(ahead(), TokenType::kName, "in")) return next(), next(), "not in";
    return "";
  }

  ExprPtr comparison() {
    const int line = current().line;
    ExprPtr first = sum();
    std::string op = skip_comparison();
    if (op.empty()) return first;
    ExprPtr e = make(kCompare, line, "", std::move(first));
    for (; !op.empty(); op = skip_comparison()) {
      e->operators.push_back(op);
      e->children.push_back(sum());
    }
    return finished(std::move(e));
  }

  // Left-associative operators of one level.
  template <class Operand>
  ExprPtr chain(std::initializer_list<std::string_view> operators, Operand operand) {
    ExprPtr left = operand();
    while (true) {
      const auto op =
          std::find_if(operators.begin(), operators.end(), [this](std::string_view o) { return at_operator(o); });
      if (op == operators.end()) return left;
      const int line = next().line;
      left = make(kBinary, line, std::string(*op), std::move(left), operand());
    }
  }

  ExprPtr sum() {
    return chain({"+", "-"}, [this] { return concatenation(); });
  }

  ExprPtr concatenation() {
    const int line = current().line;
    ExprPtr first = product();
    if (!at_operator("~")) return first;
    ExprPtr e = make(kConcat, line, "", std::move(first));
    while (skip_operator("~")) e->children.push_back(product());
    return finished(std::move(e));
  }

  ExprPtr product() {
    return chain({"*", "/", "//", "%"}, [this] { return power(); });
  }
  ExprPtr power() {
    return chain({"**"}, [this] { return unary(true); });
  }

  ExprPtr unary(bool with_filter) {
    const Nesting nesting(*this);
    const int line = current().line;
    ExprPtr e;
    if (at_operator("-") || at_operator("+")) {
      const std::string op = next().text;
      e = make(kUnary, line, op, unary(false));
    } else {
      e = primary();
    }
    e = postfix(std::move(e));
    return with_filter ? filters(std::move(e)) : std::move(e);
  }

  ExprPtr primary() {
    const Token token = current();
    switch (token.type) {
      case TokenType::kName:
        next();
        return name(token);
      case TokenType::kString:
        return string();
      case TokenType::kInteger:
        next();
        return constant(Value(integer(token.text)), token.line);
      case TokenType::kFloat:
        next();
        return constant(Value(std::strtod(token.text.c_str(), nullptr)),
                        token.line);  // 1e999 is infinite, as in Python
      case TokenType::kOperator:
        if (skip_operator("(")) {
          ExprPtr e = tuple(true);
          expect_operator(")");
          return e;
        }
        if (at_operator("[")) return list();
        if (at_operator("{")) return dict();
        break;
      default:
        break;
    }
    fail("unexpected " + shown());
  }

  ExprPtr name(const Token& token) {
    const std::string& text = token.text;
    if (text == "true" || text == "True") return constant(Value(true), token.line);
    if (text == "false" || text == "False") return constant(Value(false), token.line);
    if (text == "none" || text == "None") return constant(Value(None{}), token.line);
    return make(kName, token.line, text);
  }

  ExprPtr string() {
    const int line = current().line;
    std::string text;
    while (current().type == TokenType::kString) text += next().text;
    return constant(Value(std::move(text)), line);
  }

  int64_t integer(const std::string& text) const {
    const char kind = text.size() > 2 ? char(text[1] | 32) : '0';
    const int base = kind == 'x' ? 16 : kind == 'o' ? 8 : kind == 'b' ? 2 : 10;
    const char *begin = text.data() + (base == 10 ? 0 : 2), *end = text.data() + text.size();
    int64_t value = 0;
    const auto [stop, error] = std::from_chars(begin, end, value, base);
    if (error != std::errc() || stop != end) fail("the number " + text + " is too large");
    return value;
  }

  bool at_tuple_end() const {
    return current().type == TokenType::kOutputEnd || current().type == TokenType::kBlockEnd || at_operator(")");
  }

  // One expression, or several separated by commas.
  ExprPtr tuple(bool in_parentheses = false) {
    const int line = current().line;
    std::vector<ExprPtr> items;
    bool is_tuple = false;
    while (!at_tuple_end()) {
      items.push_back(expression());
      if (!skip_operator(",")) break;
      is_tuple = true;
    }
    if (!is_tuple && items.size() == 1) return std::move(items[0]);
    if (!is_tuple && !in_parentheses) fail("expected an expression, got " + shown());
    ExprPtr e = make(kTuple, line, "");
    e->children = std::move(items);
    return finished(std::move(e));
  }

  ExprPtr list() {
    ExprPtr e = make(kList, next().line, "");
    while (!at_operator("]")) {
      if (!e->children.empty()) expect_operator(",");
      if (at_operator("]")) break;
      e->children.push_back(expression());
    }
    next();
    return finished(std::move(e));
  }

  ExprPtr dict() {
    ExprPtr e = make(kDict, next().line, "");
    while (!at_operator("}")) {
      if (!e->children.empty()) expect_operator(",");
      if (at_operator("}")) break;
      e->children.push_back(expression());
      expect_operator(":");
      e->children.push_back(expression());
    }
    next();
    return finished(std::move(e));
  }

  ExprPtr postfix(ExprPtr e) {
    while (true) {
      if (at_operator(".") || at_operator("[")) {
        e = subscript(std::move(e));
      } else if (at_operator("(")) {
        e = call(std::move(e));
      } else {
        return e;
      }
    }
  }

  ExprPtr filters(ExprPtr e) {
    while (true) {
      if (at_operator("|")) {
        e = filter(std::move(e));
      } else if (at_name("is")) {
        e = test(std::move(e));
      } else if (at_operator("(")) {
        e = call(std::move(e));
      } else {
        return e;
      }
    }
  }

  ExprPtr subscript(ExprPtr e) {
    const Token token = next();
    if (token.text == ".") {
      if (current().type == TokenType::kName) return make(kAttribute, token.line, next().text, std::move(e));
      if (current().type != TokenType::kInteger) fail("expected a name or a number after '.'");
      ExprPtr index = constant(Value(integer(current().text)), token.line);
      next();
      return make(kItem, token.line, "", std::move(e), std::move(index));
    }
    std::vector<ExprPtr> keys;
    while (!at_operator("]")) {
      if (!keys.empty()) expect_operator(",");
      keys.push_back(subscribed());
    }
    next();
    if (keys.size() == 1) return make(kItem, token.line, "", std::move(e), std::move(keys[0]));
    ExprPtr key = make(kTuple, token.line, "");
    key->children = std::move(keys);
    return make(kItem, token.line, "", std::move(e), finished(std::move(key)));
  }

  ExprPtr subscribed() {
    const int line = current().line;
    ExprPtr parts[3];
    if (!at_operator(":")) {
      parts[0] = expression();
      if (!at_operator(":")) return std::move(parts[0]);
    }
    next();
    if (!at_operator(":") && !at_operator("]") && !at_operator(",")) parts[1] = expression();
    if (skip_operator(":") && !at_operator("]") && !at_operator(",")) parts[2] = expression();
    return make(kSlice, line, "", std::move(parts[0]), std::move(parts[1]), std::move(parts[2]));
  }

  ExprPtr call(ExprPtr callee) {
    ExprPtr e = make(kCall, current().line, "", std::move(callee));
    e->arguments = call_arguments();
    return finished(std::move(e));
  }

  CallArguments call_arguments() {
    CallArguments arguments;
    expect_operator("(");
    for (bool first = true; !at_operator(")"); first = false) {
      if (!first) expect_operator(",");
      if (at_operator(")")) break;
      if (skip_operator("*")) {
        arguments.spread = expression();
      } else if (skip_operator("**")) {
        arguments.named_spread = expression();
      } else if (current().type == TokenType::kName && is(ahead(), TokenType::kOperator, "=")) {
        std::string key = next().text;
        next();
        arguments.named.emplace_back(std::move(key), expression());
      } else {
        if (!arguments.named.empty()) fail("a positional argument follows a named one");
        arguments.positional.push_back(expression());
      }
    }
    next();
    return arguments;
  }

  std::string dotted_name() {
    std::string name = expect_name();
    while (skip_operator(".")) name += "." + expect_name();
    return name;
  }

  ExprPtr filter(ExprPtr e) {
    const int line = next().line;
    return filter_named(std::move(e), line);
  }
  ExprPtr filter_named(ExprPtr e, int line) {
    ExprPtr f = make(kFilter, line, dotted_name(), std::move(e));
    if (at_operator("(")) f->arguments = call_arguments();
    return finished(std::move(f));
  }

  bool at_test_argument() const {
    switch (current().type) {
      case TokenType::kName:
        return !at_name("else") && !at_name("or") && !at_name("and");
      case TokenType::kString:
      case TokenType::kInteger:
      case TokenType::kFloat:
        return true;
      default:
        return at_operator("[") || at_operator("{");
    }
  }

  ExprPtr test(ExprPtr e) {
    const int line = next().line;
    const bool negated = skip_name("not");
    ExprPtr t = make(kTest, line, dotted_name(), std::move(e));
    if (at_operator("(")) {
      t->arguments = call_arguments();
    } else if (at_test_argument()) {
      if (at_name("is")) fail("tests with 'is' cannot be chained");
      t->arguments.positional.push_back(postfix(primary()));
    }
    t = finished(std::move(t));
    return negated ? make(kUnary, line, "not", std::move(t)) : std::move(t);
  }

  std::vector<Token> tokens_;
  size_t at_ = 0;
  int max_depth_, depth_ = 0;
};

}  // namespace sedum::jinja
