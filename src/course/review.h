#pragma once
// The week's review and the stage's summary: the facts are written from the log and the kept results, the thoughts are the
// learner's. What stands between the two marks is written anew each time; what the learner wrote outside is never touched.
//
//   ReviewResult r = write_review(folders, plan, 3, today());      // week3/day7/review.md
//   StageSummary s = write_stage(folders, plan, 1, {}, today());   // week4/day7/stage1.md; throws while 收获 or 改进点 is empty

#include <filesystem>
#include <string>

#include "course/checkin.h"

namespace sedum::course {

// Refused before the week's seventh day (week 10's review is due on its Sunday like the others, though it has no row of its own).
std::filesystem::path write_review(const Folders& folders, const Plan& plan, int week, Date today);

struct StageWords {
  std::string gains, improvements;  // 收获, 改进点: put under their headings when not empty
};
// The stage's summary in the folder of its last day. Writes the file first, then throws Error if one of the two is still empty.
std::filesystem::path write_stage(const Folders& folders, const Plan& plan, int stage, const StageWords& words,
                                  Date today);

// The text below a heading of level two, blanks and comments aside.
std::string words_below(std::string_view document, std::string_view heading);

}  // namespace sedum::course
