#pragma once
// What `loop` is inside a for, and what a macro is.

#include "text/jinja/interpreter.h"

namespace sedum::jinja {

class Loop : public Object, public std::enable_shared_from_this<Loop> {
 public:
  Loop(std::vector<Value> items, int loop_depth) : items_(std::move(items)), loop_depth_(loop_depth) {
    for (const Value& v : items_) depth = std::max(depth, 1 + depth_of(v));
  }
  bool advance() { return ++index_ < int64_t(items_.size()); }
  const Value& item() const { return items_[size_t(index_)]; }
  void recurse(const Stmt& statement, ScopePtr scope) { statement_ = &statement, scope_ = std::move(scope); }

  std::string type_name() const override { return "LoopContext"; }
  std::optional<Value> attribute(const std::string& name) const override;
  bool is_callable() const override { return true; }
  Value call(Interpreter& in, const Arguments& arguments) override;  // of a recursive loop

 private:
  static Value cycle(Interpreter& in, const Value& self, const Arguments& arguments);
  static Value changed(Interpreter& in, const Value& self, const Arguments& arguments);
  std::vector<Value> items_;
  int64_t index_ = -1;
  int loop_depth_;
  const Stmt* statement_ = nullptr;
  ScopePtr scope_;
  std::optional<std::vector<Value>> last_;  // what `changed` saw
};

class Macro : public Object {
 public:
  Macro(const Stmt& statement, ScopePtr scope) : statement_(statement), scope_(std::move(scope)) {}
  std::string type_name() const override { return "Macro " + statement_.text; }
  std::optional<Value> attribute(const std::string& name) const override;
  bool is_callable() const override { return true; }
  Value call(Interpreter& in, const Arguments& arguments) override;

 private:
  void bind_rest(Interpreter& in, const Arguments& arguments, Scope& scope, std::vector<bool>& used) const;
  const Stmt& statement_;
  ScopePtr scope_;
};

}  // namespace sedum::jinja
