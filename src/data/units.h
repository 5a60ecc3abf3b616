#pragma once
// Text cut into what it is counted and compared by: words, and single characters of scripts that write no spaces.
//
//   for_each_unit("Water 多肉", [](const Unit& u) { … });   // "Water" (Latin), "多" (Han), "肉" (Han)

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "text/unicode.h"

namespace sedum::data {

enum class Script : uint8_t {
  kOther,
  kLatin,
  kHan,
  kKana,
  kHangul,
  kCyrillic,
  kGreek,
  kArabic,
  kHebrew,
  kDevanagari,
  kThai
};

Script script_of(char32_t code);  // of a letter
const char* name(Script script);  // "Latin", "Han" …

struct Unit {
  std::string_view text;
  Script script;  // of its first letter; kOther for numbers
};

// One character is a unit by itself: Han, Kana, Hangul, Thai.
inline bool is_unit_alone(Script script) {
  return script == Script::kHan || script == Script::kKana || script == Script::kHangul || script == Script::kThai;
}

template <class Visit>
void for_each_unit(std::string_view text, Visit&& visit) {
  const char *p = text.data(), *const end = p + text.size(), *word = nullptr;
  Script script = Script::kOther;
  const auto finish = [&](const char* at) {
    if (word) visit(Unit{std::string_view(word, size_t(at - word)), script});
    word = nullptr;
  };
  while (p < end) {
    const unicode::Decoded c = unicode::decode(p, end);
    const bool letter = unicode::is_letter(c.code),
               inside = letter || unicode::is_number(c.code) || unicode::is_mark(c.code);
    const Script own = letter ? script_of(c.code) : Script::kOther;
    if (letter && is_unit_alone(own)) {
      finish(p);
      visit(Unit{std::string_view(p, size_t(c.length)), own});
    } else if (!inside) {
      finish(p);
    } else if (!word) {
      word = p, script = own;
    } else if (script == Script::kOther) {
      script = own;
    }
    p += c.length;
  }
  finish(end);
}

// Which language a text is in, as far as its script tells: "zh", "ja", "ko", "latin", "cyrillic" …, "mixed" when no
// script has three quarters of the units, "none" without letters.
std::string language_of(std::string_view text);

// Fit for training: CR LF and other line ends become LF, other kinds of space a space, control characters and invisible
// marks go, lines lose the space at their end, more than one empty line becomes one, the ends are trimmed. Indentation
// stays, it means something in code.
std::string clean_text(std::string_view text);

// Fit for comparing: clean_text, normal form C, lower case, every run of space one space.
std::string comparable_text(std::string_view text);

}  // namespace sedum::data
