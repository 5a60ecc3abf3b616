#include "course/calendar.h"

#include <algorithm>
#include <charconv>
#include <ctime>

#include <fmt/format.h>

#include "base/error.h"

namespace sedum::course {
namespace {

// A whole number of digits alone; -1 if it is not one.
int digits(std::string_view text) {
  int value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  const bool whole = error == std::errc() && end == text.data() + text.size() && text[0] != '-' && text[0] != '+';
  return whole ? value : -1;
}

}  // namespace

Date parse_date(std::string_view text) {
  using namespace std::chrono;
  if (text.size() == 10 && text[4] == '-' && text[7] == '-') {
    const int y = digits(text.substr(0, 4)), m = digits(text.substr(5, 2)), d = digits(text.substr(8, 2));
    const year_month_day date{year(y), month(unsigned(m)), day(unsigned(d))};
    if (y >= 1970 && m > 0 && d > 0 && date.ok()) return sys_days(date);
  }
  throw Error(fmt::format("\"{}\" is no date", text), "write it as 2026-01-05");
}

std::string to_string(Date date) {
  const std::chrono::year_month_day d(date);
  return fmt::format("{:04}-{:02}-{:02}", int(d.year()), unsigned(d.month()), unsigned(d.day()));
}

Date today() {
  using namespace std::chrono;
  const std::time_t now = std::time(nullptr);
  std::tm local{};
  ::localtime_r(&now, &local);
  return sys_days(year(local.tm_year + 1900) / (local.tm_mon + 1) / local.tm_mday);
}

std::string Day::name() const { return fmt::format("week{}/day{}", week, day); }

Day day_at(int index) { return {index / kDaysOfWeek + 1, index % kDaysOfWeek + 1}; }

Day parse_day(std::string_view text) {
  std::string_view rest = text;
  const size_t middle = rest.starts_with("week") ? rest.find("/day") : rest.find('.');
  if (middle != std::string_view::npos) {
    const bool named = rest.starts_with("week");
    const Day day{digits(rest.substr(named ? 4 : 0, middle - (named ? 4 : 0))),
                  digits(rest.substr(middle + (named ? 4 : 1)))};
    if (day.week >= 1 && day.week <= kWeeks && day.day >= 1 && day.day <= kDaysOfWeek) return day;
  }
  throw Error(fmt::format("the course has no day \"{}\"", text),
              "name one from week1/day1 to week12/day7; `sedum course list` shows them");
}

int parse_week(std::string_view text) {
  const int week = digits(text.starts_with("week") ? text.substr(4) : text);
  if (week >= 1 && week <= kWeeks) return week;
  throw Error(fmt::format("the course has no week \"{}\"", text), "give a number from 1 to 12");
}

Break parse_break(std::string_view text) {
  const size_t middle = text.find("..");
  const Date first = parse_date(text.substr(0, middle));
  const Date last = middle == std::string_view::npos ? first : parse_date(text.substr(middle + 2));
  if (last < first) throw Error(fmt::format("the break {} ends before it begins", text), "give the earlier date first");
  if (last - first > std::chrono::days(366))
    throw Error(fmt::format("the break {} is longer than a year", text), "start the course when it is over");
  return {first, last};
}

std::string to_string(const Break& pause) {
  if (pause.first == pause.last) return to_string(pause.first);
  return to_string(pause.first) + ".." + to_string(pause.last);
}

Calendar::Calendar(Date start, std::vector<Break> breaks) {
  std::sort(breaks.begin(), breaks.end());
  Date date = start;
  auto pause = breaks.begin();
  while (dates_.size() < size_t(kDays)) {
    for (; pause != breaks.end() && pause->first <= date; ++pause)
      if (pause->last >= date) date = pause->last + std::chrono::days(1);
    dates_.push_back(date);
    date += std::chrono::days(1);
  }
}

std::optional<Day> Calendar::day_on(Date date) const {
  const auto found = std::lower_bound(dates_.begin(), dates_.end(), date);
  if (found == dates_.end() || *found != date) return std::nullopt;
  return day_at(int(found - dates_.begin()));
}

}  // namespace sedum::course
