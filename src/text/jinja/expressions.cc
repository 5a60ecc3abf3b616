// Interpreter: evaluation of expressions.

#include <algorithm>
#include <cmath>

#include "text/jinja/interpreter.h"

namespace sedum::jinja {

Value Interpreter::evaluate(const Expr& e, const ScopePtr& scope) {
  const Depth depth(*this);
  charge(1);
  const int line = line_;
  line_ = e.line;
  Value v = evaluate_node(e, scope);
  line_ = line;
  return v;
}

Value Interpreter::evaluate_node(const Expr& e, const ScopePtr& scope) {
  switch (e.kind) {
    case ExprKind::kConstant:
      return e.constant;
    case ExprKind::kName:
      return evaluate_name(e, scope);
    case ExprKind::kList:
    case ExprKind::kTuple: {
      std::vector<Value> items;
      for (const ExprPtr& child : e.children) items.push_back(evaluate(*child, scope));
      return list(std::move(items), e.kind == ExprKind::kList ? Sequence::kList : Sequence::kTuple);
    }
    case ExprKind::kDict:
      return evaluate_dict(e, scope);
    case ExprKind::kAttribute:
      return attribute(evaluate(*e.children[0], scope), e.text);
    case ExprKind::kItem:
      return evaluate_item(e, scope);
    case ExprKind::kSlice:
      fail("a slice outside of a subscript");
    case ExprKind::kCall:
      return evaluate_call(e, scope, nullptr);
    case ExprKind::kFilter:
      return evaluate_filter(e, scope, nullptr);
    case ExprKind::kTest: {
      const Value v = evaluate(*e.children[0], scope);
      return Value(test(e.text, v, evaluate_arguments(e.arguments, scope)));
    }
    case ExprKind::kUnary:
      return evaluate_unary(e, scope);
    case ExprKind::kBinary:
      return evaluate_binary(e, scope);
    case ExprKind::kConcat: {
      std::string bytes;
      for (const ExprPtr& child : e.children) {
        bytes += text(evaluate(*child, scope));
        if (bytes.size() > limits_.output_bytes) break;  // string() refuses
      }
      return string(std::move(bytes));
    }
    case ExprKind::kCompare:
      return evaluate_compare(e, scope);
    case ExprKind::kCondition:
      if (evaluate(*e.children[1], scope).truthy()) return evaluate(*e.children[0], scope);
      if (e.children[2]) return evaluate(*e.children[2], scope);
      return Value(Undefined{
          std::make_shared<const std::string>("the inline if-expression evaluated to false and no else was given")});
  }
  fail("unknown expression");
}

Value Interpreter::evaluate_name(const Expr& e, const ScopePtr& scope) {
  if (const Value* found = scope->find(e.text)) return *found;
  return Value(Undefined{std::make_shared<const std::string>("'" + e.text + "' is undefined")});
}

Value Interpreter::evaluate_dict(const Expr& e, const ScopePtr& scope) {
  Dict d;
  for (size_t i = 0; i + 1 < e.children.size(); i += 2) {
    Value key = evaluate(*e.children[i], scope);
    if (key.is(Type::kDict) || (key.is(Type::kSequence) && key.as_sequence()->kind == Sequence::kList))
      fail("unhashable type: '" + type_name(key) + "'");
    charge(d.items.size() / 16);
    d.set(std::move(key), evaluate(*e.children[i + 1], scope));
  }
  return dict(std::move(d.items));
}

Value Interpreter::evaluate_item(const Expr& e, const ScopePtr& scope) {
  const Value v = evaluate(*e.children[0], scope);
  const Expr& key = *e.children[1];
  if (key.kind != ExprKind::kSlice) return item(v, evaluate(key, scope));
  Value parts[3];
  for (size_t i = 0; i < 3; i++)
    if (key.children[i]) parts[i] = evaluate(*key.children[i], scope);
  return slice(v, parts[0], parts[1], parts[2]);
}

Arguments Interpreter::evaluate_arguments(const CallArguments& a, const ScopePtr& scope) {
  Arguments arguments;
  for (const ExprPtr& p : a.positional) arguments.positional.push_back(evaluate(*p, scope));
  for (const auto& [name, value] : a.named) arguments.named.emplace_back(name, evaluate(*value, scope));
  if (a.spread)
    for (Value& v : iterate(evaluate(*a.spread, scope))) arguments.positional.push_back(std::move(v));
  if (a.named_spread) {
    const Value named = evaluate(*a.named_spread, scope);
    if (!named.is(Type::kDict)) fail("argument after ** must be a mapping, not " + type_name(named));
    for (const auto& [key, value] : named.as_dict()->items) arguments.named.emplace_back(text(key), value);
  }
  return arguments;
}

Value Interpreter::evaluate_call(const Expr& e, const ScopePtr& scope, const Value* caller) {
  const Value callee = evaluate(*e.children[0], scope);
  Arguments arguments = evaluate_arguments(e.arguments, scope);
  if (caller) arguments.named.emplace_back("caller", *caller);
  return call(callee, arguments);
}

// `innermost`: what a filter block or a set block wrote, where the chain of filters has no value of its own.
Value Interpreter::evaluate_filter(const Expr& e, const ScopePtr& scope, const Value* innermost) {
  const Depth depth(*this);
  Value v;
  if (!e.children[0]) {
    v = innermost ? *innermost : Value();
  } else if (e.children[0]->kind == ExprKind::kFilter) {
    v = evaluate_filter(*e.children[0], scope, innermost);
  } else {
    v = evaluate(*e.children[0], scope);
  }
  return filter(e.text, v, evaluate_arguments(e.arguments, scope));
}

Value Interpreter::evaluate_unary(const Expr& e, const ScopePtr& scope) {
  const Value v = evaluate(*e.children[0], scope);
  if (e.text == "not") return Value(!v.truthy());
  if (v.is_undefined()) return attribute(v, "");
  if (!v.is_number()) fail("bad operand type for unary " + e.text + ": '" + type_name(v) + "'");
  if (v.is(Type::kFloat)) return Value(e.text == "-" ? -v.as_double() : v.as_double());
  return e.text == "-" ? binary("-", Value(int64_t{0}), v) : Value(v.as_int());
}

Value Interpreter::evaluate_binary(const Expr& e, const ScopePtr& scope) {
  Value left = evaluate(*e.children[0], scope);
  if (e.text == "and") return left.truthy() ? evaluate(*e.children[1], scope) : left;
  if (e.text == "or") return left.truthy() ? left : evaluate(*e.children[1], scope);
  const Value right = evaluate(*e.children[1], scope);
  return binary(e.text, left, right);
}

Value Interpreter::evaluate_compare(const Expr& e, const ScopePtr& scope) {
  Value left = evaluate(*e.children[0], scope);
  for (size_t i = 0; i < e.operators.size(); i++) {
    Value right = evaluate(*e.children[i + 1], scope);
    if (!compare(e.operators[i], left, right)) return Value(false);
    left = std::move(right);
  }
  return Value(true);
}

bool Interpreter::compare(std::string_view op, const Value& a, const Value& b) {
  charge(std::min(weight_of(a), weight_of(b)));
  if (op == "==") return equal(a, b);
  if (op == "!=") return !equal(a, b);
  if (op == "in") return contains(b, a);
  if (op == "not in") return !contains(b, a);
  const bool strings = a.is_string() && b.is_string(), numbers = a.is_number() && b.is_number();
  if (numbers && (std::isnan(a.as_double()) || std::isnan(b.as_double()))) return false;
  if (!strings && !numbers) less(a, b);  // fails where there is no order
  if (op == "<") return less(a, b);
  if (op == ">") return less(b, a);
  if (op == "<=") return !less(b, a);
  return !less(a, b);
}

bool Interpreter::less(const Value& a, const Value& b) {
  charge(1);
  if (a.is_undefined()) attribute(a, "");
  if (b.is_undefined()) attribute(b, "");
  if (a.is_integral() && b.is_integral()) return a.as_int() < b.as_int();
  if (a.is_number() && b.is_number()) return a.as_double() < b.as_double();
  if (a.is_string() && b.is_string()) return a.as_string() < b.as_string();  // UTF-8 sorts as code points do
  if (a.is(Type::kSequence) && b.is(Type::kSequence) && a.as_sequence()->kind == b.as_sequence()->kind) {
    const auto &x = a.as_sequence()->items, &y = b.as_sequence()->items;
    for (size_t i = 0; i < std::min(x.size(), y.size()); i++)
      if (!equal(x[i], y[i])) return less(x[i], y[i]);
    return x.size() < y.size();
  }
  fail("'<' not supported between instances of '" + type_name(a) + "' and '" + type_name(b) + "'");
}

bool Interpreter::contains(const Value& container, const Value& v) {
  switch (container.type()) {
    case Type::kString:
      charge(1 + container.as_string().size() / 64);
      if (!v.is_string()) fail("'in <string>' requires string as left operand, not " + type_name(v));
      return container.as_string().find(v.as_string()) != std::string::npos;
    case Type::kDict:
      charge(1 + container.as_dict()->items.size() / 16);
      return container.as_dict()->find(v) != nullptr;
    case Type::kUndefined:
    case Type::kSequence: {
      const std::vector<Value> items = iterate(container);
      charge(std::min(weight_of(container), items.size() * weight_of(v)));
      return std::any_of(items.begin(), items.end(), [&](const Value& item_value) { return equal(item_value, v); });
    }
    default:
      fail("argument of type '" + type_name(container) + "' is not iterable");
  }
}

Value Interpreter::binary(std::string_view op, const Value& a, const Value& b) {
  if (op == "%" && a.is_string()) {
    std::vector<Value> values{b};
    if (b.is(Type::kSequence) && b.as_sequence()->kind == Sequence::kTuple) values = b.as_sequence()->items;
    return string(format_percent(*this, a.as_string(), values, b.is(Type::kDict) ? b.as_dict().get() : nullptr));
  }
  if (a.is_undefined()) return attribute(a, "");
  if (b.is_undefined()) return attribute(b, "");
  if (a.is_number() && b.is_number()) return arithmetic(op, a, b);
  if (op == "+" && a.is_string() && b.is_string()) return string(a.as_string() + b.as_string());
  if (op == "+" && a.is(Type::kSequence) && b.is(Type::kSequence) && a.as_sequence()->kind == b.as_sequence()->kind &&
      a.as_sequence()->kind != Sequence::kGenerator) {
    std::vector<Value> items = a.as_sequence()->items;
    items.insert(items.end(), b.as_sequence()->items.begin(), b.as_sequence()->items.end());
    return list(std::move(items), a.as_sequence()->kind);
  }
  if (op == "*" && b.is_integral()) return repeat(a, b);
  if (op == "*" && a.is_integral()) return repeat(b, a);
  if (op == "+" && a.is_string()) fail("can only concatenate str (not \"" + type_name(b) + "\") to str");
  fail("unsupported operand type(s) for " + std::string(op) + ": '" + type_name(a) + "' and '" + type_name(b) + "'");
}

Value Interpreter::repeat(const Value& v, const Value& times_value) {
  const uint64_t times = uint64_t(std::max<int64_t>(times_value.as_int(), 0));
  const bool sequence = v.is(Type::kSequence) && v.as_sequence()->kind != Sequence::kGenerator;
  if (!v.is_string() && !sequence) fail("unsupported operand type(s) for *: '" + type_name(v) + "' and 'int'");
  const uint64_t size = v.is_string() ? v.as_string().size() : v.as_sequence()->items.size();
  uint64_t total;
  if (__builtin_mul_overflow(size, times, &total) || total > limits_.output_bytes)
    fail("a repetition that is too long");
  charge(v.is_string() ? total / 64 : total);
  if (v.is_string()) {
    std::string bytes;
    for (uint64_t i = 0; size > 0 && i < times; i++) bytes += v.as_string();
    return string(std::move(bytes));
  }
  std::vector<Value> items;
  for (uint64_t i = 0; size > 0 && i < times; i++)
    items.insert(items.end(), v.as_sequence()->items.begin(), v.as_sequence()->items.end());
  return list(std::move(items), v.as_sequence()->kind);
}

namespace {

// Python rounds towards minus infinity.
int64_t floor_divide(int64_t a, int64_t b) { return a / b - ((a % b != 0) && ((a < 0) != (b < 0))); }
double floor_mod(double a, double b) {
  const double m = std::fmod(a, b);
  return m != 0 && (m < 0) != (b < 0) ? m + b : m;
}

}  // namespace

Value Interpreter::arithmetic(std::string_view op, const Value& a, const Value& b) {
  const bool integral = a.is_integral() && b.is_integral();
  const double x = a.as_double(), y = b.as_double();
  if ((op == "/" || op == "//" || op == "%") && y == 0) fail("division by zero");
  if (op == "/") return Value(x / y);
  if (op == "**" && (!integral || b.as_int() < 0)) return Value(std::pow(x, y));
  if (!integral) {
    if (op == "+") return Value(x + y);
    if (op == "-") return Value(x - y);
    if (op == "*") return Value(x * y);
    if (op == "//") return Value(std::floor(x / y));
    return Value(floor_mod(x, y));
  }
  const int64_t i = a.as_int(), j = b.as_int();
  int64_t result = 0;
  bool overflow = false;
  if (op == "+") overflow = __builtin_add_overflow(i, j, &result);
  if (op == "-") overflow = __builtin_sub_overflow(i, j, &result);
  if (op == "*") overflow = __builtin_mul_overflow(i, j, &result);
  if (op == "//" || op == "%") {
    overflow = i == INT64_MIN && j == -1;
    if (!overflow) result = op == "//" ? floor_divide(i, j) : i - j * floor_divide(i, j);
  }
  if (op == "**") {
    result = 1;
    const bool grows = i < -1 || i > 1;
    if (grows && j > 63) overflow = true;
    for (int64_t n = grows ? j : j % 2 + (j > 0 && j % 2 == 0 ? 2 : 0); n > 0 && !overflow; n--)
      overflow = __builtin_mul_overflow(result, i, &result);
  }
  if (overflow) fail("integers beyond 64 bits");
  return Value(result);
}

}  // namespace sedum::jinja
