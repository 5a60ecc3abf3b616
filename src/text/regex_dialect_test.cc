// What Hugging Face's regular expressions mean, where PCRE2 would read something else. Checked against tokenizers 0.23.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "text/regex.h"

namespace sedum {
namespace {

using testing::ElementsAre;

std::vector<std::string> matches(const std::string& pattern, const std::string& text) {
  std::vector<std::string> found;
  Regex(pattern).for_each_match(text,
                                [&](size_t begin, size_t end) { found.push_back(text.substr(begin, end - begin)); });
  return found;
}

TEST(RegexDialect, ClassesAreOnigurumas) {
  EXPECT_THAT(matches(R"(\s)", "a\u180E\u0085"), ElementsAre("\u0085"));
  EXPECT_THAT(matches(R"([^\s]+)", "a\u180E\u0085"), ElementsAre("a\u180E"));
  EXPECT_THAT(matches(R"(\w+)", "e\u0301t\u00BD_1\u24B6 \u09F4"), ElementsAre("e\u0301t\u00BD_1\u24B6"));
  EXPECT_THAT(matches(R"([\w-]+)", "e\u0301-t"), ElementsAre("e\u0301-t"));
  EXPECT_THAT(matches(R"(\b.)", "e\u0301t a"), ElementsAre("e", " ", "a"));
  EXPECT_THAT(matches(R"(\h+)", "cafe \tx"), ElementsAre("cafe"));
  EXPECT_THAT(matches(R"(\p{Han}+)", "\u6C34\u3001\u303D"), ElementsAre("\u6C34"));  // U+3001 belongs to many scripts
  EXPECT_THAT(matches(R"([\u4e00-\u9fff]+)", "a\u6C34"), ElementsAre("\u6C34"));
}

TEST(RegexDialect, RepeatedIntervalsAreNotPossessive) {
  EXPECT_THAT(matches(R"(\A\p{Nd}{1,2}(?=\p{Nd}{3}+\z))", "12345678"), ElementsAre("12"));
  EXPECT_THAT(matches(R"((?:ab){2}+)", "abababababx"), ElementsAre("abababab"));
  EXPECT_THAT(matches(R"([0-9]{2}+x{,})", "12345x{,}"), ElementsAre("2345x{,}"));
}

TEST(RegexDialect, SetsIntersect) {
  EXPECT_THAT(matches(R"([\p{Lo}\p{M}&&[^\p{Han}]]+)", "\u6C34\u0E01\u0E31\u6C34"), ElementsAre("\u0E01\u0E31"));
  EXPECT_THAT(matches("[a-z&&[aeiou]]+", "queue"), ElementsAre("ueue"));
  EXPECT_THAT(matches(R"([&\]]+[[:digit:]])", "&&]1"), ElementsAre("&&]1"));
  EXPECT_THROW(Regex("[a[bc]]"), Error);
  EXPECT_THROW(Regex("[^a&&[b]]"), Error);
  EXPECT_THROW(Regex("[a&&b]"), Error);
  EXPECT_THROW(Regex("[a"), Error);
}

TEST(RegexDialect, EmptyMatchesCut) {
  EXPECT_THAT(matches(R"((?=(\d{3})+(?!\d)))", "1234567"), ElementsAre("", ""));
  EXPECT_THAT(matches("x*", "axxb"), ElementsAre("", "xx", ""));
}

}  // namespace
}  // namespace sedum
