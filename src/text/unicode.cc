#include "text/unicode.h"

#include <algorithm>
#include <cstring>

namespace sedum::unicode {

namespace {

bool continues(char c) { return (static_cast<unsigned char>(c) & 0xC0) == 0x80; }

// Length of the character that `lead` begins and the range of its second byte (Unicode 3.9, table 3-7); 0: never a lead byte.
struct Lead {
  int length;
  unsigned char second_min, second_max;
};
Lead lead_of(unsigned char lead) {
  if (lead < 0xC2) return {0, 0, 0};
  if (lead < 0xE0) return {2, 0x80, 0xBF};
  if (lead == 0xE0) return {3, 0xA0, 0xBF};
  if (lead == 0xED) return {3, 0x80, 0x9F};
  if (lead < 0xF0) return {3, 0x80, 0xBF};
  if (lead == 0xF0) return {4, 0x90, 0xBF};
  if (lead < 0xF4) return {4, 0x80, 0xBF};
  if (lead == 0xF4) return {4, 0x80, 0x8F};
  return {0, 0, 0};
}

// How many bytes from p on are the beginning of one well-formed character: its length, or less where it breaks off.
int well_formed_prefix(const char* p, const char* end, int* length) {
  const Lead lead = lead_of(static_cast<unsigned char>(*p));
  *length = lead.length;
  if (lead.length == 0) return 0;
  if (p + 1 >= end) return 1;
  const unsigned char second = static_cast<unsigned char>(p[1]);
  if (second < lead.second_min || second > lead.second_max) return 1;
  int n = 2;
  while (n < lead.length && p + n < end && continues(p[n])) n++;
  return n;
}

const tables::CaseMapping* find_case(const tables::CaseMapping* begin, int count, char32_t code) {
  const auto* end = begin + count;
  const auto* found = std::lower_bound(begin, end, code, [](const auto& entry, char32_t c) { return entry.code < c; });
  return found < end && found->code == code ? found : nullptr;
}

// Letters, and what does not interrupt a word for the rule of the final sigma (Unicode 3.13, Final_Sigma).
bool is_cased(char32_t code) {
  const Category c = category(code);
  return c == Lu || c == Ll || c == Lt;
}
bool is_case_ignorable(char32_t code) {
  const Category c = category(code);
  return c == Mn || c == Me || c == Cf || c == Lm || c == Sk || code == '\'' || code == '.' || code == ':' ||
         code == 0xB7 || code == 0x2019;
}

// Whether no cased letter follows, past what does not interrupt a word.
bool ends_word(std::string_view rest) {
  for (const char *p = rest.data(), *end = p + rest.size(); p < end;) {
    const Decoded c = decode(p, end);
    if (!is_case_ignorable(c.code)) return !is_cased(c.code);
    p += c.length;
  }
  return true;
}

template <class Map>
std::string map_characters(std::string_view text, Map map) {
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size();) {
    const Decoded c = decode(text.data() + i, text.data() + text.size());
    if (!map(c, i, out)) out.append(text, i, size_t(c.length));
    i += size_t(c.length);
  }
  return out;
}

bool append_case(const tables::CaseMapping* table, int count, char32_t code, std::string& out) {
  const auto* entry = code == kInvalid ? nullptr : find_case(table, count, code);
  if (!entry) return false;
  for (char32_t to : entry->to)
    if (to) append(out, to);
  return true;
}

}  // namespace

Decoded decode_multibyte(const char* p, const char* end) {
  int length;
  if (well_formed_prefix(p, end, &length) != length || length == 0) return {kInvalid, 1};
  const auto byte = [p](int i) { return char32_t(static_cast<unsigned char>(p[i])); };
  if (length == 2) return {(byte(0) & 0x1F) << 6 | (byte(1) & 0x3F), 2};
  if (length == 3) return {(byte(0) & 0x0F) << 12 | (byte(1) & 0x3F) << 6 | (byte(2) & 0x3F), 3};
  return {(byte(0) & 0x07) << 18 | (byte(1) & 0x3F) << 12 | (byte(2) & 0x3F) << 6 | (byte(3) & 0x3F), 4};
}

