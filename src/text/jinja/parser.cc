#include "text/jinja/parser.h"

#include <algorithm>
#include <initializer_list>

#include "text/jinja/expression_parser.h"

namespace sedum::jinja {

namespace {

class Parser : public ExpressionParser {
 public:
  using ExpressionParser::ExpressionParser;

  Template run() {
    Template result;
    result.body = body({});
    result.has_generation = has_generation_;
    return result;
  }

 private:
  using Names = std::initializer_list<std::string_view>;

  bool at_any(Names names) const {
    return std::any_of(names.begin(), names.end(), [this](std::string_view n) { return at_name(n); });
  }
  void expect_block_end() {
    if (current().type != TokenType::kBlockEnd) fail("expected the end of the statement block, got " + shown());
    next();
  }
  StmtPtr make_stmt(StmtKind kind, int line) {
    auto s = std::make_unique<Stmt>();
    s->kind = kind, s->line = line;
    return s;
  }

  // Statements up to one of `ends`, whose name is then the current token; up to the end of the template when there are none.
  Body body(Names ends) {
    const Nesting nesting(*this);
    Body statements;
    while (current().type != TokenType::kEnd) {
      const int line = current().line;
      if (current().type == TokenType::kText) {
        statements.push_back(make_stmt(StmtKind::kText, line));
        statements.back()->text = next().text;
      } else if (current().type == TokenType::kOutputBegin) {
        next();
        statements.push_back(make_stmt(StmtKind::kOutput, line));
        statements.back()->value = tuple();
        if (current().type != TokenType::kOutputEnd) fail("expected the end of the print statement, got " + shown());
        next();
      } else {
        next();  // block begin
        if (at_any(ends)) return statements;
        statements.push_back(statement());
        expect_block_end();
      }
    }
    if (ends.size() > 0) fail("the template ends, but '" + std::string(*(ends.end() - 1)) + "' is missing");
    return statements;
  }

  // The rest of the opening tag has been read: its end, the body, the closing name.
  Body enclosed(std::string_view end) {
    expect_block_end();
    Body statements = body({end});
    next();
    return statements;
  }

  StmtPtr statement() {
    const int line = current().line;
    const std::string name = expect_name();
    if (name == "if") return if_statement(line);
    if (name == "for") return for_statement(line);
    if (name == "set") return set_statement(line);
    if (name == "macro") return macro(line);
    if (name == "call") return call_block(line);
    if (name == "filter") return filter_block(line);
    if (name == "with") return with_statement(line);
    if (name == "generation") return generation(line);
    if (name == "block") return block(line);
    if (name == "break") return make_stmt(StmtKind::kBreak, line);
    if (name == "continue") return make_stmt(StmtKind::kContinue, line);
    template_error(line, "unknown statement '" + name + "'");
  }

  StmtPtr if_statement(int line) {
    StmtPtr s = make_stmt(StmtKind::kIf, line);
    s->branches.push_back({tuple(), {}});
    while (true) {
      expect_block_end();
      s->branches.back().body = body({"elif", "else", "endif"});
      if (skip_name("endif")) return s;
      if (skip_name("elif")) {
        s->branches.push_back({tuple(), {}});
        continue;
      }
      next();  // else
      s->branches.push_back({nullptr, enclosed("endif")});
      return s;
    }
  }

  StmtPtr for_statement(int line) {
    StmtPtr s = make_stmt(StmtKind::kFor, line);
    s->target = target(false);
    if (!skip_name("in")) fail("expected 'in', got " + shown());
    s->value = for_iterable();
    if (skip_name("if")) s->condition = expression();
    s->recursive = skip_name("recursive");
    expect_block_end();
    s->body = body({"else", "endfor"});
    if (skip_name("else")) {
      s->else_body = enclosed("endfor");
    } else {
      next();
    }
    return s;
  }

  // Without the inline condition, whose "if" filters the loop.
  ExprPtr for_iterable() {
    const int line = current().line;
    ExprPtr first = disjunction();
    if (!at_operator(",")) return first;
    ExprPtr e = make(ExprKind::kTuple, line, "", std::move(first));
    while (skip_operator(",") && current().type != TokenType::kBlockEnd) e->children.push_back(disjunction());
    return finished(std::move(e));
  }

