// Filters of single values: numbers, text, and JSON as transformers writes it.

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <map>

#include "text/jinja/interpreter.h"
#include "text/jinja/lexer.h"
#include "text/jinja/strings.h"
#include "text/unicode.h"

namespace sedum::jinja {

namespace {

bool given(const Value& v) { return !v.is_undefined() && !v.is_none(); }

// ---- numbers ----

Value f_abs(Interpreter& in, const Value& v, const Arguments& a) {
  in.bind("abs", a, {});
  if (!v.is_number()) in.fail("bad operand type for abs(): '" + type_name(v) + "'");
  if (v.is(Type::kFloat)) return Value(std::fabs(v.as_double()));
  return v.as_int() < 0 ? in.binary("-", Value(int64_t{0}), v) : Value(v.as_int());
}

Value f_round(Interpreter& in, const Value& v, const Arguments& a) {
  const auto args = in.bind("round", a, {"precision", "method"});
  const int64_t precision = given(args[0]) ? in.to_int(args[0], "precision") : 0;
  const std::string method = given(args[1]) ? in.text(args[1]) : "common";
  if (!v.is_number()) in.fail("type " + type_name(v) + " cannot be rounded");
  if (precision < -300 || precision > 300) in.fail("round: precision is out of range");
  if (v.is_integral() && method == "common" && precision >= 0) return Value(v.as_int());
  const double scale = std::pow(10.0, double(precision));
  if (method == "ceil") return Value(std::ceil(v.as_double() * scale) / scale);
  if (method == "floor") return Value(std::floor(v.as_double() * scale) / scale);
  if (method != "common") in.fail("round: the method must be common, ceil or floor");
  if (precision < 0) {
    const double rounded = std::nearbyint(v.as_double() * scale) / scale;
    return v.is_integral() ? Value(int64_t(rounded)) : Value(rounded);
  }
  char digits[1000];  // printf rounds the exact decimal value, as Python does
  std::snprintf(digits, sizeof(digits), "%.*f", int(precision), v.as_double());
  return Value(std::strtod(digits, nullptr));
}

Value f_int(Interpreter& in, const Value& v, const Arguments& a) {
  const auto args = in.bind("int", a, {"default", "base"});
  const Value otherwise = args[0].is_undefined() ? Value(int64_t{0}) : args[0];
  const int base = given(args[1]) ? int(in.to_int(args[1], "base")) : 10;
  if (v.is_undefined()) in.item(v, Value());
  if (v.is_integral()) return Value(v.as_int());
  std::optional<double> number = v.is(Type::kFloat) ? std::optional(v.as_double()) : std::nullopt;
  if (v.is_string()) {
    if (const std::optional<int64_t> i = parse_int(v.as_string(), base)) return Value(*i);
    number = parse_float(v.as_string());
  }
  if (!number || !(std::fabs(*number) < 9.2e18)) return otherwise;
  return Value(int64_t(*number));
}

Value f_float(Interpreter& in, const Value& v, const Arguments& a) {
  const auto args = in.bind("float", a, {"default"});
  if (v.is_undefined()) in.item(v, Value());
  if (v.is_number()) return Value(v.as_double());
  if (v.is_string())
    if (const std::optional<double> d = parse_float(v.as_string())) return Value(*d);
  return args[0].is_undefined() ? Value(0.0) : args[0];
}

// ---- strings ----

template <std::string (*map)(std::string_view)>
Value f_mapped(Interpreter& in, const Value& v, const Arguments& a) {
  in.bind("filter", a, {});
  return in.string(map(in.text(v)));
}

Value f_trim(Interpreter& in, const Value& v, const Arguments& a) {
  const auto args = in.bind("trim", a, {"chars"});
  const std::string text = in.text(v);
  if (!given(args[0])) return in.string(std::string(strip_left(strip_right(text))));
  return in.string(strip_characters(text, in.text(args[0]), true, true));
}

Value f_replace(Interpreter& in, const Value& v, const Arguments& a) {
  const auto args = in.bind("replace", a, {"old", "new", "count"});
  return in.string(replace_text(in, in.text(v), in.text(args[0]), in.text(args[1]),
                                given(args[2]) ? in.to_int(args[2], "count") : -1));
}

Value f_indent(Interpreter& in, const Value& v, const Arguments& a) {
  const auto args = in.bind("indent", a, {"width", "first", "blank"});
  std::string pad = "    ";
  if (args[0].is_string())
    pad = args[0].as_string();
  else if (given(args[0]))
    pad = in.binary("*", Value(" "), args[0]).as_string();
  std::vector<std::string> lines = split_lines(in.text(v) + "\n", false);
  std::string out = lines[0];
  for (size_t i = 1; i < lines.size(); i++) {
    out += "\n";
    if (args[2].truthy() || !lines[i].empty()) out += pad;
    out += lines[i];
    in.charge(1 + pad.size() / 64);
  }
  return in.string(args[1].truthy() ? pad + out : out);
}

Value f_center(Interpreter& in, const Value& v, const Arguments& a) {
  const auto args = in.bind("center", a, {"width"});
  return in.string(padded(in, in.text(v), given(args[0]) ? in.to_int(args[0], "width") : 80, " ", Align::kCenter));
}

Value f_truncate(Interpreter& in, const Value& v, const Arguments& a) {
  const auto args = in.bind("truncate", a, {"length", "killwords", "end", "leeway"});
  const int64_t length = given(args[0]) ? in.to_int(args[0], "length") : 255,
                leeway = given(args[3]) ? in.to_int(args[3], "leeway") : 5;
  const std::string end = args[2].is_undefined() ? "..." : in.text(args[2]), text = in.text(v);
  const int64_t end_length = int64_t(unicode::count_characters(end));
  if (length < end_length) in.fail("truncate: the length is less than that of the end");
  if (int64_t(unicode::count_characters(text)) <= length + leeway) return in.string(text);
  std::string kept = text.substr(0, byte_offset(text, size_t(length - end_length)));
  if (!args[1].truthy())
    if (const size_t space = kept.rfind(' '); space != std::string::npos) kept.resize(space);
  return in.string(kept + end);
}

Value f_format(Interpreter& in, const Value& v, const Arguments& a) {
  Dict named;
  for (const auto& [name, value] : a.named) named.set(Value(name), value);
  return in.string(format_percent(in, in.text(v), a.positional, a.named.empty() ? nullptr : &named));
}

Value f_wordcount(Interpreter& in, const Value& v, const Arguments& a) {
  in.bind("wordcount", a, {});
  int64_t words = 0;
  bool inside = false;
  const std::string text = in.text(v);
  for (const char *p = text.data(), *end = p + text.size(); p < end;) {
    const unicode::Decoded c = unicode::decode(p, end);
    const bool word = unicode::is_word(c.code);
    words += word && !inside;
    inside = word;
    p += c.length;
  }
  return Value(words);
}

Value f_urlencode(Interpreter& in, const Value& v, const Arguments& a) {
  in.bind("urlencode", a, {});
  if (v.is_string() || !(v.is(Type::kDict) || v.is(Type::kSequence))) return in.string(url_quote(in.text(v), "/"));
  std::string out;
  std::vector<std::pair<Value, Value>> pairs;
  if (v.is(Type::kDict))
    pairs = v.as_dict()->items;
  else
    for (const Value& item : in.iterate(v))
      pairs.emplace_back(in.item(item, Value(int64_t{0})), in.item(item, Value(int64_t{1})));
  for (const auto& [key, value] : pairs)
    out += (out.empty() ? "" : "&") + url_quote(in.text(key), "", true) + "=" + url_quote(in.text(value), "", true);
  return in.string(out);
}

Value f_string(Interpreter& in, const Value& v, const Arguments& a) {
  in.bind("string", a, {});
  return in.string(in.text(v));
}
Value f_pprint(Interpreter& in, const Value& v, const Arguments& a) {
  in.bind("pprint", a, {});
  in.charge(weight_of(v));
  return in.string(to_repr(v));
}
Value f_safe(Interpreter& in, const Value& v, const Arguments& a) {
  in.bind("safe", a, {});
  return v;
}

Value f_tojson(Interpreter& in, const Value& v, const Arguments& a) {
  const auto args = in.bind("tojson", a, {"ensure_ascii", "indent", "separators", "sort_keys"});
  JsonStyle style;
  style.ensure_ascii = args[0].truthy();
  style.sort_keys = args[3].truthy();
  if (args[1].is_string())
    style.indent = args[1].as_string();
  else if (given(args[1]))
    style.indent = std::string(size_t(std::clamp<int64_t>(in.to_int(args[1], "indent"), 0, 100)), ' ');
  if (given(args[2])) {
    const std::vector<Value> both = in.iterate(args[2]);
    if (both.size() != 2) in.fail("tojson: separators are two strings");
    style.item_separator = in.text(both[0]), style.key_separator = in.text(both[1]);
  }
  in.charge(weight_of(v) * (1 + uint64_t(depth_of(v)) * (style.indent ? style.indent->size() : 0) / 64));
  try {
    return in.string(to_json(v, style));
  } catch (const std::string& reason) {
    in.fail(reason);
  }
}

const std::map<std::string, FilterFunction>& table() {
  static const std::map<std::string, FilterFunction> filters = {{"abs", f_abs},
                                                                {"capitalize", f_mapped<capitalize>},
                                                                {"center", f_center},
                                                                {"e", f_mapped<escape_html>},
                                                                {"escape", f_mapped<escape_html>},
                                                                {"float", f_float},
                                                                {"forceescape", f_mapped<escape_html>},
                                                                {"format", f_format},
                                                                {"indent", f_indent},
                                                                {"int", f_int},
                                                                {"lower", f_mapped<unicode::to_lower>},
                                                                {"pprint", f_pprint},
                                                                {"replace", f_replace},
                                                                {"round", f_round},
                                                                {"safe", f_safe},
                                                                {"string", f_string},
                                                                {"title", f_mapped<title_words>},
                                                                {"tojson", f_tojson},
                                                                {"trim", f_trim},
                                                                {"truncate", f_truncate},
                                                                {"upper", f_mapped<unicode::to_upper>},
                                                                {"urlencode", f_urlencode},
                                                                {"wordcount", f_wordcount}};
  return filters;
}

}  // namespace

FilterFunction find_scalar_filter(const std::string& name) {
  const auto found = table().find(name);
  return found == table().end() ? nullptr : found->second;
}

}  // namespace sedum::jinja
