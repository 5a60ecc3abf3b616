#include "data/units.h"

#include <algorithm>
#include <array>
#include <cctype>

namespace sedum::data {
namespace {

struct ScriptRange {
  char32_t first, last;
  Script script;
};

// The letters' main blocks (Unicode 16.0, Blocks.txt), ascending; what lies between is kOther.
constexpr ScriptRange kScripts[] = {
    {0x0041, 0x024F, Script::kLatin},      {0x0370, 0x03FF, Script::kGreek},  {0x0400, 0x052F, Script::kCyrillic},
    {0x0590, 0x05FF, Script::kHebrew},     {0x0600, 0x06FF, Script::kArabic}, {0x0750, 0x077F, Script::kArabic},
    {0x0900, 0x097F, Script::kDevanagari}, {0x0E00, 0x0E7F, Script::kThai},   {0x1100, 0x11FF, Script::kHangul},
    {0x1E00, 0x1EFF, Script::kLatin},      {0x1F00, 0x1FFF, Script::kGreek},  {0x3005, 0x3007, Script::kHan},
    {0x3040, 0x30FF, Script::kKana},       {0x3130, 0x318F, Script::kHangul}, {0x31F0, 0x31FF, Script::kKana},
    {0x3400, 0x4DBF, Script::kHan},        {0x4E00, 0x9FFF, Script::kHan},    {0xAC00, 0xD7AF, Script::kHangul},
    {0xF900, 0xFAFF, Script::kHan},        {0xFB50, 0xFDFF, Script::kArabic}, {0xFF21, 0xFF5A, Script::kLatin},
    {0xFF66, 0xFF9F, Script::kKana},       {0x20000, 0x3FFFF, Script::kHan},
};

constexpr std::array kNames = {"other", "Latin",  "Han",    "Kana",       "Hangul", "Cyrillic",
                               "Greek", "Arabic", "Hebrew", "Devanagari", "Thai"};

bool is_line_end(char32_t c) { return c == '\n' || c == 0x0B || c == 0x0C || c == 0x85 || c == 0x2028 || c == 0x2029; }

// Controls, and marks that nobody sees: soft hyphen, zero-width space, word joiner, byte order mark, directional
// controls. The zero-width joiners stay: emoji, Persian and Indic scripts are written with them.
bool is_dropped(char32_t c) {
  if (unicode::category(c) == unicode::Cc || c == 0xAD || c == 0xFEFF || c == 0x200B || c == unicode::kInvalid)
    return true;
  return (c >= 0x2060 && c <= 0x2064) || (c >= 0x202A && c <= 0x202E) || (c >= 0x2066 && c <= 0x2069) || c == 0x200E ||
         c == 0x200F;
}

void trim_line(std::string& out) {
  while (!out.empty() && (out.back() == ' ' || out.back() == '\t')) out.pop_back();
}

}  // namespace

Script script_of(char32_t code) {
  const auto* after = std::upper_bound(std::begin(kScripts), std::end(kScripts), code,
                                       [](char32_t c, const ScriptRange& range) { return c < range.first; });
  if (after == std::begin(kScripts)) return Script::kOther;
  const ScriptRange& range = *(after - 1);
  return code <= range.last ? range.script : Script::kOther;
}

const char* name(Script script) { return kNames[size_t(script)]; }

std::string language_of(std::string_view text) {
  std::array<int64_t, kNames.size()> counts{};
  int64_t total = 0;
  for_each_unit(text, [&](const Unit& unit) {
    if (unit.script == Script::kOther && std::isdigit(static_cast<unsigned char>(unit.text[0]))) return;
    ++counts[size_t(unit.script)], ++total;
  });
  if (total == 0) return "none";
  // Japanese is written in Han and Kana together.
  int64_t& han = counts[size_t(Script::kHan)];
  int64_t& kana = counts[size_t(Script::kKana)];
  if (kana * 10 >= han) kana += han, han = 0;
  const auto most = std::max_element(counts.begin(), counts.end());
  if (*most * 4 < total * 3) return "mixed";
  switch (const Script script = Script(most - counts.begin())) {
    case Script::kHan:
      return "zh";
    case Script::kKana:
      return "ja";
    case Script::kHangul:
      return "ko";
    default: {
      std::string lower = name(script);
      lower[0] = char(std::tolower(lower[0]));
      return lower;
    }
  }
}

std::string clean_text(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  const auto end_line = [&] {
    trim_line(out);
    if (!out.empty() && !out.ends_with("\n\n")) out += '\n';
  };
  const char *p = text.data(), *const end = p + text.size();
  while (p < end) {
    const unicode::Decoded c = unicode::decode(p, end);
    if (c.code == '\r') {
      if (p + 1 == end || p[1] != '\n') end_line();
    } else if (is_line_end(c.code)) {
      end_line();
    } else if (c.code == '\t') {
      out += '\t';
    } else if (unicode::is_space(c.code)) {
      out += ' ';
    } else if (!is_dropped(c.code)) {
      out.append(p, size_t(c.length));
    }
    p += c.length;
  }
  while (!out.empty() && (out.back() == ' ' || out.back() == '\t' || out.back() == '\n')) out.pop_back();
  return out.substr(std::min(out.find_first_not_of(" \t\n"), out.size()));
}

std::string comparable_text(std::string_view text) {
  const std::string lower = unicode::to_lower(unicode::nfc(clean_text(text)));
  std::string out;
  for (const char c : lower) {
    const bool space = c == ' ' || c == '\t' || c == '\n';
    if (!space)
      out += c;
    else if (!out.empty() && out.back() != ' ')
      out += ' ';
  }
  return out;
}

}  // namespace sedum::data
