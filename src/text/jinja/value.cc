#include "text/jinja/value.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "text/unicode.h"

namespace sedum::jinja {

bool Value::truthy() const {
  switch (type()) {
    case Type::kUndefined:
    case Type::kNone:
      return false;
    case Type::kBool:
      return as_bool();
    case Type::kInt:
      return as_int() != 0;
    case Type::kFloat:
      return as_double() != 0;
    case Type::kString:
      return !as_string().empty();
    case Type::kSequence:
      return as_sequence()->kind == Sequence::kGenerator || !as_sequence()->items.empty();
    case Type::kDict:
      return !as_dict()->items.empty();
    case Type::kObject:
      return true;
  }
  return false;
}

bool Value::is_callable() const { return is(Type::kObject) && as_object()->is_callable(); }

const Value* Dict::find(const Value& key) const {
  for (const auto& [k, v] : items)
    if (equal(k, key)) return &v;
  return nullptr;
}

const Value* Dict::find(std::string_view key) const {
  for (const auto& [k, v] : items)
    if (k.is_string() && k.as_string() == key) return &v;
  return nullptr;
}

void Dict::set(Value key, Value value) {
  for (auto& [k, v] : items) {
    if (!equal(k, key)) continue;
    v = std::move(value);
    return;
  }
  items.emplace_back(std::move(key), std::move(value));
}

int depth_of(const Value& v) {
  switch (v.type()) {
    case Type::kSequence:
      return v.as_sequence()->extent.depth;
    case Type::kDict:
      return v.as_dict()->extent.depth;
    case Type::kObject:
      return v.as_object()->depth;
    default:
      return 0;
  }
}

uint64_t weight_of(const Value& v) {
  switch (v.type()) {
    case Type::kString:
      return 1 + v.as_string().size() / 64;
    case Type::kSequence:
      return v.as_sequence()->extent.weight;
    case Type::kDict:
      return v.as_dict()->extent.weight;
    default:
      return 1;
  }
}

void Extent::add(const Value& v) {
  depth = std::max(depth, 1 + depth_of(v));
  weight += weight_of(v);
}

std::string type_name(const Value& v) {
  switch (v.type()) {
    case Type::kUndefined:
      return "Undefined";
    case Type::kNone:
      return "NoneType";
    case Type::kBool:
      return "bool";
    case Type::kInt:
      return "int";
    case Type::kFloat:
      return "float";
    case Type::kString:
      return "str";
    case Type::kSequence:
      return v.as_sequence()->kind == Sequence::kList    ? "list"
             : v.as_sequence()->kind == Sequence::kTuple ? "tuple"
                                                         : "generator";
    case Type::kDict:
      return "dict";
    case Type::kObject:
      return v.as_object()->type_name();
  }
  return "";
}

bool equal(const Value& a, const Value& b) {
  if (a.is_number() && b.is_number()) {
    if (a.is_integral() && b.is_integral()) return a.as_int() == b.as_int();
    return a.as_double() == b.as_double();
  }
  if (a.type() != b.type()) return false;
  switch (a.type()) {
    case Type::kString:
      return a.as_string() == b.as_string();
    case Type::kSequence: {
      const Sequence &x = *a.as_sequence(), &y = *b.as_sequence();
      if (&x == &y) return true;
      return x.kind == y.kind && x.kind != Sequence::kGenerator &&
             std::equal(x.items.begin(), x.items.end(), y.items.begin(), y.items.end(), equal);
    }
    case Type::kDict: {
      const Dict &x = *a.as_dict(), &y = *b.as_dict();
      return x.items.size() == y.items.size() && std::all_of(x.items.begin(), x.items.end(), [&](const auto& item) {
               const Value* other = y.find(item.first);
               return other && equal(item.second, *other);
             });
    }
    case Type::kObject:
      return a.as_object() == b.as_object();
    default:
      return true;  // undefined, none
  }
}

// The shortest digits that read back the same, with Python's choice between 1e16 and 10000.0.
std::string float_repr(double d) {
  if (std::isnan(d)) return "nan";
  if (std::isinf(d)) return d > 0 ? "inf" : "-inf";
  char buffer[32];
  char* end = std::to_chars(buffer, buffer + sizeof(buffer), d, std::chars_format::scientific).ptr;
  std::string text(buffer, end);
  const size_t e = text.find('e');
  const int exponent = std::stoi(text.substr(e + 1));
  if (exponent >= -4 && exponent < 16) {
    char fixed[64];
    text.assign(fixed, std::to_chars(fixed, fixed + sizeof(fixed), d, std::chars_format::fixed).ptr);
    return text.find('.') == std::string::npos ? text + ".0" : text;
  }
  return text;  // to_chars writes at least two digits of exponent, as Python does
}

namespace {

void append_hex(std::string& out, const char* prefix, uint32_t code, int digits) {
  out += prefix;
  for (int i = digits - 1; i >= 0; i--) out += "0123456789abcdef"[code >> (4 * i) & 15];
}

bool is_printable(char32_t code) {
  if (code == ' ') return true;
  const unicode::Category c = unicode::category(code);
  return c != unicode::Cn && c < unicode::Zs;
}

std::string string_repr(const std::string& text) {
  const char quote = text.find('\'') != std::string::npos && text.find('"') == std::string::npos ? '"' : '\'';
  std::string out(1, quote);
  for (const char *p = text.data(), *end = p + text.size(); p < end;) {
    const unicode::Decoded c = unicode::decode(p, end);
    if (c.code == '\\' || c.code == char32_t(quote)) {
      out += '\\', out += char(c.code);
    } else if (c.code == '\n') {
      out += "\\n";
    } else if (c.code == '\r') {
      out += "\\r";
    } else if (c.code == '\t') {
      out += "\\t";
    } else if (c.code == unicode::kInvalid) {
      append_hex(out, "\\x", static_cast<unsigned char>(*p), 2);
    } else if (is_printable(c.code)) {
      out.append(p, size_t(c.length));
    } else if (c.code < 0x100) {
      append_hex(out, "\\x", c.code, 2);
    } else if (c.code < 0x10000) {
      append_hex(out, "\\u", c.code, 4);
    } else {
      append_hex(out, "\\U", c.code, 8);
    }
    p += c.length;
  }
  return out + quote;
}

template <class Items, class Write>
std::string joined(const Items& items, Write write) {
  std::string out;
  for (const auto& item : items) out += (out.empty() ? "" : ", ") + write(item);
  return out;
}

std::string sequence_repr(const Sequence& s) {
  const std::string inner = joined(s.items, to_repr);
  if (s.kind == Sequence::kGenerator) return "<generator object>";
  if (s.kind == Sequence::kList) return "[" + inner + "]";
  return "(" + inner + (s.items.size() == 1 ? ",)" : ")");
}

}  // namespace

std::string to_text(const Value& v) { return v.is_string() ? v.as_string() : v.is_undefined() ? "" : to_repr(v); }

std::string to_repr(const Value& v) {
  switch (v.type()) {
    case Type::kUndefined:
      return "Undefined";
    case Type::kNone:
      return "None";
    case Type::kBool:
      return v.as_bool() ? "True" : "False";
    case Type::kInt:
      return std::to_string(v.as_int());
    case Type::kFloat:
      return float_repr(v.as_double());
    case Type::kString:
      return string_repr(v.as_string());
    case Type::kSequence:
      return sequence_repr(*v.as_sequence());
    case Type::kDict: {
      const auto pair = [](const auto& item) { return to_repr(item.first) + ": " + to_repr(item.second); };
      return "{" + joined(v.as_dict()->items, pair) + "}";
    }
    case Type::kObject:
      return "<" + v.as_object()->type_name() + ">";
  }
  return "";
}

Value Object::call(Interpreter&, const Arguments&) { return Value(); }

namespace {

class JsonWriter {
 public:
  explicit JsonWriter(const JsonStyle& style) : style_(style) {}
  std::string write(const Value& v) {
    value(v, 0);
    return std::move(out_);
  }

