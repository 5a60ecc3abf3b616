#pragma once
// Unicode 16.0 as far as tokenizers and templates need it: UTF-8, categories, case, normal forms.
//
//   for (const char* p = begin; p < end;) {
//     unicode::Decoded c = unicode::decode(p, end);
//     if (unicode::is_letter(c.code)) ...
//     p += c.length;
//   }
//   std::string normal = unicode::nfc(text);
//
// The version is pinned: it is the one that Hugging Face's tokenizers cut words with. Its normal forms are of Unicode 9, as theirs are, and
// lower case of Unicode 17 (tools/unicode_tables.py). A byte that is no UTF-8 decodes to kInvalid with
// length 1, is in no category, and passes through every function here unchanged.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "text/unicode_tables.h"

namespace sedum::unicode {

inline constexpr char32_t kInvalid = 0xFFFFFFFF;

struct Decoded {
  char32_t code;
  int length;
};

// One character of at least two bytes; for ASCII use decode().
Decoded decode_multibyte(const char* p, const char* end);

// The character at p < end. Overlong forms, surrogates and what lies beyond U+10FFFF are invalid.
inline Decoded decode(const char* p, const char* end) {
  if (static_cast<unsigned char>(*p) < 0x80) return {static_cast<unsigned char>(*p), 1};
  return decode_multibyte(p, end);
}

void append(std::string& out, char32_t code);

// In the order of the generated table, so that ranges make the groups L, M, N, P, S, Z.
enum Category : uint8_t {
  Cn,
  Lu,
  Ll,
  Lt,
  Lm,
  Lo,
  Mn,
  Mc,
  Me,
  Nd,
  Nl,
  No,
  Pc,
  Pd,
  Ps,
  Pe,
  Pi,
  Pf,
  Po,
  Sm,
  Sc,
  Sk,
  So,
  Zs,
  Zl,
  Zp,
  Cc,
  Cf,
  Cs,
  Co
};
inline constexpr uint8_t kWhiteSpace = 32;  // a flag beside the category: the property White_Space

// Category and flag; Cn for kInvalid.
inline uint8_t properties(char32_t code) {
  if (code >= 0x110000) return Cn;
  return tables::kCategoryBlocks[tables::kCategoryIndex[code / tables::kBlock] * tables::kBlock +
                                 code % tables::kBlock];
}
inline Category category(char32_t code) { return Category(properties(code) & 31); }
inline bool is_letter(char32_t code) { return uint8_t(category(code) - Lu) <= Lo - Lu; }
inline bool is_mark(char32_t code) { return uint8_t(category(code) - Mn) <= Me - Mn; }
inline bool is_number(char32_t code) { return uint8_t(category(code) - Nd) <= No - Nd; }
inline bool is_space(char32_t code) { return properties(code) & kWhiteSpace; }
inline bool is_punctuation(char32_t code) { return uint8_t(category(code) - Pc) <= Po - Pc; }
// What \w means in regular expressions, near enough: letters, marks, numbers and connecting punctuation.
inline bool is_word(char32_t code) { return uint8_t(category(code) - Lu) <= Pc - Lu; }
// The same to the letter (UTS #18, annex C): without superscripts and fractions, with circled letters and joiners.
inline bool is_regex_word(char32_t code) {
  if (category(code) == No) return false;
  return is_word(code) || code == 0x200C || code == 0x200D || (code >= 0x24B6 && code <= 0x24E9) ||
         (code >= 0x1F130 && code <= 0x1F149) || (code >= 0x1F150 && code <= 0x1F169) ||
         (code >= 0x1F170 && code <= 0x1F189);
}

std::string to_lower(std::string_view text);    // full mappings, with the final sigma
std::string lower_each(std::string_view text);  // character by character: every sigma becomes the one inside words
std::string to_upper(std::string_view text);
std::string to_title(std::string_view text);  // every character, as at the beginning of a word

// Normal form C (UAX #15), as Unicode 9 has it: later marks are not put in order, later letters not taken apart. Text that is normal already costs one pass.
std::string nfc(std::string_view text);
bool is_nfc(std::string_view text);
std::string nfd(std::string_view text);
// The same with compatibility decompositions: ligatures, full-width forms, superscripts become what they stand for.
std::string nfkc(std::string_view text);
std::string nfkd(std::string_view text);

// Invalid parts replaced by U+FFFD, one for each maximal subpart as Unicode recommends (3.9, table 3-8) and Python does.
std::string replace_invalid(std::string_view text);
// How many bytes at the end are the beginning of a character that may still be completed (0 to 3).
size_t incomplete_tail(std::string_view text);

size_t count_characters(std::string_view text);
bool is_valid(std::string_view text);  // UTF-8 throughout

}  // namespace sedum::unicode
