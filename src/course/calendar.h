#pragma once
// Dates, and the day on which each of the course's 84 days falls: from a start date and the breaks.
//
//   Calendar calendar(parse_date("2026-01-05"), {parse_break("2026-02-15..2026-02-22")});
//   calendar.date_of({6, 7});       // 2026-02-23: the break pushed it back by eight days

#include <chrono>
#include <compare>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace sedum::course {

using Date = std::chrono::sys_days;

inline constexpr int kWeeks = 12, kDaysOfWeek = 7, kDays = kWeeks * kDaysOfWeek;

Date parse_date(std::string_view text);  // "2026-01-05"; throws Error for what the calendar does not have
std::string to_string(Date date);
Date today();  // by the machine's clock and time zone

// One of the 84 days of the course.
struct Day {
  int week = 1, day = 1;
  int index() const { return (week - 1) * kDaysOfWeek + day - 1; }  // 0 … 83
  std::string name() const;                                         // "week3/day2"
  auto operator<=>(const Day&) const = default;
};
Day day_at(int index);
Day parse_day(std::string_view text);   // "week3/day2" or "3.2"; throws Error
int parse_week(std::string_view text);  // "3" or "week3"

struct Break {
  Date first, last;  // both are free
  auto operator<=>(const Break&) const = default;
};
Break parse_break(std::string_view text);  // "2026-02-15..2026-02-22", or one date
std::string to_string(const Break& pause);

class Calendar {
 public:
  Calendar(Date start, std::vector<Break> breaks);
  Date date_of(Day day) const { return dates_[size_t(day.index())]; }
  Date start() const { return dates_.front(); }
  std::optional<Day> day_on(Date date) const;  // none before the start, in a break, after the end

 private:
  std::vector<Date> dates_;
};

}  // namespace sedum::course