 private:
  void value(const Value& v, int level) {
    switch (v.type()) {
      case Type::kNone:
        out_ += "null";
        return;
      case Type::kBool:
        out_ += v.as_bool() ? "true" : "false";
        return;
      case Type::kInt:
        out_ += std::to_string(v.as_int());
        return;
      case Type::kFloat:
        out_ += number(v.as_double());
        return;
      case Type::kString:
        return string(v.as_string());
      case Type::kSequence:
        if (v.as_sequence()->kind != Sequence::kGenerator) return sequence(*v.as_sequence(), level);
        break;
      case Type::kDict:
        return dict(*v.as_dict(), level);
      default:
        break;
    }
    throw std::string("Object of type " + type_name(v) + " is not JSON serializable");
  }

  static std::string number(double d) {
    if (std::isnan(d)) return "NaN";
    if (std::isinf(d)) return d > 0 ? "Infinity" : "-Infinity";
    return float_repr(d);
  }

  static std::string key(const Value& v) {
    if (v.is_string()) return v.as_string();
    if (v.is_none()) return "null";
    if (v.is(Type::kBool)) return v.as_bool() ? "true" : "false";
    if (v.is(Type::kInt)) return std::to_string(v.as_int());
    if (v.is(Type::kFloat)) return number(v.as_double());
    throw std::string("keys must be str, int, float, bool or None, not " + type_name(v));
  }