void append(std::string& out, char32_t code) {
  const auto put = [&out](char32_t byte) { out.push_back(char(byte)); };
  if (code < 0x80) return put(code);
  if (code < 0x800) return put(0xC0 | code >> 6), put(0x80 | (code & 0x3F));
  if (code < 0x10000) return put(0xE0 | code >> 12), put(0x80 | (code >> 6 & 0x3F)), put(0x80 | (code & 0x3F));
  put(0xF0 | code >> 18), put(0x80 | (code >> 12 & 0x3F)), put(0x80 | (code >> 6 & 0x3F)), put(0x80 | (code & 0x3F));
}

std::string to_lower(std::string_view text) {
  bool in_word = false;  // a cased letter stands before, with nothing but ignorable characters since
  return map_characters(text, [&](Decoded c, size_t at, std::string& out) {
    const bool was_in_word = in_word;
    if (!is_case_ignorable(c.code)) in_word = is_cased(c.code);
    if (c.code != 0x3A3) return append_case(tables::kLower, tables::kLowerCount, c.code, out);
    append(out, was_in_word && ends_word(text.substr(at + size_t(c.length))) ? 0x3C2 : 0x3C3);
    return true;
  });
}

std::string lower_each(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (const char *p = text.data(), *end = p + text.size(); p < end;) {
    const Decoded c = decode(p, end);
    if (c.code < 0x80)
      out.push_back(*p >= 'A' && *p <= 'Z' ? char(*p + 32) : *p);
    else if (!append_case(tables::kLower, tables::kLowerCount, c.code, out))
      out.append(p, size_t(c.length));
    p += c.length;
  }
  return out;
}

std::string to_upper(std::string_view text) {
  return map_characters(text, [](Decoded c, size_t, std::string& out) {
    return append_case(tables::kUpper, tables::kUpperCount, c.code, out);
  });
}

std::string to_title(std::string_view text) {
  return map_characters(text, [](Decoded c, size_t, std::string& out) {
    return append_case(tables::kTitle, tables::kTitleCount, c.code, out) ||
           append_case(tables::kUpper, tables::kUpperCount, c.code, out);
  });
}

std::string replace_invalid(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  const char* end = text.data() + text.size();
  for (const char* p = text.data(); p < end;) {
    int length = 1;
    const int good = static_cast<unsigned char>(*p) < 0x80 ? 1 : well_formed_prefix(p, end, &length);
    if (good == length && good > 0) {
      out.append(p, size_t(good));
    } else {
      append(out, 0xFFFD);
    }
    p += std::max(good, 1);
  }
  return out;
}

size_t incomplete_tail(std::string_view text) {
  const char* end = text.data() + text.size();
  for (size_t back = 1; back <= std::min<size_t>(3, text.size()); back++) {
    const char* p = end - back;
    if (continues(*p)) continue;
    int length = 1;
    if (static_cast<unsigned char>(*p) < 0x80) return 0;
    const int good = well_formed_prefix(p, end, &length);
    return length > 0 && size_t(good) == back && good < length ? back : 0;
  }
  return 0;
}

bool is_valid(std::string_view text) {
  const char *p = text.data(), *end = p + text.size();
  while (true) {
    while (end - p >= 8) {
      uint64_t eight;
      std::memcpy(&eight, p, 8);
      if (eight & 0x8080808080808080u) break;
      p += 8;
    }
    while (p < end && static_cast<unsigned char>(*p) < 0x80) p++;
    if (p == end) return true;
    const Decoded c = decode_multibyte(p, end);
    if (c.code == kInvalid) return false;
    p += c.length;
  }
}

size_t count_characters(std::string_view text) {
  size_t n = 0;
  for (const char *p = text.data(), *end = p + text.size(); p < end; n++) p += decode(p, end).length;
  return n;
}

}  // namespace sedum::unicode
