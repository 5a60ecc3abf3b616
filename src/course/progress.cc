#include "course/progress.h"

#include <algorithm>

#include <fmt/format.h>

namespace sedum::course {
namespace {

template <class Condition>
int count_days(const Row& row, Condition condition) {
  int count = 0;
  for (Day day = row.first(); day <= row.last(); ++day.day) count += condition(day);
  return count;
}

int length(const Row& row) { return row.last_day - row.first_day + 1; }

// The date on which the last of a row's days was checked in; only for rows that are done.
Date done_on(const Row& row, const Log& log) {
  Date date = *log.at(row.first()).date;
  for (Day day = row.first(); day <= row.last(); ++day.day) date = std::max(date, *log.at(day).date);
  return date;
}

}  // namespace

bool row_done(const Row& row, const Log& log) {
  return count_days(row, [&](Day day) { return log.at(day).done(); }) == length(row);
}

bool row_verified(const Row& row, const Log& log) {
  return count_days(row, [&](Day day) { return log.at(day).verified(); }) == length(row);
}

Mark row_mark(const Row& row, const Log& log) {
  if (row_done(row, log)) return Mark::kDone;
  return count_days(row, [&](Day day) { return log.at(day).mark != Mark::kOpen; }) > 0 ? Mark::kDoing : Mark::kOpen;
}

bool is_overdue(Day day, const Log& log, const Calendar& calendar, Date today) {
  return !log.at(day).done() && calendar.date_of(day) < today;
}

Progress measure(const Plan& plan, const Log& log, Date today) {
  Progress p;
  p.rows = int(plan.rows().size());
  for (const Row& row : plan.rows()) {
    StageProgress& stage = p.stages[size_t(row.stage - 1)];
    if (row_done(row, log)) stage.percent += row.increment, ++p.rows_done;
    p.rows_verified += row_verified(row, log);
  }
  p.stages[1].awaiting = p.stages[1].percent == 100 && !log.at(kAcceptance).verified();
  for (int i = 0; i < kDays; ++i) {
    const Entry& entry = log.at(day_at(i));
    p.days_done += entry.done();
    p.late += entry.late;
    p.overridden += entry.done() && !entry.override_reason.empty();
    p.minutes += entry.minutes;
  }
  if (!log.start) return p;
  const Calendar calendar = log.calendar();
  for (int i = 0; i < kDays; ++i) {
    p.days_due += calendar.date_of(day_at(i)) <= today;
    p.overdue += is_overdue(day_at(i), log, calendar, today);
  }
  for (const Row& row : plan.rows())
    if (calendar.date_of(row.last()) <= today) p.stages[size_t(row.stage - 1)].due += row.increment;
  return p;
}

std::string stage_percent(const StageProgress& stage, Language language) {
  const bool chinese = language == Language::kChinese;
  return fmt::format("{}%{}", stage.percent, !stage.awaiting ? "" : chinese ? "（待验收）" : " (awaiting acceptance)");
}

std::string progress_line(const Progress& p, Language language) {
  const bool chinese = language == Language::kChinese;
  std::string line;
  for (int i = 0; i < kStages; ++i) {
    line += fmt::format("{}{}{}{} · ", chinese ? "阶段" : "stage ", i + 1, chinese ? "：" : ": ",
                        stage_percent(p.stages[size_t(i)], language));
  }
  line +=
      fmt::format(fmt::runtime(chinese ? "验证 {}/{} 行 · 打卡 {}/{} 天" : "{} of {} rows verified · {} of {} days"),
                  p.rows_verified, p.rows, p.days_done, kDays);
  const auto add = [&](int n, const char* in_chinese, const char* in_english) {
    if (n > 0) line += fmt::format(fmt::runtime(chinese ? in_chinese : in_english), n);
  };
  add(p.overdue, " · 逾期 {} 天", " · {} overdue");
  add(p.late, " · 补卡 {} 次", " · {} late");
  add(p.overridden, " · 免验 {} 天", " · {} overridden");
  add(p.minutes, " · 共 {} 分钟", " · {} minutes");
  return line;
}

std::vector<BurnUpPoint> burn_up(const Plan& plan, const Log& log, Date today) {
  const Calendar calendar = log.calendar();
  const Date end = std::max(calendar.date_of(day_at(kDays - 1)), today);
  std::vector<BurnUpPoint> points;
  for (Date date = calendar.start(); date <= end; date += std::chrono::days(1)) {
    BurnUpPoint point{.date = date};
    const Date seen = std::min(date, today);
    for (const Row& row : plan.rows()) {
      const size_t stage = size_t(row.stage - 1);
      if (calendar.date_of(row.last()) <= date) point.due[stage] += row.increment;
      if (row_done(row, log) && done_on(row, log) <= seen) point.done[stage] += row.increment;
    }
    for (int i = 0; i < kDays; ++i) {
      const Entry& entry = log.at(day_at(i));
      point.days_due += calendar.date_of(day_at(i)) <= date;
      point.days_done += entry.done() && *entry.date <= seen;
      if (entry.date == date) point.minutes += entry.minutes;
    }
    points.push_back(point);
  }
  return points;
}

}  // namespace sedum::course
