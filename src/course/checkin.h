#pragma once
// Starting the course and checking a day in: what changes in the log, and the commit that records it.
//
//   Folders folders{.course = "course", .log = "/home/li/my-log"};
//   CheckIn c{.day = parse_day("week3/day2"), .mark = Mark::kDone, .minutes = 110};
//   CommitResult result = check_in(folders, plan, c, lessons.standing(c.day), {.today = today()});
//
// Rules: a day can be checked in from its date on; the entry gets today's date, whatever day it belongs to, and is marked 补卡
// when that is later; ✅ needs a passing run of the lesson as it is now, or an override with its reason.

#include <filesystem>
#include <optional>
#include <string>

#include "course/lesson.h"
#include "course/log.h"
#include "course/plan.h"

namespace sedum::course {

struct Folders {
  std::filesystem::path course;  // plan.tsv, code/, docs/
  std::filesystem::path log;     // log.md, weekN/dayM/

  std::filesystem::path plan_file() const { return course / "plan.tsv"; }
  std::filesystem::path log_file() const { return log / "log.md"; }
  std::filesystem::path day(Day day) const { return log / day.name(); }  // what the learner keeps of a day
};

Log read_log(const Folders& folders);  // throws Error with the mend when there is none

struct CheckIn {
  Day day;
  Mark mark = Mark::kDone;
  std::optional<std::string> problem = {}, solution = {};  // none: as they are; "": taken out
  std::optional<int> minutes = {};
  std::string override_reason = {};  // instead of a run
};

// The log after a check-in; `run` is the passing run of that day's lesson, if there is one, and `why_not` says why there is none.
// Throws Error for what the rules forbid.
Log checked_in(Log log, const CheckIn& check_in, const std::optional<Run>& run, Date today,
               const std::string& why_not = "");

struct Commit {
  Date today;
  bool commit = true;  // false: files are written, git is left alone
};

struct CommitResult {
  std::string hash;       // "" without a commit, or when nothing had changed
  int other_changes = 0;  // tracked files with changes that were left as they are
};

// The results that the evidence holds are kept beside the log, as weekN/dayM/NAME/result.json.
CommitResult check_in(const Folders& folders, const Plan& plan, const CheckIn& check_in, const Standing& standing,
                      const Commit& how);

// A new log, or more breaks for one that exists (its start may only move while nothing is checked in).
CommitResult start(const Folders& folders, std::optional<Date> first_day, const std::vector<Break>& breaks,
                   const Commit& how);

}  // namespace sedum::course
