// Methods of strings, lists and dictionaries. Those that would change their object are refused, as in transformers' sandbox.

#include <algorithm>
#include <map>

#include "text/jinja/interpreter.h"
#include "text/jinja/lexer.h"
#include "text/jinja/strings.h"
#include "text/unicode.h"

namespace sedum::jinja {

namespace {

bool given(const Value& v) { return !v.is_undefined() && !v.is_none(); }

const std::string& needs_text(Interpreter& in, const Value& v) {
  if (!v.is_string()) in.fail("expected a string, not " + type_name(v));
  return v.as_string();
}

Value texts(Interpreter& in, const std::vector<std::string>& parts, Sequence::Kind kind = Sequence::kList) {
  std::vector<Value> items;
  for (const std::string& part : parts) items.push_back(in.string(part));
  return in.list(std::move(items), kind);
}

template <std::string (*map)(std::string_view)>
Value m_mapped(Interpreter& in, const Value& self, const Arguments& a) {
  in.bind("the method", a, {});
  return in.string(map(self.as_string()));
}

template <bool left, bool right>
Value m_strip(Interpreter& in, const Value& self, const Arguments& a) {
  const auto args = in.bind("strip", a, {"chars"});
  if (given(args[0])) return in.string(strip_characters(self.as_string(), needs_text(in, args[0]), left, right));
  std::string_view text = self.as_string();
  if (left) text = strip_left(text);
  if (right) text = strip_right(text);
  return in.string(std::string(text));
}

template <bool from_right>
Value m_split(Interpreter& in, const Value& self, const Arguments& a) {
  const auto args = in.bind("split", a, {"sep", "maxsplit"});
  const int64_t most = given(args[1]) ? in.to_int(args[1], "maxsplit") : -1;
  const std::string& text = self.as_string();
  in.charge(text.size() / 64);
  if (!given(args[0])) return texts(in, from_right ? split_space_right(text, most) : split_space(text, most));
  const std::string& separator = needs_text(in, args[0]);
  if (separator.empty()) in.fail("empty separator");
  return texts(in, from_right ? split_on_right(text, separator, most) : split_on(text, separator, most));
}

Value m_splitlines(Interpreter& in, const Value& self, const Arguments& a) {
  const auto args = in.bind("splitlines", a, {"keepends"});
  return texts(in, split_lines(self.as_string(), args[0].truthy()));
}

template <bool from_right>
Value m_partition(Interpreter& in, const Value& self, const Arguments& a) {
  const auto args = in.bind("partition", a, {"sep"});
  const std::string &text = self.as_string(), &separator = needs_text(in, args[0]);
  if (separator.empty()) in.fail("empty separator");
  const size_t at = from_right ? text.rfind(separator) : text.find(separator);
  if (at == std::string::npos)
    return texts(in, from_right ? std::vector<std::string>{"", "", text} : std::vector<std::string>{text, "", ""},
                 Sequence::kTuple);
  return texts(in, {text.substr(0, at), separator, text.substr(at + separator.size())}, Sequence::kTuple);
}

// The part of a string that start and end, in characters, leave.
std::string_view window(Interpreter& in, const std::string& text, const Value& start, const Value& end,
                        int64_t* first) {
  const int64_t size = int64_t(unicode::count_characters(text));
  const auto bound = [&](const Value& v, int64_t otherwise) {
    if (!given(v)) return otherwise;
    const int64_t i = in.to_int(v, "an index");
    return std::clamp<int64_t>(i < 0 ? i + size : i, 0, size);
  };
  const int64_t from = bound(start, 0), to = std::max(bound(end, size), from);
  if (first) *first = from;
  const size_t begin = byte_offset(text, size_t(from));
  return std::string_view(text).substr(begin, byte_offset(std::string_view(text).substr(begin), size_t(to - from)));
}

template <bool at_end>
Value m_affix(Interpreter& in, const Value& self, const Arguments& a) {
  const auto args = in.bind(at_end ? "endswith" : "startswith", a, {"affix", "start", "end"});
  const std::string_view text = window(in, self.as_string(), args[1], args[2], nullptr);
  const auto matches = [&](const Value& v) {
    return at_end ? text.ends_with(needs_text(in, v)) : text.starts_with(needs_text(in, v));
  };
  if (!args[0].is(Type::kSequence)) return Value(matches(args[0]));
  const std::vector<Value> any = in.iterate(args[0]);
  return Value(std::any_of(any.begin(), any.end(), matches));
}

template <bool from_right, bool must>
Value m_find(Interpreter& in, const Value& self, const Arguments& a) {
  const auto args = in.bind("find", a, {"sub", "start", "end"});
  int64_t first;
  const std::string_view text = window(in, self.as_string(), args[1], args[2], &first);
  const size_t at = from_right ? text.rfind(needs_text(in, args[0])) : text.find(needs_text(in, args[0]));
  if (at != std::string_view::npos) return Value(first + int64_t(unicode::count_characters(text.substr(0, at))));
  if (must) in.fail("substring not found");
  return Value(int64_t{-1});
}

Value m_count(Interpreter& in, const Value& self, const Arguments& a) {
  const auto args = in.bind("count", a, {"sub", "start", "end"});
  const std::string_view text = window(in, self.as_string(), args[1], args[2], nullptr);
  const std::string& sub = needs_text(in, args[0]);
  if (sub.empty()) return Value(int64_t(unicode::count_characters(text)) + 1);
  return Value(int64_t(split_on(text, sub).size()) - 1);
}

Value m_replace(Interpreter& in, const Value& self, const Arguments& a) {
  const auto args = in.bind("replace", a, {"old", "new", "count"});
  return in.string(replace_text(in, self.as_string(), needs_text(in, args[0]), needs_text(in, args[1]),
                                given(args[2]) ? in.to_int(args[2], "count") : -1));
}

Value m_join(Interpreter& in, const Value& self, const Arguments& a) {
  const auto args = in.bind("join", a, {"iterable"});
  for (const Value& item : in.iterate(
           args[0].is(Type::kSequence) && args[0].as_sequence()->kind == Sequence::kGenerator ? Value("") : args[0]))
    needs_text(in, item);
  return find_filter("join")(in, args[0], {{self}, {}});
}

template <Align align>
Value m_justify(Interpreter& in, const Value& self, const Arguments& a) {
  const auto args = in.bind("justify", a, {"width", "fillchar"});
  return in.string(
      padded(in, self.as_string(), in.to_int(args[0], "width"), given(args[1]) ? needs_text(in, args[1]) : " ", align));
}

Value m_zfill(Interpreter& in, const Value& self, const Arguments& a) {
  const auto args = in.bind("zfill", a, {"width"});
  const std::string& text = self.as_string();
  const size_t sign = text.starts_with('-') || text.starts_with('+') ? 1 : 0;
  return in.string(text.substr(0, sign) +
                   padded(in, text.substr(sign), in.to_int(args[0], "width") - int64_t(sign), "0", Align::kRight));
}

template <bool at_end>
Value m_remove_affix(Interpreter& in, const Value& self, const Arguments& a) {
  const auto args = in.bind("removeprefix", a, {"affix"});
  const std::string &text = self.as_string(), &affix = needs_text(in, args[0]);
  if (at_end)
    return in.string(!affix.empty() && text.ends_with(affix) ? text.substr(0, text.size() - affix.size()) : text);
  return in.string(text.starts_with(affix) ? text.substr(affix.size()) : text);
}

Value m_format(Interpreter& in, const Value& self, const Arguments& a) {
  return in.string(format_braces(in, self.as_string(), a));
}

template <bool (*is)(char32_t)>
Value m_all(Interpreter& in, const Value& self, const Arguments& a) {
  in.bind("the method", a, {});
  const std::string& text = self.as_string();
  bool all = !text.empty();
  for (const char *p = text.data(), *end = p + text.size(); all && p < end;) {
    const unicode::Decoded c = unicode::decode(p, end);
    all = is(c.code);
    p += c.length;
  }
  return Value(all);
}
bool is_decimal(char32_t code) { return unicode::category(code) == unicode::Nd; }
bool is_alphanumeric(char32_t code) { return unicode::is_letter(code) || unicode::is_number(code); }

template <bool (*is)(std::string_view)>
Value m_is(Interpreter& in, const Value& self, const Arguments& a) {
  in.bind("the method", a, {});
  return Value(is(self.as_string()));
}

Value m_items(Interpreter& in, const Value& self, const Arguments& a) {
  in.bind("items", a, {});
  std::vector<Value> pairs;
  for (const auto& [key, value] : self.as_dict()->items) pairs.push_back(in.list({key, value}, Sequence::kTuple));
  return in.list(std::move(pairs));
}
Value m_keys(Interpreter& in, const Value& self, const Arguments& a) {
  in.bind("keys", a, {});
  return in.list(in.iterate(self));
}
Value m_values(Interpreter& in, const Value& self, const Arguments& a) {
  in.bind("values", a, {});
  std::vector<Value> values;
  for (const auto& [key, value] : self.as_dict()->items) values.push_back(value);
  return in.list(std::move(values));
}
Value m_get(Interpreter& in, const Value& self, const Arguments& a) {
  const auto args = in.bind("get", a, {"key", "default"});
  in.charge(1 + self.as_dict()->items.size() / 16);
  if (const Value* found = self.as_dict()->find(args[0])) return *found;
  return a.positional.size() < 2 && a.named.empty() ? Value(None{}) : args[1];
}
Value m_copy(Interpreter& in, const Value& self, const Arguments& a) {
  in.bind("copy", a, {});
  return self;  // nothing can change it
}

template <bool count>
Value m_index(Interpreter& in, const Value& self, const Arguments& a) {
  const auto args = in.bind("index", a, {"value"});
  const auto& items = self.as_sequence()->items;
  in.charge(std::min(weight_of(self), items.size() * weight_of(args[0])));
  if (count)
    return Value(int64_t(std::count_if(items.begin(), items.end(), [&](const Value& v) { return equal(v, args[0]); })));
  const auto found = std::find_if(items.begin(), items.end(), [&](const Value& v) { return equal(v, args[0]); });
  if (found == items.end()) in.fail("the value is not in the list");
  return Value(int64_t(found - items.begin()));
}

Value m_refused(Interpreter& in, const Value& self, const Arguments&) {
  in.fail("a template may not change a " + type_name(self));
}

using Methods = std::map<std::string, Function::Body>;

const Methods& string_methods() {
  static const Methods methods = {
      {"capitalize", m_mapped<capitalize>},
      {"casefold", m_mapped<unicode::to_lower>},
      {"center", m_justify<Align::kCenter>},
      {"count", m_count},
      {"endswith", m_affix<true>},
      {"find", m_find<false, false>},
      {"format", m_format},
      {"index", m_find<false, true>},
      {"isalnum", m_all<is_alphanumeric>},
      {"isalpha", m_all<unicode::is_letter>},
      {"isdecimal", m_all<is_decimal>},
      {"isdigit", m_all<is_decimal>},
      {"islower", m_is<is_lower>},
      {"isnumeric", m_all<unicode::is_number>},
      {"isspace", m_all<is_python_space>},
      {"isupper", m_is<is_upper>},
      {"join", m_join},
      {"ljust", m_justify<Align::kLeft>},
      {"lower", m_mapped<unicode::to_lower>},
      {"lstrip", m_strip<true, false>},
      {"partition", m_partition<false>},
      {"removeprefix", m_remove_affix<false>},
      {"removesuffix", m_remove_affix<true>},
      {"replace", m_replace},
      {"rfind", m_find<true, false>},
      {"rindex", m_find<true, true>},
      {"rjust", m_justify<Align::kRight>},
      {"rpartition", m_partition<true>},
      {"rsplit", m_split<true>},
      {"rstrip", m_strip<false, true>},
      {"split", m_split<false>},
      {"splitlines", m_splitlines},
      {"startswith", m_affix<false>},
      {"strip", m_strip<true, true>},
      {"swapcase", m_mapped<swap_case>},
      {"title", m_mapped<title_case>},
      {"upper", m_mapped<unicode::to_upper>},
      {"zfill", m_zfill},
  };
  return methods;
}

const Methods& dict_methods() {
  static const Methods methods = {
      {"clear", m_refused},  {"copy", m_copy},     {"get", m_get},         {"items", m_items},
      {"keys", m_keys},      {"pop", m_refused},   {"popitem", m_refused}, {"setdefault", m_refused},
      {"update", m_refused}, {"values", m_values},
  };
  return methods;
}

const Methods& list_methods() {
  static const Methods methods = {
      {"append", m_refused}, {"clear", m_refused},      {"copy", m_copy},      {"count", m_index<true>},
      {"extend", m_refused}, {"index", m_index<false>}, {"insert", m_refused}, {"pop", m_refused},
      {"remove", m_refused}, {"reverse", m_refused},    {"sort", m_refused},
  };
  return methods;
}

}  // namespace

Function::Body find_method(const Value& v, const std::string& name) {
  const bool indexed = v.is(Type::kSequence) && v.as_sequence()->kind != Sequence::kGenerator;
  const Methods* methods = v.is_string()       ? &string_methods()
                           : v.is(Type::kDict) ? &dict_methods()
                           : indexed           ? &list_methods()
                                               : nullptr;
  if (!methods) return nullptr;
  const auto found = methods->find(name);
  return found == methods->end() ? nullptr : found->second;
}

}  // namespace sedum::jinja
