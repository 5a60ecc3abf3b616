#include "text/jinja/strings.h"

#include <algorithm>
#include <charconv>

#include "text/jinja/interpreter.h"
#include "text/jinja/lexer.h"
#include "text/unicode.h"

namespace sedum::jinja {

namespace {

// Calls `on` with each character: its code and its bytes.
template <class On>
void each(std::string_view text, On on) {
  for (const char *p = text.data(), *end = p + text.size(); p < end;) {
    const unicode::Decoded c = unicode::decode(p, end);
    on(c.code, std::string_view(p, size_t(c.length)));
    p += c.length;
  }
}

bool is_cased(char32_t code) {
  const unicode::Category c = unicode::category(code);
  return c == unicode::Lu || c == unicode::Ll || c == unicode::Lt;
}

// Python's lines end at more than \n.
bool ends_line(char32_t code) {
  return (code >= 0x0A && code <= 0x0D) || (code >= 0x1C && code <= 0x1E) || code == 0x85 || code == 0x2028 ||
         code == 0x2029;
}

}  // namespace

std::string capitalize(std::string_view text) {
  if (text.empty()) return "";
  const size_t first = byte_offset(text, 1);
  return unicode::to_title(text.substr(0, first)) + unicode::to_lower(text.substr(first));
}

std::string title_words(std::string_view text) {
  std::string out;
  std::string word;
  const auto flush = [&] {
    const size_t first = byte_offset(word, 1);
    out += unicode::to_upper(std::string_view(word).substr(0, first)) +
           unicode::to_lower(std::string_view(word).substr(first));
    word.clear();
  };
  each(text, [&](char32_t code, std::string_view bytes) {
    const bool cuts =
        code < 0x80 ? is_python_space(code) || std::string_view("-({[<").find(char(code)) != std::string_view::npos
                    : is_python_space(code);
    if (cuts)
      flush(), out += bytes;
    else
      word += bytes;
  });
  flush();
  return out;
}

std::string title_case(std::string_view text) {
  std::string out;
  bool inside = false;
  each(text, [&](char32_t code, std::string_view bytes) {
    out += inside ? unicode::to_lower(bytes) : unicode::to_title(bytes);
    inside = is_cased(code);
  });
  return out;
}

std::string swap_case(std::string_view text) {
  std::string out;
  each(text, [&](char32_t code, std::string_view bytes) {
    out += unicode::category(code) == unicode::Lu ? unicode::to_lower(bytes) : unicode::to_upper(bytes);
  });
  return out;
}

std::string escape_html(std::string_view text) {
  std::string out;
  for (char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&#34;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

std::string url_quote(std::string_view text, std::string_view safe, bool plus) {
  std::string out;
  for (char c : text) {
    if (plus && c == ' ') {
      out += '+';
      continue;
    }
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       std::string_view("_.-~").find(c) != std::string_view::npos;
    if (plain || safe.find(c) != std::string_view::npos) {
      out += c;
    } else {
      out += '%', out += "0123456789ABCDEF"[static_cast<unsigned char>(c) >> 4], out += "0123456789ABCDEF"[c & 15];
    }
  }
  return out;
}

bool is_lower(std::string_view text) {
  bool any = false, all = true;
  each(text, [&](char32_t code, std::string_view) {
    any |= unicode::category(code) == unicode::Ll;
    all &= unicode::category(code) != unicode::Lu && unicode::category(code) != unicode::Lt;
  });
  return any && all;
}

bool is_upper(std::string_view text) {
  bool any = false, all = true;
  each(text, [&](char32_t code, std::string_view) {
    any |= unicode::category(code) == unicode::Lu;
    all &= unicode::category(code) != unicode::Ll && unicode::category(code) != unicode::Lt;
  });
  return any && all;
}

std::vector<std::string> split_on(std::string_view text, std::string_view separator, int64_t max_splits) {
  std::vector<std::string> parts;
  while (max_splits < 0 || int64_t(parts.size()) < max_splits) {
    const size_t at = text.find(separator);
    if (at == std::string_view::npos) break;
    parts.emplace_back(text.substr(0, at));
    text.remove_prefix(at + separator.size());
  }
  parts.emplace_back(text);
  return parts;
}

std::vector<std::string> split_on_right(std::string_view text, std::string_view separator, int64_t max_splits) {
  std::vector<std::string> parts;
  while (max_splits < 0 || int64_t(parts.size()) < max_splits) {
    const size_t at = text.rfind(separator);
    if (at == std::string_view::npos) break;
    parts.emplace_back(text.substr(at + separator.size()));
    text = text.substr(0, at);
  }
  parts.emplace_back(text);
  std::reverse(parts.begin(), parts.end());
  return parts;
}

std::vector<std::string> split_space(std::string_view text, int64_t max_splits) {
  std::vector<std::string> parts;
  for (text = strip_left(text); !text.empty(); text = strip_left(text)) {
    if (max_splits >= 0 && int64_t(parts.size()) >= max_splits) {
      parts.emplace_back(text);
      break;
    }
    size_t end = 0;
    while (end < text.size()) {
      const unicode::Decoded c = unicode::decode(text.data() + end, text.data() + text.size());
      if (is_python_space(c.code)) break;
      end += size_t(c.length);
    }
    parts.emplace_back(text.substr(0, end));
    text.remove_prefix(end);
  }
  return parts;
}

std::vector<std::string> split_space_right(std::string_view text, int64_t max_splits) {
  std::vector<std::string> words = split_space(text);
  if (max_splits < 0 || int64_t(words.size()) <= max_splits + 1) return words;
  // What stays together keeps its own whitespace: cut behind it, word by word from the right.
  for (int64_t i = 0; i < max_splits; i++) {
    text = strip_right(text);
    text.remove_suffix(words[words.size() - 1 - size_t(i)].size());
  }
  std::vector<std::string> parts{std::string(strip_right(text))};
  parts.insert(parts.end(), words.end() - max_splits, words.end());
  return parts;
}

std::vector<std::string> split_lines(std::string_view text, bool keep_ends) {
  std::vector<std::string> lines;
  std::string line;
  for (size_t i = 0; i < text.size();) {
    const unicode::Decoded c = unicode::decode(text.data() + i, text.data() + text.size());
    size_t n = size_t(c.length);
    if (!ends_line(c.code)) {
      line.append(text, i, n);
    } else {
      if (c.code == '\r' && i + 1 < text.size() && text[i + 1] == '\n') n = 2;
      if (keep_ends) line.append(text, i, n);
      lines.push_back(std::exchange(line, {}));
    }
    i += n;
  }
  if (!line.empty()) lines.push_back(std::move(line));
  return lines;
}

std::string strip_characters(std::string_view text, std::string_view characters, bool left, bool right) {
  std::vector<char32_t> set;
  each(characters, [&](char32_t code, std::string_view) { set.push_back(code); });
  const auto strips = [&](char32_t code) { return std::find(set.begin(), set.end(), code) != set.end(); };
  size_t begin = 0, end = text.size();
  while (left && begin < end) {
    const unicode::Decoded c = unicode::decode(text.data() + begin, text.data() + end);
    if (!strips(c.code)) break;
    begin += size_t(c.length);
  }
  while (right && end > begin) {
    size_t from = end - 1;
    while (from > begin && end - from < 4 && (static_cast<unsigned char>(text[from]) & 0xC0) == 0x80) from--;
    const unicode::Decoded c = unicode::decode(text.data() + from, text.data() + end);
    if (from + size_t(c.length) != end || !strips(c.code)) break;
    end = from;
  }
  return std::string(text.substr(begin, end - begin));
}

std::string replace_text(Interpreter& in, const std::string& text, const std::string& from, const std::string& to,
                         int64_t count) {
  std::string out;
  int64_t done = 0;
  const auto put = [&](std::string_view part) {
    out += part;
    in.charge(1 + part.size() / 64);
    if (out.size() > in.limits().output_bytes)
      in.fail("a string of more than " + std::to_string(in.limits().output_bytes) + " bytes");
  };
  if (from.empty()) {  // before every character and at the end
    each(text, [&](char32_t, std::string_view bytes) {
      if (count < 0 || done++ < count) put(to);
      put(bytes);
    });
    if (count < 0 || done < count) put(to);
    return out;
  }
  size_t at = 0;
  for (size_t found; (count < 0 || done < count) && (found = text.find(from, at)) != std::string::npos; done++) {
    put(std::string_view(text).substr(at, found - at));
    put(to);
    at = found + from.size();
  }
  put(std::string_view(text).substr(at));
  return out;
}

std::string padded(Interpreter& in, const std::string& text, int64_t width, const std::string& fill, Align align) {
  const int64_t missing = width - int64_t(unicode::count_characters(text));
  if (missing <= 0) return text;
  if (unicode::count_characters(fill) != 1) in.fail("the fill character must be exactly one character long");
  const auto pad = [&](int64_t n) { return in.binary("*", Value(fill), Value(n)).as_string(); };
  const int64_t left = align == Align::kLeft    ? 0
                       : align == Align::kRight ? missing
                                                : missing / 2 + (missing & width & 1);
  return pad(left) + text + pad(missing - left);
}

size_t byte_offset(std::string_view text, size_t characters) {
  size_t at = 0;
  for (; characters > 0 && at < text.size(); characters--)
    at += size_t(unicode::decode(text.data() + at, text.data() + text.size()).length);
  return at;
}

namespace {

// Digits as Python reads numbers: underscores only between digits.
bool without_underscores(std::string_view text, std::string& out) {
  for (size_t i = 0; i < text.size(); i++) {
    if (text[i] != '_')
      out += text[i];
    else if (i == 0 || i + 1 == text.size() || !std::isalnum(static_cast<unsigned char>(text[i - 1])) ||
             !std::isalnum(static_cast<unsigned char>(text[i + 1])))
      return false;
  }
  return !out.empty();
}

}  // namespace

std::optional<int64_t> parse_int(std::string_view text, int base) {
  std::string digits;
  if (!without_underscores(strip_left(strip_right(text)), digits) || base < 2 || base > 36) return std::nullopt;
  const char *begin = digits.data(), *end = begin + digits.size();
  const bool negative = *begin == '-';
  if (*begin == '+' || *begin == '-') begin++;
  const char* prefix = base == 16 ? "xX" : base == 8 ? "oO" : base == 2 ? "bB" : nullptr;
  if (prefix && end - begin > 2 && *begin == '0' && (begin[1] == prefix[0] || begin[1] == prefix[1])) begin += 2;
  if (begin == end || *begin == '-' || *begin == '+') return std::nullopt;
  int64_t value = 0;
  const auto [stop, error] = std::from_chars(begin, end, value, base);
  if (error != std::errc() || stop != end) return std::nullopt;
  return negative ? -value : value;
}

std::optional<double> parse_float(std::string_view text) {
  std::string digits;
  if (!without_underscores(strip_left(strip_right(text)), digits)) return std::nullopt;
  const char *begin = digits.data(), *end = begin + digits.size();
  if (*begin == '+') begin++;
  if (begin == end || *begin == '+') return std::nullopt;
  double value = 0;
  const auto [stop, error] = std::from_chars(begin, end, value);
  if (error != std::errc() || stop != end || digits.find('(') != std::string::npos) return std::nullopt;
  return value;
}

}  // namespace sedum::jinja
