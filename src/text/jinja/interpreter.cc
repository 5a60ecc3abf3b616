#include "text/jinja/interpreter.h"

#include <algorithm>

#include "base/json.h"
#include "text/jinja/lexer.h"
#include "text/jinja/loop.h"
#include "text/unicode.h"

namespace sedum::jinja {

namespace {
constexpr int kMaxNesting = 200;    // of values in values
constexpr int kDepthPerMacro = 10;  // evaluations that one level of TemplateLimits::depth may nest
}  // namespace

Value* Scope::find(std::string_view name) {
  for (Scope* scope = this; scope; scope = scope->parent.get())
    for (auto& [key, value] : scope->names)
      if (key == name) return &value;
  return nullptr;
}

void Scope::set(const std::string& name, Value value) {
  for (auto& [key, old] : names)
    if (key == name) return void(old = std::move(value));
  names.emplace_back(name, std::move(value));
}

std::optional<Value> Namespace::attribute(const std::string& name) const {
  for (const auto& [key, value] : values)
    if (key == name) return value;
  return std::nullopt;
}

void Namespace::set(const std::string& name, Value value) {
  for (auto& [key, old] : values)
    if (key == name) return void(old = std::move(value));
  values.emplace_back(name, std::move(value));
}

Interpreter::Interpreter(const TemplateLimits& limits, std::time_t now)
    : limits_(limits), now_(now), globals_(std::make_shared<Scope>()) {
  define_globals(*this);
}

Interpreter::~Interpreter() {
  for (const auto& space : namespaces_) space->values.clear();
  for (const ScopePtr& scope : closures_) scope->names.clear();
}

Interpreter::Depth::Depth(Interpreter& i) : in(i) {
  if (++in.depth_ > kDepthPerMacro * in.limits_.depth) {
    in.depth_--;
    in.fail("calls are nested too deep");
  }
}

void Interpreter::fail(const std::string& reason) const { template_error(line_, reason); }

void Interpreter::charge(uint64_t steps) {
  steps_ += steps;
  if (steps_ > limits_.steps) fail("more than " + std::to_string(limits_.steps) + " steps");
}

void Interpreter::check_depth(int depth) const {
  if (depth > kMaxNesting) fail("values are nested deeper than " + std::to_string(kMaxNesting));
}

void Interpreter::check_extent(const Extent& extent) const {
  check_depth(extent.depth);
  if (extent.weight > limits_.steps) fail("a value of more than " + std::to_string(limits_.steps) + " parts");
}

std::string Interpreter::text(const Value& v) {
  charge(weight_of(v));
  return to_text(v);
}

Value Interpreter::string(std::string bytes) {
  charge(1 + bytes.size() / 64);
  if (bytes.size() > limits_.output_bytes)
    fail("a string of more than " + std::to_string(limits_.output_bytes) + " bytes");
  return Value(std::move(bytes));
}

Value Interpreter::list(std::vector<Value> items, Sequence::Kind kind) {
  charge(1 + items.size());
  auto sequence = std::make_shared<Sequence>();
  for (const Value& v : items) sequence->extent.add(v);
  check_extent(sequence->extent);
  sequence->items = std::move(items);
  sequence->kind = kind;
  return Value(std::move(sequence));
}

Value Interpreter::dict(std::vector<std::pair<Value, Value>> items) {
  charge(1 + items.size());
  auto d = std::make_shared<Dict>();
  for (const auto& [k, v] : items) d->extent.add(k), d->extent.add(v);
  check_extent(d->extent);
  d->items = std::move(items);
  return Value(std::move(d));
}

Value Interpreter::from_json(const nlohmann::ordered_json& json) {
  const Depth depth(*this);
  switch (json.type()) {
    case nlohmann::ordered_json::value_t::null:
      return Value(None{});
    case nlohmann::ordered_json::value_t::boolean:
      return Value(json.get<bool>());
    case nlohmann::ordered_json::value_t::number_float:
      return Value(json.get<double>());
    case nlohmann::ordered_json::value_t::string:
      return string(json.get<std::string>());
    case nlohmann::ordered_json::value_t::number_unsigned:
      if (json.get<uint64_t>() > uint64_t(INT64_MAX)) fail("the number " + json.dump() + " is too large");
      [[fallthrough]];
    case nlohmann::ordered_json::value_t::number_integer:
      return Value(json.get<int64_t>());
    case nlohmann::ordered_json::value_t::array: {
      std::vector<Value> items;
      for (const auto& item : json) items.push_back(from_json(item));
      return list(std::move(items));
    }
    case nlohmann::ordered_json::value_t::object: {
      std::vector<std::pair<Value, Value>> items;
      for (const auto& [key, value] : json.items()) items.emplace_back(string(key), from_json(value));
      return dict(std::move(items));
    }
    default:
      fail("a value that is not JSON");
  }
}

Value Interpreter::make_namespace() {
  charge(1);
  namespaces_.push_back(std::make_shared<Namespace>());
  return Value(std::shared_ptr<Object>(namespaces_.back()));
}

Value Interpreter::function(const std::string& name, Function::Body body, Value self) {
  charge(1);
  auto f = std::make_shared<Function>(name, body, std::move(self));
  check_depth(f->depth);
  return Value(std::shared_ptr<Object>(std::move(f)));
}

Output Interpreter::run(const Body& body) {
  auto scope = std::make_shared<Scope>();
  scope->parent = globals_;
  Output out;
  execute(body, scope, out);
  return out;
}

void Interpreter::write(Output& out, std::string_view bytes) {
  charge(1 + bytes.size() / 64);
  if (out.text.size() + bytes.size() > limits_.output_bytes)
    fail("more than " + std::to_string(limits_.output_bytes) + " bytes of output");
  out.text += bytes;
}

std::string Interpreter::capture(const Body& body, const ScopePtr& parent) {
  auto scope = std::make_shared<Scope>();
  scope->parent = parent;
  Output out;
  execute(body, scope, out);
  return std::move(out.text);
}

// ---- statements ----

Interpreter::Flow Interpreter::execute(const Body& body, const ScopePtr& scope, Output& out) {
  const Depth depth(*this);
  for (const StmtPtr& s : body) {
    const Flow flow = execute(*s, scope, out);
    if (flow != Flow::kNext) return flow;
  }
  return Flow::kNext;
}

Interpreter::Flow Interpreter::execute(const Stmt& s, const ScopePtr& scope, Output& out) {
  charge(1);
  line_ = s.line;
  switch (s.kind) {
    case StmtKind::kText:
      write(out, s.text);
      break;
    case StmtKind::kOutput:
      write(out, text(evaluate(*s.value, scope)));
      break;
    case StmtKind::kIf:
      return run_if(s, scope, out);
    case StmtKind::kFor:
      run_for(s, evaluate(*s.value, scope), scope, out, 0);
      break;
    case StmtKind::kSet:
      assign(s.target, evaluate(*s.value, scope), scope);
      break;
    case StmtKind::kSetBlock:
      run_set_block(s, scope);
      break;
    case StmtKind::kMacro:
      scope->set(s.text, make_macro(s, scope));
      break;
    case StmtKind::kCallBlock:
      run_call_block(s, scope, out);
      break;
    case StmtKind::kFilterBlock:
      run_filter_block(s, scope, out);
      break;
    case StmtKind::kWith:
      run_with(s, scope, out);
      break;
    case StmtKind::kGeneration:
      run_generation(s, scope, out);
      break;
    case StmtKind::kBlock:
      write(out, capture(s.body, scope));
      break;
    case StmtKind::kBreak:
      return Flow::kBreak;
    case StmtKind::kContinue:
      return Flow::kContinue;
  }
  return Flow::kNext;
}

Interpreter::Flow Interpreter::run_if(const Stmt& s, const ScopePtr& scope, Output& out) {
  for (const Branch& branch : s.branches)
    if (!branch.condition || evaluate(*branch.condition, scope).truthy()) return execute(branch.body, scope, out);
  return Flow::kNext;
}

void Interpreter::run_for(const Stmt& s, const Value& iterable, const ScopePtr& parent, Output& out, int depth) {
  std::vector<Value> items = iterate(iterable);
  if (s.condition) {
    std::vector<Value> kept;
    for (Value& item : items) {
      auto scope = std::make_shared<Scope>();
      scope->parent = parent;
      assign(s.target, item, scope);
      if (evaluate(*s.condition, scope).truthy()) kept.push_back(std::move(item));
    }
    items = std::move(kept);
  }
  if (items.empty()) {
    auto scope = std::make_shared<Scope>();
    scope->parent = parent;
    execute(s.else_body, scope, out);
    return;
  }
  auto loop = std::make_shared<Loop>(std::move(items), depth);
  check_depth(loop->depth);
  if (s.recursive) loop->recurse(s, parent), keep_closure(parent);
  for (; loop->advance();) {
    charge(1);
    auto scope = std::make_shared<Scope>();
    scope->parent = parent;
    scope->names.emplace_back("loop", Value(std::shared_ptr<Object>(loop)));
    assign(s.target, loop->item(), scope);
    if (execute(s.body, scope, out) == Flow::kBreak) break;
  }
}

void Interpreter::run_set_block(const Stmt& s, const ScopePtr& scope) {
  Value written = string(capture(s.body, scope));
  if (s.value) written = evaluate_filter(*s.value, scope, &written);
  assign(s.target, std::move(written), scope);
}

void Interpreter::run_filter_block(const Stmt& s, const ScopePtr& scope, Output& out) {
  const Value written = string(capture(s.body, scope));
  write(out, text(evaluate_filter(*s.value, scope, &written)));
}

void Interpreter::run_call_block(const Stmt& s, const ScopePtr& scope, Output& out) {
  const Value caller = make_macro(s, scope);
  write(out, text(evaluate_call(*s.value, scope, &caller)));
}

void Interpreter::run_with(const Stmt& s, const ScopePtr& parent, Output& out) {
  auto scope = std::make_shared<Scope>();
  scope->parent = parent;
  for (const auto& [target, value] : s.assignments) assign(target, evaluate(*value, parent), scope);
  execute(s.body, scope, out);
}

void Interpreter::run_generation(const Stmt& s, const ScopePtr& parent, Output& out) {
  auto scope = std::make_shared<Scope>();
  scope->parent = parent;
  const size_t begin = out.text.size();
  execute(s.body, scope, out);
  out.generations.push_back({begin, out.text.size()});
}

void Interpreter::assign(const Target& target, Value value, const ScopePtr& scope) {
  if (!target.parts.empty()) {
    std::vector<Value> items = iterate(value);
    if (items.size() != target.parts.size()) {
      fail("cannot unpack " + std::to_string(items.size()) + " values into " + std::to_string(target.parts.size()) +
           " names");
    }
    for (size_t i = 0; i < items.size(); i++) assign(target.parts[i], std::move(items[i]), scope);
  } else if (target.attribute.empty()) {
    scope->set(target.name, std::move(value));
  } else {
    Value* found = scope->find(target.name);
    auto* space = found && found->is(Type::kObject) ? dynamic_cast<Namespace*>(found->as_object().get()) : nullptr;
    if (!space) fail("cannot assign to '" + target.name + "." + target.attribute + "': not a namespace");
    if (target.attribute[0] == '_')
      fail("a namespace takes no attribute that begins with an underscore: '" + target.attribute + "'");
    space->set(target.attribute, std::move(value));
  }
}

Value Interpreter::make_macro(const Stmt& s, const ScopePtr& scope) {
  charge(1);
  if (closures_.empty() || closures_.back() != scope) closures_.push_back(scope);
  return Value(std::shared_ptr<Object>(std::make_shared<Macro>(s, scope)));
}

// ---- access ----

size_t Interpreter::length(const Value& v) {
  switch (v.type()) {
    case Type::kUndefined:
      return 0;
    case Type::kString:
      return unicode::count_characters(v.as_string());
    case Type::kDict:
      return v.as_dict()->items.size();
    case Type::kSequence:
      if (v.as_sequence()->kind != Sequence::kGenerator) return v.as_sequence()->items.size();
      [[fallthrough]];
    default:
      fail("object of type '" + type_name(v) + "' has no len()");
  }
}

int64_t Interpreter::to_int(const Value& v, const char* what) {
  if (!v.is_integral()) fail(std::string(what) + " must be an integer, not " + type_name(v));
  return v.as_int();
}

std::vector<Value> Interpreter::iterate(const Value& v) {
  std::vector<Value> items;
  switch (v.type()) {
    case Type::kUndefined:
      return items;
    case Type::kSequence: {
      Sequence& s = *v.as_sequence();
      charge(s.items.size());
      if (s.kind != Sequence::kGenerator) return s.items;
      items.assign(s.items.begin() + long(s.used), s.items.end());
      s.used = s.items.size();
      return items;
    }
    case Type::kDict:
      charge(v.as_dict()->items.size());
      for (const auto& [key, value] : v.as_dict()->items) items.push_back(key);
      return items;
    case Type::kString: {
      const std::string& bytes = v.as_string();
      for (const char *p = bytes.data(), *end = p + bytes.size(); p < end;) {
        const int n = unicode::decode(p, end).length;
        items.push_back(string(std::string(p, size_t(n))));
        p += n;
      }
      return items;
    }
    default:
      fail("'" + type_name(v) + "' object is not iterable");
  }
}

Value Interpreter::attribute(const Value& v, const std::string& name) {
  if (v.is_undefined()) fail(v.as_undefined().reason ? *v.as_undefined().reason : "the value is undefined");
  if (const Function::Body method = find_method(v, name)) return function(name, method, v);
  if (v.is(Type::kDict)) {
    charge(v.as_dict()->items.size() / 16);
    if (const Value* found = v.as_dict()->find(std::string_view(name))) return *found;
  }
  if (v.is(Type::kObject)) {
    if (std::optional<Value> found = v.as_object()->attribute(name)) return *found;
  }
  if (v.is(Type::kSequence) && v.as_sequence()->names) {
    const auto& names = *v.as_sequence()->names;
    const auto found = std::find(names.begin(), names.end(), name);
    if (found != names.end()) return v.as_sequence()->items[size_t(found - names.begin())];
  }
  return Value(
      Undefined{std::make_shared<const std::string>("'" + type_name(v) + "' has no attribute '" + name + "'")});
}

Value Interpreter::item(const Value& v, const Value& key) {
  if (v.is_undefined()) return attribute(v, "");
  if (v.is(Type::kDict)) {
    charge(v.as_dict()->items.size() / 16);
    if (const Value* found = v.as_dict()->find(key)) return *found;
  } else if (key.is_integral() &&
             (v.is_string() || (v.is(Type::kSequence) && v.as_sequence()->kind != Sequence::kGenerator))) {
    const int64_t size = int64_t(length(v)), index = key.as_int() < 0 ? key.as_int() + size : key.as_int();
    if (v.is_string()) charge(v.as_string().size() / 64);
    if (index >= 0 && index < size)
      return v.is_string() ? slice(v, Value(index), Value(index + 1), Value(None{}))
                           : v.as_sequence()->items[size_t(index)];
  }
  if (key.is_string()) return attribute(v, key.as_string());
  return Value(Undefined{std::make_shared<const std::string>("'" + type_name(v) + "' has no element " + to_repr(key))});
}

Value Interpreter::slice(const Value& v, const Value& start, const Value& stop, const Value& step_value) {
  const bool sliceable = v.is_string() || (v.is(Type::kSequence) && v.as_sequence()->kind != Sequence::kGenerator);
  if (v.is_undefined()) return attribute(v, "");
  if (v.is(Type::kDict)) fail("unhashable type: 'slice'");
  if (!sliceable)
    return Value(Undefined{std::make_shared<const std::string>("'" + type_name(v) + "' cannot be sliced")});
  const auto given = [](const Value& x) { return !x.is_none() && !x.is_undefined(); };
  const int64_t step = given(step_value) ? to_int(step_value, "slice indices") : 1;
  if (step == 0) fail("slice step cannot be zero");
  const std::vector<Value> items = v.is_string() ? iterate(v) : std::vector<Value>();
  const std::vector<Value>& from = v.is_string() ? items : v.as_sequence()->items;
  const int64_t size = int64_t(from.size());
  const auto bound = [&](const Value& x, int64_t otherwise) {
    if (!given(x)) return otherwise;
    const int64_t i = to_int(x, "slice indices");
    return std::clamp(i < 0 ? i + size : i, step > 0 ? int64_t{0} : int64_t{-1}, step > 0 ? size : size - 1);
  };
  const int64_t first = bound(start, step > 0 ? 0 : size - 1), last = bound(stop, step > 0 ? size : -1);
  std::vector<Value> taken;
  for (int64_t i = first; step > 0 ? i < last : i > last;) {
    taken.push_back(from[size_t(i)]);
    if (__builtin_add_overflow(i, step, &i)) break;
  }
  if (!v.is_string()) return list(std::move(taken), v.as_sequence()->kind);
  std::string bytes;
  for (const Value& c : taken) bytes += c.as_string();
  return string(std::move(bytes));
}

Value Interpreter::call(const Value& callee, const Arguments& arguments) {
  const Depth depth(*this);
  if (callee.is_undefined()) return attribute(callee, "");
  if (!callee.is_callable()) fail("'" + type_name(callee) + "' object is not callable");
  return callee.as_object()->call(*this, arguments);
}

Value Interpreter::filter(const std::string& name, const Value& v, const Arguments& arguments) {
  const FilterFunction f = find_filter(name);
  if (!f) fail("no filter named '" + name + "'");
  return f(*this, v, arguments);
}

bool Interpreter::test(const std::string& name, const Value& v, const Arguments& arguments) {
  const TestFunction f = find_test(name);
  if (!f) fail("no test named '" + name + "'");
  return f(*this, v, arguments);
}

std::vector<Value> Interpreter::bind(const char* function_name, const Arguments& arguments,
                                     std::initializer_list<const char*> parameters) {
  std::vector<Value> bound(parameters.size());
  if (arguments.positional.size() > parameters.size()) {
    fail(std::string(function_name) + " takes at most " + std::to_string(parameters.size()) + " arguments");
  }
  std::copy(arguments.positional.begin(), arguments.positional.end(), bound.begin());
  for (const auto& [name, value] : arguments.named) {
    const auto found =
        std::find_if(parameters.begin(), parameters.end(), [&n = name](const char* p) { return n == p; });
    if (found == parameters.end()) fail(std::string(function_name) + " has no parameter '" + name + "'");
    bound[size_t(found - parameters.begin())] = value;
  }
  return bound;
}

}  // namespace sedum::jinja
