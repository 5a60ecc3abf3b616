#include "data/units.h"

#include <gtest/gtest.h>

namespace sedum::data {
namespace {

std::vector<std::string> units(std::string_view text) {
  std::vector<std::string> found;
  for_each_unit(text, [&](const Unit& unit) { found.push_back(std::string(unit.text) + "/" + name(unit.script)); });
  return found;
}

using Strings = std::vector<std::string>;

TEST(Units, WordsAndCharacters) {
  EXPECT_EQ(units("Water 2 cacti, don't!"), (Strings{"Water/Latin", "2/other", "cacti/Latin", "don/Latin", "t/Latin"}));
  EXPECT_EQ(units("多肉plant多"), (Strings{"多/Han", "肉/Han", "plant/Latin", "多/Han"}));
  EXPECT_EQ(units("e\u0301te\u0301 été"), (Strings{"e\u0301te\u0301/Latin", "été/Latin"}));
  EXPECT_EQ(units("Вода サボテン 선인장"), (Strings{"Вода/Cyrillic", "サ/Kana", "ボ/Kana", "テ/Kana", "ン/Kana",
                                                    "선/Hangul", "인/Hangul", "장/Hangul"}));
  EXPECT_EQ(units("3rd"), (Strings{"3rd/Latin"}));
  EXPECT_TRUE(units("…!? \n🌵").empty());
  EXPECT_TRUE(units("").empty());
  EXPECT_EQ(units("a\xFF"
                  "b"),
            (Strings{"a/Latin", "b/Latin"}));
}

TEST(Units, Languages) {
  EXPECT_EQ(language_of("多肉植物冬天怎么浇水？"), "zh");
  EXPECT_EQ(language_of("サボテンに水をやる"), "ja");
  EXPECT_EQ(language_of("선인장에 물을 주기"), "ko");
  EXPECT_EQ(language_of("How often should I water it in 2024?"), "latin");
  EXPECT_EQ(language_of("Как часто поливать"), "cyrillic");
  EXPECT_EQ(language_of("如何 water 多 plants and other things"), "mixed");
  EXPECT_EQ(language_of("12 + 34 = ?"), "none");
}

TEST(Units, Clean) {
  EXPECT_EQ(clean_text("  a\r\nb\rc\u2028d  "), "a\nb\nc\nd");
  EXPECT_EQ(clean_text("a \t\n\n \n\n\nb"), "a\n\nb");
  EXPECT_EQ(clean_text("if x:\n    y\n\tz"), "if x:\n    y\n\tz") << "indentation stays";
  EXPECT_EQ(clean_text("a\u00A0b\u3000c"), "a b c");
  EXPECT_EQ(clean_text(std::string("a\0b\x1B[31mc\u200B\uFEFF\u00AD", 18)), "ab[31mc");
  EXPECT_EQ(clean_text("👩\u200D🌾"), "👩\u200D🌾") << "joined emoji stay joined";
  EXPECT_EQ(clean_text(" \n\t "), "");
  EXPECT_EQ(clean_text(clean_text(" a\v\n\n\n b ")), clean_text(" a\v\n\n\n b "));
}

TEST(Units, Comparable) {
  EXPECT_EQ(comparable_text("  Cafe\u0301\n\tÀ  LA\u00A0carte "), "café à la carte");
  EXPECT_EQ(comparable_text("多 肉"), "多 肉");
}

}  // namespace
}  // namespace sedum::data
