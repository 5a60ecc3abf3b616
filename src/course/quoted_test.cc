#include "course/quoted.h"

#include <gmock/gmock.h>

#include "base/file.h"

namespace sedum::course {
namespace {
using ::testing::HasSubstr;
namespace fs = std::filesystem;

TEST(Rounded, ToTheDigitsThatArePrinted) {
  EXPECT_TRUE(same_when_rounded(0.08, "0.08"));
  EXPECT_TRUE(same_when_rounded(0.0849, "0.08"));
  EXPECT_TRUE(same_when_rounded(0.085, "0.09"));  // halves go up, away from zero
  EXPECT_TRUE(same_when_rounded(-2.5, "-3"));
  EXPECT_TRUE(same_when_rounded(-0.31, "−0.3"));
  EXPECT_TRUE(same_when_rounded(0.9999, "1.00"));
  EXPECT_TRUE(same_when_rounded(6738415616.0, "6,738,415,616"));
  EXPECT_TRUE(same_when_rounded(0.9876, "98.8%"));
  EXPECT_TRUE(same_when_rounded(3.1e-07, "3.1e-7"));
  EXPECT_TRUE(same_when_rounded(3.14159e-07, "3.1E-07"));
  EXPECT_TRUE(same_when_rounded(0, "0.00"));
  EXPECT_TRUE(same_when_rounded(0.001, "0.00"));
  EXPECT_TRUE(same_when_rounded(1e21, "1e21"));
  EXPECT_TRUE(same_when_rounded(12, "+12"));
}

TEST(Rounded, EveryOtherDigitIsAnotherNumber) {
  const std::string right = "0.0831";
  for (size_t i = 0; i < right.size(); ++i) {
    if (right[i] == '.') continue;
    for (char c = '0'; c <= '9'; ++c) {
      std::string other = right;
      other[i] = c;
      EXPECT_EQ(same_when_rounded(0.08312, other), other == right) << other;
    }
  }
  EXPECT_FALSE(same_when_rounded(0.08, "-0.08"));
  EXPECT_FALSE(same_when_rounded(0.08, "0.080000001"));
  EXPECT_FALSE(same_when_rounded(5, ""));
  EXPECT_FALSE(same_when_rounded(5, "5x"));
  EXPECT_FALSE(same_when_rounded(5, "1e999999999"));
  EXPECT_FALSE(same_when_rounded(5, "5e9999999999999999999"));
}

TEST(Quotes, EndWhereTheNumberEnds) {
  const auto quotes = quotes_in(
      "超过\n<!--result week1/day5/sgd:threshold-->0.08 就发散，<!--result a/b:c-->1,234.5。<!--result a/b:d-->−3e-05，"
      "<!--result a/b:e-->98%<!--result a/b:f-->无<!--result nothing-->1, 2");
  ASSERT_EQ(quotes.size(), 6u);
  EXPECT_EQ(quotes[0].line, 2);
  EXPECT_EQ(quotes[0].place, "week1/day5/sgd");
  EXPECT_EQ(quotes[0].key, "threshold");
  EXPECT_EQ(quotes[0].number, "0.08");
  EXPECT_EQ(quotes[1].number, "1,234.5");
  EXPECT_EQ(quotes[2].number, "−3e-05");
  EXPECT_EQ(quotes[3].number, "98%");
  EXPECT_EQ(quotes[4].number, "");
  EXPECT_EQ(quotes[5].number, "1");
  EXPECT_EQ(quotes[5].key, "");
}

TEST(Quotes, AreComparedWithTheResult) {
  const fs::path results = fs::path(::testing::TempDir()) / "sedum-quotes";
  fs::create_directories(results / "week1/day5/sgd");
  write_file(results / "week1/day5/sgd/result.json", R"({"values": {"threshold": 0.08, "diverged": "inf"}})");
  const auto problem = [&](const char* text) { return wrong_quote(quotes_in(text).at(0), results); };
  EXPECT_EQ(problem("<!--result week1/day5/sgd:threshold-->0.08"), "");
  EXPECT_EQ(problem("<!--result week1/day5/sgd:threshold-->0.09"), "says 0.09, but week1/day5/sgd:threshold is 0.08");
  EXPECT_THAT(problem("<!--result week1/day5/sgd:treshold-->0.08"), HasSubstr("has no number \"treshold\""));
  EXPECT_THAT(problem("<!--result week1/day5/sgd:diverged-->1"), HasSubstr("has no number \"diverged\""));
  EXPECT_THAT(problem("<!--result week1/day6/sgd:threshold-->0.08"), HasSubstr("has no result.json"));
  EXPECT_THAT(problem("<!--result week1/day5/sgd:threshold--> 0.08"), HasSubstr("no number follows"));
  EXPECT_THAT(problem("<!--result ../../etc:x-->1"), HasSubstr("names no result"));
  EXPECT_THAT(problem("<!--result week1/day5/sgd:thr"), HasSubstr("names no result"));
  fs::remove_all(results);
}

}  // namespace
}  // namespace sedum::course
