// Python's two ways of formatting: "%s of %d" and "{} of {}".

#include <cstdio>

#include "text/jinja/interpreter.h"
#include "text/jinja/strings.h"
#include "text/unicode.h"

namespace sedum::jinja {

namespace {

struct Directive {
  std::string key, flags;
  int64_t width = 0, precision = -1;
  char type = 's';
};

class PercentFormatter {
 public:
  PercentFormatter(Interpreter& in, const std::string& format, const std::vector<Value>& values, const Dict* named)
      : in_(in), format_(format), values_(values), named_(named) {}

  std::string run() {
    std::string out;
    while (at_ < format_.size()) {
      const char c = format_[at_++];
      if (c != '%') {
        out += c;
        continue;
      }
      const Directive d = directive();
      out += d.type == '%' ? "%" : padded_text(d);
      in_.charge(1 + out.size() / 4096);
    }
    if (!named_ && used_ < values_.size() && !(values_.size() == 1 && values_[0].is(Type::kDict)))
      in_.fail("not all arguments converted during string formatting");
    return out;
  }

 private:
  char peek() const { return at_ < format_.size() ? format_[at_] : '\0'; }

  Directive directive() {
    Directive d;
    if (peek() == '(') {
      const size_t end = format_.find(')', at_);
      if (end == std::string::npos) in_.fail("incomplete format key");
      d.key = format_.substr(at_ + 1, end - at_ - 1);
      at_ = end + 1;
    }
    while (peek() && std::string_view("-+ 0#").find(peek()) != std::string_view::npos) d.flags += format_[at_++];
    d.width = number();
    if (peek() == '.') at_++, d.precision = number();
    while (peek() == 'h' || peek() == 'l' || peek() == 'L') at_++;
    if (!peek()) in_.fail("incomplete format");
    d.type = format_[at_++];
    return d;
  }

