#pragma once
// Runs a parsed template.
//
//   Interpreter in(limits, now);
//   in.define("messages", in.from_json(messages));
//   Output out = in.run(parsed.body);
//
// Everything that a template can make this do is counted in steps: nodes, items, and bytes of strings (64 to a step).

#include <ctime>
#include <unordered_map>

#include <nlohmann/json_fwd.hpp>

#include "text/chat_template.h"
#include "text/jinja/ast.h"

namespace sedum::jinja {

struct Output {
  std::string text;
  std::vector<Span> generations;  // what {% generation %} blocks wrote
};

// Names and what they stand for; a macro's scope outlives the block it was defined in.
struct Scope {
  std::shared_ptr<Scope> parent;
  std::vector<std::pair<std::string, Value>> names;
  Value* find(std::string_view name);
  void set(const std::string& name, Value value);
};
using ScopePtr = std::shared_ptr<Scope>;

class Namespace : public Object {
 public:
  std::string type_name() const override { return "Namespace"; }
  std::optional<Value> attribute(const std::string& name) const override;
  void set(const std::string& name, Value value);
  std::vector<std::pair<std::string, Value>> values;
};

// A function of the language, or a method bound to its object.
class Function : public Object {
 public:
  using Body = Value (*)(Interpreter& in, const Value& self, const Arguments& arguments);
  Function(std::string name, Body body, Value self = Value())
      : name_(std::move(name)), body_(body), self_(std::move(self)) {
    depth = 1 + depth_of(self_);
  }
  std::string type_name() const override { return "function " + name_; }
  bool is_callable() const override { return true; }
  Value call(Interpreter& in, const Arguments& arguments) override { return body_(in, self_, arguments); }

 private:
  std::string name_;
  Body body_;
  Value self_;
};

class Interpreter {
 public:
  Interpreter(const TemplateLimits& limits, std::time_t now);
  ~Interpreter();

  void define(const std::string& name, Value value) { globals_->set(name, std::move(value)); }
  Output run(const Body& body);

  // For functions, filters and tests.
  [[noreturn]] void fail(const std::string& reason) const;
  void charge(uint64_t steps);
  Value string(std::string bytes);
  std::string text(const Value& v);  // str(v)
  Value list(std::vector<Value> items, Sequence::Kind kind = Sequence::kList);
  Value dict(std::vector<std::pair<Value, Value>> items);  // keys must differ
  Value from_json(const nlohmann::ordered_json& json);
  Value make_namespace();
  std::vector<Value> iterate(const Value& v);                // items, characters or keys
  Value attribute(const Value& v, const std::string& name);  // v.name
  Value item(const Value& v, const Value& key);              // v[key]
  Value call(const Value& callee, const Arguments& arguments);
  Value filter(const std::string& name, const Value& v, const Arguments& arguments);
  bool test(const std::string& name, const Value& v, const Arguments& arguments);
  Value binary(std::string_view op, const Value& a, const Value& b);
  bool compare(std::string_view op, const Value& a, const Value& b);
  // Arguments by their parameters' names, undefined where not given. Too many or unknown ones fail.
  std::vector<Value> bind(const char* function, const Arguments& arguments,
                          std::initializer_list<const char*> parameters);
  std::time_t now() const { return now_; }
  size_t length(const Value& v);
  int64_t to_int(const Value& v, const char* what);
  Value function(const std::string& name, Function::Body body, Value self = Value());
  void check_depth(int depth) const;  // of nested values
  void check_extent(const Extent& extent) const;
  void keep_closure(ScopePtr scope) { closures_.push_back(std::move(scope)); }
  bool less(const Value& a, const Value& b);

  // For macros and loops.
  enum class Flow { kNext, kBreak, kContinue };
  Flow execute(const Body& body, const ScopePtr& scope, Output& out);
  Value evaluate(const Expr& e, const ScopePtr& scope);
  void run_for(const Stmt& s, const Value& items, const ScopePtr& scope, Output& out, int depth);
  const TemplateLimits& limits() const { return limits_; }

  struct Depth {  // of evaluation
    explicit Depth(Interpreter& i);
    ~Depth() { in.depth_--; }
    Depth(const Depth&) = delete;
    Interpreter& in;
  };

 private:
  Flow execute(const Stmt& s, const ScopePtr& scope, Output& out);
  Flow run_if(const Stmt& s, const ScopePtr& scope, Output& out);
  void run_with(const Stmt& s, const ScopePtr& scope, Output& out);
  void run_set_block(const Stmt& s, const ScopePtr& scope);
  void run_call_block(const Stmt& s, const ScopePtr& scope, Output& out);
  void run_filter_block(const Stmt& s, const ScopePtr& scope, Output& out);
  void run_generation(const Stmt& s, const ScopePtr& scope, Output& out);
  std::string capture(const Body& body, const ScopePtr& scope);
  void write(Output& out, std::string_view bytes);
  void assign(const Target& target, Value value, const ScopePtr& scope);
  Value make_macro(const Stmt& s, const ScopePtr& scope);

  Value evaluate_node(const Expr& e, const ScopePtr& scope);
  Value evaluate_name(const Expr& e, const ScopePtr& scope);
  Value evaluate_dict(const Expr& e, const ScopePtr& scope);
  Value evaluate_item(const Expr& e, const ScopePtr& scope);
  Value evaluate_call(const Expr& e, const ScopePtr& scope, const Value* caller);
  Value evaluate_filter(const Expr& e, const ScopePtr& scope, const Value* innermost);
  Value evaluate_unary(const Expr& e, const ScopePtr& scope);
  Value evaluate_binary(const Expr& e, const ScopePtr& scope);
  Value evaluate_compare(const Expr& e, const ScopePtr& scope);
  Arguments evaluate_arguments(const CallArguments& a, const ScopePtr& scope);
  Value slice(const Value& v, const Value& start, const Value& stop, const Value& step);
  bool contains(const Value& container, const Value& v);
  Value arithmetic(std::string_view op, const Value& a, const Value& b);
  Value repeat(const Value& v, const Value& times);

  TemplateLimits limits_;
  std::time_t now_;
  uint64_t steps_ = 0;
  int depth_ = 0, line_ = 0;
  ScopePtr globals_;
  // What can refer to itself; emptied at the end so that reference counts come to zero.
  std::vector<std::shared_ptr<Namespace>> namespaces_;
  std::vector<ScopePtr> closures_;
};

// The tables of the language; null for a name that is not in them.
using FilterFunction = Value (*)(Interpreter& in, const Value& v, const Arguments& arguments);
FilterFunction find_filter(const std::string& name);
FilterFunction find_scalar_filter(const std::string& name);  // those of single values alone
using TestFunction = bool (*)(Interpreter& in, const Value& v, const Arguments& arguments);
TestFunction find_test(const std::string& name);
Function::Body find_method(const Value& v, const std::string& name);
void define_globals(Interpreter& in);

// printf of Python's "%" operator and of the filter `format`.
std::string format_percent(Interpreter& in, const std::string& format, const std::vector<Value>& values,
                           const Dict* named);

}  // namespace sedum::jinja
