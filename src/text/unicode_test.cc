#include "text/unicode.h"

#include <gtest/gtest.h>

namespace sedum::unicode {
namespace {

TEST(Utf8, RefusesWhatTheStandardRefuses) {
  for (const std::string bad : {"\x80", "\xc0\x80", "\xc1\xbf", "\xe0\x80\x80", "\xed\xa0\x80", "\xf0\x80\x80\x80",
                                "\xf4\x90\x80\x80", "\xf5", "\xc3", "\xe4\xb8"}) {
    EXPECT_EQ(decode(bad.data(), bad.data() + bad.size()).code, kInvalid);
    EXPECT_EQ(nfc(bad), bad);
  }
  for (char32_t code : {0x0u, 0x7Fu, 0x80u, 0x7FFu, 0x800u, 0xD7FFu, 0xE000u, 0xFFFFu, 0x10000u, 0x10FFFFu}) {
    std::string text;
    append(text, code);
    const Decoded c = decode(text.data(), text.data() + text.size());
    EXPECT_EQ(c.code, code);
    EXPECT_EQ(size_t(c.length), text.size());
  }
}

TEST(Utf8, ReplacesEachMaximalPartOnce) {  // The Unicode Standard, table 3-8, and as Python decodes
  EXPECT_EQ(replace_invalid("\x61\xF1\x80\x80\xE1\x80\xC2\x62\x80\x63\x80\xBF\x64"),
            "a\uFFFD\uFFFD\uFFFDb\uFFFDc\uFFFD\uFFFDd");
  EXPECT_EQ(replace_invalid("\xED\xA0\x80"), "\uFFFD\uFFFD\uFFFD");
  EXPECT_EQ(incomplete_tail("a\xF0\x9F\x8C"), 3u);
  EXPECT_EQ(incomplete_tail("a\xC3"), 1u);
  EXPECT_EQ(incomplete_tail("\xED\xA0"), 0u);  // can never become a character
  EXPECT_EQ(incomplete_tail("é"), 0u);
  EXPECT_EQ(incomplete_tail(""), 0u);
}

TEST(Categories, OfSomeCharacters) {
  EXPECT_TRUE(is_letter('a') && is_letter(U'é') && is_letter(U'中') &&
              is_letter(0x105C0));  // the last: Todhri, new in 16.0
  EXPECT_TRUE(is_number('7') && is_number(U'½') && is_number(U'Ⅷ'));
  EXPECT_TRUE(is_space(' ') && is_space(0x85) && is_space(0x3000) && !is_space(0x180E) && !is_space(0x200B));
  EXPECT_TRUE(is_mark(0x301) && is_punctuation(U'！') && !is_letter(kInvalid));
}

TEST(Normalization, FormC) {
  EXPECT_EQ(nfc("e\u0301"), "é");
  EXPECT_EQ(nfc("\u1e9b\u0323"), "\u1e9b\u0323");
  EXPECT_EQ(nfc("q\u0307\u0323"), "q\u0323\u0307");
  EXPECT_EQ(nfc("\u212b\u2126"), "\u00c5\u03a9");
  EXPECT_EQ(nfc("\u1112\u1161\u11ab\uac00\u11a8"), "\ud55c\uac01");
  EXPECT_EQ(nfc("\u0958"), "\u0915\u093c");  // excluded from composition
  EXPECT_EQ(nfc("\u0344"), "\u0308\u0301");
  EXPECT_EQ(nfc("a\u0315\u0300\u05ae\u0300b"), "\u00e0\u05ae\u0300\u0315b");
  EXPECT_EQ(nfc("x\xff\u0301e\u0301"), "x\xff\u0301é");
  EXPECT_EQ(nfd("é한"), "e\u0301\u1112\u1161\u11ab");
  EXPECT_TRUE(is_nfc("é plain") && !is_nfc("e\u0301") && is_nfc(""));
  std::string marks = "a";
  for (int i = 0; i < 100000; i++) marks += i % 2 ? "\u0301" : "\u0323";
  EXPECT_EQ(nfc(nfc(marks)), nfc(marks));  // and in no long time
}

// Composing what was decomposed gives the same, for every character that form C leaves alone.
TEST(Normalization, EveryCharacter) {
  int changed = 0;
  for (char32_t code = 0; code < 0x110000; code++) {
    if (code >= 0xD800 && code < 0xE000) continue;
    std::string text;
    append(text, code);
    const std::string normal = nfc(text);
    changed += normal != text;
    ASSERT_EQ(nfc(normal), normal) << std::hex << uint32_t(code);
    ASSERT_EQ(nfc(nfd(text)), normal) << std::hex << uint32_t(code);
  }
  EXPECT_EQ(changed, 1120);  // Full_Composition_Exclusion of 16.0
}

TEST(Case, FullMappings) {
  EXPECT_EQ(to_upper("straße ﬁ"), "STRASSE FI");
  EXPECT_EQ(to_lower("ΑΣ ΣΑ Α.Σ ΣΣ"), "ας σα α.ς σς");
  EXPECT_EQ(to_title("ǆ"), "ǅ");
  EXPECT_EQ(to_lower("A\xff"
                     "B"),
            "a\xff"
            "b");
}

}  // namespace
}  // namespace sedum::unicode