  int64_t number() {
    if (peek() == '*') return at_++, in_.to_int(next(), "a width");
    int64_t n = 0;
    while (peek() >= '0' && peek() <= '9') {
      n = 10 * n + (format_[at_++] - '0');
      if (n > 10'000) in_.fail("a format width beyond 10000");
    }
    return n;
  }

  Value next() {
    if (used_ >= values_.size()) in_.fail("not enough arguments for format string");
    return values_[used_++];
  }

  std::string padded_text(const Directive& d) {
    if (!d.key.empty() && !named_) in_.fail("format requires a mapping");
    const Value* found = d.key.empty() ? nullptr : named_->find(std::string_view(d.key));
    if (!d.key.empty() && !found) in_.fail("the format's key '" + d.key + "' is missing");
    const Value v = found ? *found : next();
    std::string text = converted(d, v);
    const bool left = d.flags.find('-') != std::string::npos;
    const bool zeros =
        d.flags.find('0') != std::string::npos && !left && v.is_number() && d.type != 's' && d.type != 'r';
    if (!zeros)
      return padded(in_, text, std::min<int64_t>(std::abs(d.width), 10'000), " ", left ? Align::kLeft : Align::kRight);
    const size_t sign = !text.empty() && (text[0] == '-' || text[0] == '+' || text[0] == ' ') ? 1 : 0;
    if (int64_t(text.size()) < d.width) text.insert(sign, size_t(d.width) - text.size(), '0');
    return text;
  }

  std::string converted(const Directive& d, const Value& v) {
    switch (d.type) {
      case 's':
        return cut(in_.text(v), d.precision);
      case 'r':
      case 'a':
        in_.charge(weight_of(v));
        return cut(to_repr(v), d.precision);
      case 'd':
      case 'i':
      case 'u':
        return with_sign(d, integer(v));
      case 'x':
      case 'X':
      case 'o':
        return based(d, integer(v));
      case 'e':
      case 'E':
      case 'f':
      case 'F':
      case 'g':
      case 'G':
        return real(d, v);
      case 'c':
        if (v.is_string()) return cut(v.as_string(), 1);
        return character(integer(v));
      default:
        in_.fail(std::string("unsupported format character '") + d.type + "'");
    }
  }

  std::string cut(const std::string& text, int64_t precision) const {
    return precision < 0 ? text : text.substr(0, byte_offset(text, size_t(precision)));
  }
  int64_t integer(const Value& v) {
    if (v.is(Type::kFloat) && std::abs(v.as_double()) < 9.2e18) return int64_t(v.as_double());
    return in_.to_int(v, "a number in a format");
  }
  static std::string with_sign(const Directive& d, int64_t i) {
    std::string text = std::to_string(i);
    if (i >= 0 && d.flags.find('+') != std::string::npos) return "+" + text;
    return i >= 0 && d.flags.find(' ') != std::string::npos ? " " + text : text;
  }
  static std::string based(const Directive& d, int64_t i) {
    char buffer[32];
    const unsigned long long magnitude =
        i < 0 ? 0ull - static_cast<unsigned long long>(i) : static_cast<unsigned long long>(i);
    std::snprintf(buffer, sizeof(buffer), d.type == 'o' ? "%llo" : d.type == 'x' ? "%llx" : "%llX", magnitude);
    const std::string prefix = d.flags.find('#') == std::string::npos ? "" : std::string("0") + d.type;
    return (i < 0 ? "-" : "") + prefix + buffer;
  }
  std::string real(const Directive& d, const Value& v) {
    if (!v.is_number()) in_.fail("a number in a format must be a real number, not " + type_name(v));
    char spec[16], buffer[1024];
    const char* sign = d.flags.find('+') != std::string::npos ? "+" : d.flags.find(' ') != std::string::npos ? " " : "";
    std::snprintf(spec, sizeof(spec), "%%%s.*%c", sign, d.type);
    std::snprintf(buffer, sizeof(buffer), spec, int(d.precision < 0 ? 6 : std::min<int64_t>(d.precision, 300)),
                  v.as_double());
    return buffer;
  }
  std::string character(int64_t code) const {
    std::string out;
    if (code < 0 || code >= 0x110000) in_.fail("%c requires a character");
    unicode::append(out, char32_t(code));
    return out;
  }

  Interpreter& in_;
  const std::string& format_;
  const std::vector<Value>& values_;
  const Dict* named_;
  size_t at_ = 0, used_ = 0;
};

}  // namespace

std::string format_percent(Interpreter& in, const std::string& format, const std::vector<Value>& values,
                           const Dict* named) {
  return PercentFormatter(in, format, values, named).run();
}

// Fields by position and by name, with attributes and elements; of what may follow a colon nothing.
std::string format_braces(Interpreter& in, const std::string& format, const Arguments& arguments) {
  std::string out;
  size_t automatic = 0;
  for (size_t i = 0; i < format.size(); i++) {
    const char c = format[i];
    if (c != '{' && c != '}') {
      out += c;
      continue;
    }
    if (i + 1 < format.size() && format[i + 1] == c) {
      out += c, i++;
      continue;
    }
    const size_t end = c == '{' ? format.find('}', i) : std::string::npos;
    if (end == std::string::npos) in.fail(std::string("single '") + c + "' encountered in format string");
    const std::string field = format.substr(i + 1, end - i - 1);
    if (field.find_first_of(":!") != std::string::npos)
      in.fail("str.format: \"{" + field + "}\" is not supported; use a filter or the % operator");
    const size_t path = std::min(field.find_first_of(".["), field.size());
    const std::string name = field.substr(0, path);
    Value v;
    const std::optional<int64_t> index = name.empty() ? std::optional(int64_t(automatic++)) : parse_int(name, 10);
    if (index) {
      if (*index < 0 || size_t(*index) >= arguments.positional.size())
        in.fail("str.format: there is no argument " + std::to_string(*index));
      v = arguments.positional[size_t(*index)];
    } else {
      for (const auto& [key, value] : arguments.named)
        if (key == name) v = value;
      if (v.is_undefined()) in.fail("str.format: there is no argument '" + name + "'");
    }
    for (const std::string& part : split_on(std::string_view(field).substr(path), ".")) {
      if (part.empty()) continue;
      const std::vector<std::string> keys = split_on(part, "[");
      if (!keys[0].empty()) v = in.attribute(v, keys[0]);
      for (size_t k = 1; k < keys.size(); k++) {
        const std::string key = keys[k].substr(0, keys[k].find(']'));
        const std::optional<int64_t> number = parse_int(key, 10);
        v = in.item(v, number ? Value(*number) : Value(key));
      }
    }
    out += in.text(v);
    in.charge(1 + out.size() / 4096);
    i = end;
  }
  return out;
}

}  // namespace sedum::jinja
