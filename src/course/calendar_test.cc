#include "course/calendar.h"

#include <gmock/gmock.h>

#include "base/error.h"

namespace sedum::course {
namespace {

TEST(Calendar, SkipsBreaksAndNothingElse) {
  const Calendar calendar(parse_date("2026-01-05"), {parse_break("2026-02-15..2026-02-22")});
  EXPECT_EQ(to_string(calendar.date_of({1, 1})), "2026-01-05");
  EXPECT_EQ(to_string(calendar.date_of({6, 6})), "2026-02-14");
  EXPECT_EQ(to_string(calendar.date_of({6, 7})), "2026-02-23");
  EXPECT_EQ(to_string(calendar.date_of({12, 7})), "2026-04-06");  // 84 days and a break of eight
  EXPECT_EQ(calendar.day_on(parse_date("2026-02-15")), std::nullopt);
  EXPECT_EQ(calendar.day_on(parse_date("2026-02-23")), (Day{6, 7}));
  EXPECT_EQ(calendar.day_on(parse_date("2026-01-04")), std::nullopt);
  EXPECT_EQ(calendar.day_on(parse_date("2026-04-07")), std::nullopt);
}

TEST(Calendar, TakesBreaksThatOverlapTouchOrCoverTheStart) {
  const auto first = [](std::vector<Break> breaks) {
    return to_string(Calendar(parse_date("2026-01-05"), std::move(breaks)).date_of({1, 1}));
  };
  EXPECT_EQ(first({parse_break("2026-01-01..2026-01-06")}), "2026-01-07");
  EXPECT_EQ(first({parse_break("2026-01-06..2026-01-08"), parse_break("2026-01-05")}), "2026-01-09");
  EXPECT_EQ(first({parse_break("2026-01-05..2026-01-20"), parse_break("2026-01-06..2026-01-07")}), "2026-01-21");
  EXPECT_EQ(first({parse_break("2025-01-05..2025-01-20")}), "2026-01-05");
}

TEST(Calendar, EveryDayHasADateOfItsOwnOutsideTheBreaks) {
  const Break pause = parse_break("2026-02-15..2026-02-22");
  const Calendar calendar(parse_date("2026-01-05"), {pause, parse_break("2026-03-01")});
  for (int i = 1; i < kDays; ++i) {
    const Date date = calendar.date_of(day_at(i));
    EXPECT_GT(date, calendar.date_of(day_at(i - 1)));
    EXPECT_FALSE(date >= pause.first && date <= pause.last) << to_string(date);
    EXPECT_EQ(calendar.day_on(date), day_at(i));
  }
}

TEST(Dates, OnlyThoseThatExist) {
  EXPECT_EQ(to_string(parse_date("2024-02-29")), "2024-02-29");
  for (const char* bad : {"", "2026-02-29", "2026-13-01", "2026-00-10", "2026-01-32", "2026-1-5", "26-01-05",
                          "2026/01/05", "2026-01-05 ", "+026-01-05", "2026--1-05", "2026-01-XX"})
    EXPECT_THROW(parse_date(bad), Error) << bad;
  for (const char* bad :
       {"2026-02-22..2026-02-15", "2026-02-15..", "..", "2026-02-15...2026-02-16", "2026-01-01..2030-01-01"})
    EXPECT_THROW(parse_break(bad), Error) << bad;
}

TEST(Days, AreNamedInTwoWays) {
  EXPECT_EQ(parse_day("week3/day2"), (Day{3, 2}));
  EXPECT_EQ(parse_day("12.7"), (Day{12, 7}));
  EXPECT_EQ(day_at(Day{10, 3}.index()).name(), "week10/day3");
  for (const char* bad : {"", "week13/day1", "week0/day1", "week1/day8", "week1", "week1/day", "week1/day1x",
                          "week-1/day1", "1", "1.", ".1", "1.1.1", "week1/day99999999999", "../week1/day1"})
    EXPECT_THROW(parse_day(bad), Error) << bad;
  EXPECT_EQ(parse_week("week12"), 12);
  EXPECT_THROW(parse_week("13"), Error);
}

}  // namespace
}  // namespace sedum::course
