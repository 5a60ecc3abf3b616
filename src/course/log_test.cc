#include "course/log.h"

#include <gmock/gmock.h>

#include "base/error.h"
#include "course/checkin.h"

namespace sedum::course {
namespace {
using ::testing::HasSubstr;

Log sample() {
  Log log;
  log.start = parse_date("2026-01-05");
  log.breaks = {parse_break("2026-02-15..2026-02-22"), parse_break("2026-03-01")};
  log.at({1, 1}) = {.mark = Mark::kDone,
                    .date = parse_date("2026-01-05"),
                    .minutes = 110,
                    .problem = "特征值 · 几何意义\n- 第二行\n## 第三行",
                    .solution = "画图",
                    .run = Run{parse_date("2026-01-05"), true, "0123456789abcdef", "fedcba9876543210"}};
  log.at({1, 2}) = {.mark = Mark::kDone, .date = parse_date("2026-01-08"), .late = true, .override_reason = "断网"};
  log.at({10, 4}) = {.mark = Mark::kDoing, .date = parse_date("2026-03-20")};
  return log;
}

std::string error_of(const std::string& text) {
  try {
    Log::parse(text, "log.md");
  } catch (const Error& e) {
    return e.what();
  }
  return "no error";
}

std::string replaced(std::string text, const std::string& what, const std::string& by) {
  const size_t at = text.find(what);
  EXPECT_NE(at, std::string::npos) << what;
  return text.replace(at, what.size(), by);
}

TEST(Log, ComesBackAsItWasWritten) {
  for (const Log& log : {Log(), sample()}) EXPECT_EQ(Log::parse(log.format(), "log.md"), log);
  EXPECT_EQ(Log::parse(sample().format(), "log.md").format(), sample().format());
}

TEST(Log, StartsWithEverythingOpen) {
  const std::string text = Log().format();
  size_t open = 0;
  for (size_t at = 0; (at = text.find("- ❌ week", at)) != std::string::npos; ++at) ++open;
  EXPECT_EQ(open, 84u);
}

TEST(Log, ACheckInChangesItsOwnLinesOnly) {
  Log log = sample();
  const std::string before = log.format();
  log.at({5, 5}) = {.mark = Mark::kDoing, .date = parse_date("2026-02-06"), .minutes = 5};
  EXPECT_EQ(log.format(), replaced(before, "- ❌ week5/day5\n", "- 🔄 week5/day5 · 2026-02-06 · 5 min\n"));
}

TEST(Log, NonsenseIsRefusedWithItsLine) {
  const std::string good = sample().format();
  EXPECT_THAT(error_of(""), HasSubstr("log.md:1:"));
  EXPECT_THAT(error_of("hello\n"), HasSubstr("log.md:1: a log begins with"));
  const auto broken = [&](const char* what, const char* by) { return error_of(replaced(good, what, by)); };
  EXPECT_THAT(broken("- ❌ week1/day3\n", ""), HasSubstr("\"week1/day4\" stands where week1/day3 is due"));
  EXPECT_THAT(broken("- ❌ week12/day7\n", ""), HasSubstr("week12/day7 is missing"));
  EXPECT_THAT(broken("- ❌ week12/day7\n", "- ❌ week12/day7\n- ❌ week12/day7\n"), HasSubstr("after week12/day7"));
  EXPECT_THAT(broken("- ❌ week1/day3", "- ✅ week1/day3"), HasSubstr("needs its date"));
  EXPECT_THAT(broken("- ❌ week1/day3", "- ✅ week1/day3 · 2026-01-09"), HasSubstr("✅ needs a line"));
  EXPECT_THAT(broken("- ❌ week1/day3", "- ✅ week1/day3 · 2026-02-30"), HasSubstr("\"2026-02-30\" is no date"));
  EXPECT_THAT(broken("- ❌ week1/day3", "- ✅ week1/day3 · 2025-12-31"), HasSubstr("before the start"));
  EXPECT_THAT(broken("- ❌ week1/day3", "- done week1/day3"), HasSubstr("begins with ✅, ❌ or 🔄"));
  EXPECT_THAT(broken("110 min", "many min"), HasSubstr("minutes"));
  EXPECT_THAT(broken("110 min", "99999 min"), HasSubstr("minutes"));
  EXPECT_THAT(broken("fedcba9876543210", "fedcba987654321"), HasSubstr("a run is written as"));
  EXPECT_THAT(broken("  - solution: ", "  - answer: "), HasSubstr("is no field"));
  EXPECT_THAT(broken("  - solution: 画图", "  - problem: 画图"), HasSubstr("twice"));
  EXPECT_THAT(broken("- start: 2026-01-05\n", ""), HasSubstr("no line \"- start: DATE\""));
  EXPECT_THAT(broken("## week 3", "## week 4"), HasSubstr("out of order"));
  EXPECT_THAT(broken("## week 3", "whatever"), HasSubstr("\"whatever\" is no line of a log"));
}

TEST(Log, TextsAreMadeFitForIt) {
  EXPECT_EQ(log_text("  a\tb \r\n\n  二  \n", "x"), "a b\n二");
  EXPECT_EQ(log_text("\n \n", "x"), "");
  EXPECT_THROW(log_text("\xff", "x"), Error);
  EXPECT_THROW(log_text("\xe4\xb8", "x"), Error);
  EXPECT_THROW(log_text(std::string(4001, 'a'), "x"), Error);
}

const Run kRun{parse_date("2026-01-05"), true, "0123456789abcdef", "fedcba9876543210"};

Log begun() {
  Log log;
  log.start = parse_date("2026-01-05");
  return log;
}

TEST(CheckIn, DatesAndLatenessAreTodays) {
  const Log on_time = checked_in(begun(), {.day = {1, 1}, .minutes = 60}, kRun, parse_date("2026-01-05"));
  EXPECT_FALSE(on_time.at({1, 1}).late);
  const Log late = checked_in(begun(), {.day = {1, 1}}, kRun, parse_date("2026-01-09"));
  EXPECT_TRUE(late.at({1, 1}).late);
  EXPECT_EQ(late.at({1, 1}).date, parse_date("2026-01-09"));
  // Said again later, to add a text: the day on which it was done stays.
  const Log again = checked_in(on_time, {.day = {1, 1}, .problem = "p"}, std::nullopt, parse_date("2026-01-11"));
  EXPECT_EQ(again.at({1, 1}).date, parse_date("2026-01-05"));
  EXPECT_EQ(again.at({1, 1}).minutes, 60);
  EXPECT_EQ(again.at({1, 1}).problem, "p");
  EXPECT_EQ(again.at({1, 1}).run, kRun);
}

TEST(CheckIn, DoneNeedsARunOrAReason) {
  const Date today = parse_date("2026-01-05");
  EXPECT_THROW(checked_in(begun(), {.day = {1, 1}}, std::nullopt, today), Error);
  EXPECT_THROW(checked_in(begun(), {.day = {1, 1}, .override_reason = " \n"}, std::nullopt, today), Error);
  const Log by_reason = checked_in(begun(), {.day = {1, 1}, .override_reason = "断网"}, std::nullopt, today);
  EXPECT_TRUE(by_reason.at({1, 1}).done());
  EXPECT_FALSE(by_reason.at({1, 1}).verified());
  EXPECT_TRUE(checked_in(by_reason, {.day = {1, 1}}, kRun, today).at({1, 1}).verified());
}

TEST(CheckIn, NeitherTheFutureNorThePast) {
  EXPECT_THROW(checked_in(begun(), {.day = {1, 2}}, kRun, parse_date("2026-01-05")), Error);
  const Log log = checked_in(begun(), {.day = {1, 1}}, kRun, parse_date("2026-01-09"));
  EXPECT_THROW(checked_in(log, {.day = {1, 2}}, kRun, parse_date("2026-01-08")), Error);
  EXPECT_THROW(checked_in(Log(), {.day = {1, 1}}, kRun, parse_date("2026-01-08")), Error);
}

TEST(CheckIn, GoesThroughDoingAndBackToOpen) {
  Log log = checked_in(begun(), {.day = {1, 1}, .mark = Mark::kDoing, .problem = "p"}, std::nullopt,
                       parse_date("2026-01-05"));
  EXPECT_EQ(log.at({1, 1}).mark, Mark::kDoing);
  log = checked_in(log, {.day = {1, 1}}, kRun, parse_date("2026-01-06"));
  EXPECT_TRUE(log.at({1, 1}).late);
  EXPECT_EQ(log.at({1, 1}).problem, "p");
  EXPECT_THROW(
      checked_in(log, {.day = {1, 1}, .mark = Mark::kOpen, .minutes = 3}, std::nullopt, parse_date("2026-01-06")),
      Error);
  log = checked_in(log, {.day = {1, 1}, .mark = Mark::kOpen}, std::nullopt, parse_date("2026-01-06"));
  EXPECT_EQ(log, begun());
}

}  // namespace
}  // namespace sedum::course
