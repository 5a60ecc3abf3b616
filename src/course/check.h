#pragma once
// Whether what the course says about itself is true: every link and anchor of the plan resolves, every link inside a note too,
// and every number that a note quotes from a result is that result's number.
//
//   CheckReport report = check_course(lessons, plan);
//   for (const Finding& f : report.problems) print(f.where, f.problem);   // none: the course is in order; `open` is yet to be written

#include <filesystem>
#include <string>
#include <vector>

#include "course/lesson.h"
#include "course/plan.h"

namespace sedum::course {

struct Finding {
  std::string where;  // "plan.tsv week3/day2", "docs/phase1-notes.md:41"
  std::string problem;
};

struct CheckReport {
  int rows = 0;     // of the plan that were looked at
  int links = 0;    // inside notes
  int numbers = 0;  // quoted
  std::vector<Finding> problems;
  std::vector<Finding> open;  // programs and notes that do not exist yet
};

CheckReport check_course(const Lessons& lessons, const Plan& plan);

// The same for what one row links: for a day whose lesson is a note.
CheckReport check_row(const Lessons& lessons, const Plan& plan, const Row& row);

}  // namespace sedum::course