  void line_break(int level) {
    if (!style_.indent) return;
    out_ += '\n';
    for (int i = 0; i < level; i++) out_ += *style_.indent;
  }
  void separator(bool first, int level) {
    if (!first) out_ += style_.item_separator.value_or(style_.indent ? "," : ", ");
    line_break(level);
  }

  void sequence(const Sequence& s, int level) {
    out_ += '[';
    bool first = true;
    for (const Value& item : s.items) separator(std::exchange(first, false), level + 1), value(item, level + 1);
    if (!first) line_break(level);
    out_ += ']';
  }

  void dict(const Dict& d, int level) {
    std::vector<std::pair<std::string, const Value*>> items;
    for (const auto& [k, v] : d.items) items.emplace_back(key(k), &v);
    if (style_.sort_keys)
      std::stable_sort(items.begin(), items.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
    out_ += '{';
    bool first = true;
    for (const auto& [k, v] : items) {
      separator(std::exchange(first, false), level + 1);
      string(k);
      out_ += style_.key_separator.value_or(": ");
      value(*v, level + 1);
    }
    if (!first) line_break(level);
    out_ += '}';
  }

  void string(const std::string& text) {
    out_ += '"';
    for (const char *p = text.data(), *end = p + text.size(); p < end;) {
      const unicode::Decoded c = unicode::decode(p, end);
      switch (c.code) {
        case '"':
          out_ += "\\\"";
          break;
        case '\\':
          out_ += "\\\\";
          break;
        case '\n':
          out_ += "\\n";
          break;
        case '\r':
          out_ += "\\r";
          break;
        case '\t':
          out_ += "\\t";
          break;
        case '\b':
          out_ += "\\b";
          break;
        case '\f':
          out_ += "\\f";
          break;
        default:
          character(c, p);
      }
      p += c.length;
    }
    out_ += '"';
  }

  void character(unicode::Decoded c, const char* p) {
    const bool escaped = c.code < 0x20 || (style_.ensure_ascii && c.code > 0x7F && c.code != unicode::kInvalid);
    if (!escaped) {
      out_.append(p, size_t(c.length));
    } else if (c.code < 0x10000) {
      append_hex(out_, "\\u", c.code, 4);
    } else {
      append_hex(out_, "\\u", 0xD800 + ((c.code - 0x10000) >> 10), 4);
      append_hex(out_, "\\u", 0xDC00 + ((c.code - 0x10000) & 0x3FF), 4);
    }
  }

  const JsonStyle& style_;
  std::string out_;
};

}  // namespace

std::string to_json(const Value& v, const JsonStyle& style) { return JsonWriter(style).write(v); }

}  // namespace sedum::jinja
