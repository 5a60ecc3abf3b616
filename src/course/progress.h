#pragma once
// How far the learner is. A stage's percentage is the sum of the plan's own increments over the rows that are ✅; nothing else
// counts. Stage two at 100 % is awaiting acceptance (待验收) until lesson 10.1 has passed.
//
//   Progress p = measure(plan, log, today());
//   progress_line(p, Language::kChinese);    // "阶段1：20% · 阶段2：0% · 阶段3：0% · 验证 7/80 行 · 打卡 7/84 天 · …"

#include <array>
#include <string>
#include <vector>

#include "course/log.h"
#include "course/plan.h"

namespace sedum::course {

struct StageProgress {
  int percent = 0;
  int due = 0;            // percent by the calendar, today included
  bool awaiting = false;  // 待验收
};

struct Progress {
  std::array<StageProgress, kStages> stages;
  int rows = 0, rows_done = 0;
  int rows_verified = 0;  // every day of the row has a passing run; an override does not verify
  int days_done = 0;
  int days_due = 0;  // days of the course up to today
  int overdue = 0, late = 0, overridden = 0;
  int minutes = 0;
};

bool row_done(const Row& row, const Log& log);      // all its days are ✅
bool row_verified(const Row& row, const Log& log);  // and have runs
Mark row_mark(const Row& row, const Log& log);      // 🔄 when some of its days are begun or done
bool is_overdue(Day day, const Log& log, const Calendar& calendar, Date today);

Progress measure(const Plan& plan, const Log& log, Date today);
std::string stage_percent(const StageProgress& stage, Language language);  // "60%", "100%（待验收）"
std::string progress_line(const Progress& progress, Language language);

// One day of the burn-up: what was due and what was done at its end.
struct BurnUpPoint {
  Date date;
  std::array<int, kStages> due{}, done{};  // percent
  int days_due = 0, days_done = 0;
  int minutes = 0;  // of that day alone
};
// From the start to the later of the plan's last date and `today`; `done` ends at today (later points repeat it).
std::vector<BurnUpPoint> burn_up(const Plan& plan, const Log& log, Date today);

}  // namespace sedum::course
