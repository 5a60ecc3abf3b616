// The tests of Jinja ("is defined").

#include <cmath>
#include <map>

#include "text/jinja/interpreter.h"
#include "text/jinja/strings.h"

namespace sedum::jinja {

namespace {

template <Type type>
bool t_type(Interpreter&, const Value& v, const Arguments&) {
  return v.is(type);
}

const Value& other(Interpreter& in, const Arguments& a) {
  if (a.positional.size() != 1) in.fail("the test takes one argument");
  return a.positional[0];
}

template <int op>
bool t_compare(Interpreter& in, const Value& v, const Arguments& a) {
  static constexpr const char* kOperators[] = {"==", "!=", "<", "<=", ">", ">=", "in"};
  return in.compare(kOperators[op], v, other(in, a));
}

int64_t remainder(Interpreter& in, const Value& v, int64_t divisor) {
  const Value r = in.binary("%", v, Value(divisor));
  return r.is_integral() ? r.as_int() : r.as_double() == 0 ? 0 : r.as_double() == 1 ? 1 : 2;
}

bool t_defined(Interpreter&, const Value& v, const Arguments&) { return !v.is_undefined(); }
bool t_true(Interpreter&, const Value& v, const Arguments&) { return v.is(Type::kBool) && v.as_bool(); }
bool t_false(Interpreter&, const Value& v, const Arguments&) { return v.is(Type::kBool) && !v.as_bool(); }
bool t_number(Interpreter&, const Value& v, const Arguments&) { return v.is_number(); }
bool t_callable(Interpreter&, const Value& v, const Arguments&) { return v.is_callable(); }
bool t_even(Interpreter& in, const Value& v, const Arguments&) { return remainder(in, v, 2) == 0; }
bool t_odd(Interpreter& in, const Value& v, const Arguments&) { return remainder(in, v, 2) == 1; }
bool t_divisible(Interpreter& in, const Value& v, const Arguments& a) {
  return remainder(in, v, in.to_int(other(in, a), "the divisor")) == 0;
}
bool t_escaped(Interpreter&, const Value&, const Arguments&) { return false; }
bool t_filter(Interpreter&, const Value& v, const Arguments&) { return v.is_string() && find_filter(v.as_string()); }
bool t_test(Interpreter&, const Value& v, const Arguments&) { return v.is_string() && find_test(v.as_string()); }
bool t_lower(Interpreter& in, const Value& v, const Arguments&) { return is_lower(in.text(v)); }
bool t_upper(Interpreter& in, const Value& v, const Arguments&) { return is_upper(in.text(v)); }

bool t_iterable(Interpreter&, const Value& v, const Arguments&) {
  return v.is_undefined() || v.is_string() || v.is(Type::kSequence) || v.is(Type::kDict);
}
bool t_sequence(Interpreter& in, const Value& v, const Arguments& a) {
  return t_iterable(in, v, a) && !(v.is(Type::kSequence) && v.as_sequence()->kind == Sequence::kGenerator);
}

bool t_same(Interpreter& in, const Value& v, const Arguments& a) {
  const Value& w = other(in, a);
  if (v.type() != w.type()) return false;
  if (v.is(Type::kSequence)) return v.as_sequence() == w.as_sequence();
  if (v.is(Type::kDict)) return v.as_dict() == w.as_dict();
  return equal(v, w);
}

const std::map<std::string, TestFunction>& table() {
  static const std::map<std::string, TestFunction> tests = {
      {"boolean", t_type<Type::kBool>},
      {"callable", t_callable},
      {"defined", t_defined},
      {"divisibleby", t_divisible},
      {"escaped", t_escaped},
      {"even", t_even},
      {"false", t_false},
      {"filter", t_filter},
      {"float", t_type<Type::kFloat>},
      {"integer", t_type<Type::kInt>},
      {"iterable", t_iterable},
      {"lower", t_lower},
      {"mapping", t_type<Type::kDict>},
      {"none", t_type<Type::kNone>},
      {"number", t_number},
      {"odd", t_odd},
      {"sameas", t_same},
      {"sequence", t_sequence},
      {"string", t_type<Type::kString>},
      {"test", t_test},
      {"true", t_true},
      {"undefined", t_type<Type::kUndefined>},
      {"upper", t_upper},
      {"==", t_compare<0>},
      {"eq", t_compare<0>},
      {"equalto", t_compare<0>},
      {"!=", t_compare<1>},
      {"ne", t_compare<1>},
      {"<", t_compare<2>},
      {"lt", t_compare<2>},
      {"lessthan", t_compare<2>},
      {"<=", t_compare<3>},
      {"le", t_compare<3>},
      {">", t_compare<4>},
      {"gt", t_compare<4>},
      {"greaterthan", t_compare<4>},
      {">=", t_compare<5>},
      {"ge", t_compare<5>},
      {"in", t_compare<6>},
  };
  return tests;
}

}  // namespace

TestFunction find_test(const std::string& name) {
  const auto found = table().find(name);
  return found == table().end() ? nullptr : found->second;
}

}  // namespace sedum::jinja