  Target target(bool with_attribute) {
    std::vector<Target> parts;
    bool is_tuple = false;
    do {
      if (at_name("in") || at_operator("=") || at_operator(")")) break;
      parts.push_back(single_target(with_attribute));
      is_tuple |= at_operator(",");
    } while (skip_operator(","));
    if (parts.empty()) fail("expected a name to assign to, got " + shown());
    if (!is_tuple) return std::move(parts[0]);
    Target all;
    all.parts = std::move(parts);
    return all;
  }

  Target single_target(bool with_attribute) {
    const Nesting nesting(*this);
    if (skip_operator("(")) {
      Target inner = target(with_attribute);
      expect_operator(")");
      return inner;
    }
    Target t;
    t.name = expect_name();
    for (std::string_view reserved : {"true", "false", "none", "True", "False", "None"})
      if (t.name == reserved) fail("cannot assign to '" + t.name + "'");
    if (with_attribute && skip_operator(".")) t.attribute = expect_name();
    return t;
  }

  StmtPtr set_statement(int line) {
    StmtPtr s = make_stmt(StmtKind::kSet, line);
    s->target = target(true);
    if (skip_operator("=")) {
      s->value = tuple();
      return s;
    }
    s->kind = StmtKind::kSetBlock;
    while (at_operator("|")) s->value = filter(std::move(s->value));
    s->body = enclosed("endset");
    return s;
  }

  std::vector<Parameter> parameters() {
    std::vector<Parameter> list;
    expect_operator("(");
    while (!at_operator(")")) {
      if (!list.empty()) expect_operator(",");
      if (at_operator(")")) break;
      Parameter p;
      p.name = expect_name();
      if (skip_operator("=")) {
        p.otherwise = expression();
      } else if (!list.empty() && list.back().otherwise) {
        fail("a parameter without default follows one with a default");
      }
      list.push_back(std::move(p));
    }
    next();
    return list;
  }

  StmtPtr macro(int line) {
    StmtPtr s = make_stmt(StmtKind::kMacro, line);
    s->text = expect_name();
    s->parameters = parameters();
    s->body = enclosed("endmacro");
    return s;
  }

  StmtPtr call_block(int line) {
    StmtPtr s = make_stmt(StmtKind::kCallBlock, line);
    if (at_operator("(")) s->parameters = parameters();
    s->value = expression();
    if (s->value->kind != ExprKind::kCall) fail("expected a call");
    s->body = enclosed("endcall");
    return s;
  }

  StmtPtr filter_block(int line) {
    StmtPtr s = make_stmt(StmtKind::kFilterBlock, line);
    s->value = filter_named(nullptr, line);
    while (at_operator("|")) s->value = filter(std::move(s->value));
    s->body = enclosed("endfilter");
    return s;
  }

  StmtPtr with_statement(int line) {
    StmtPtr s = make_stmt(StmtKind::kWith, line);
    while (current().type != TokenType::kBlockEnd) {
      if (!s->assignments.empty()) expect_operator(",");
      Target t = single_target(false);
      expect_operator("=");
      s->assignments.emplace_back(std::move(t), expression());
    }
    s->body = enclosed("endwith");
    return s;
  }

  StmtPtr generation(int line) {
    has_generation_ = true;
    StmtPtr s = make_stmt(StmtKind::kGeneration, line);
    s->body = enclosed("endgeneration");
    return s;
  }

  // Without inheritance a block is just its body.
  StmtPtr block(int line) {
    StmtPtr s = make_stmt(StmtKind::kBlock, line);
    const std::string name = expect_name();
    skip_name("scoped"), skip_name("required");
    s->body = enclosed("endblock");
    skip_name(name);
    return s;
  }

  bool has_generation_ = false;
};

}  // namespace

Template parse(std::string_view source, int max_depth) { return Parser(tokenize(source), max_depth).run(); }

}  // namespace sedum::jinja
