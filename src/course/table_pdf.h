#pragma once
// The whole table on paper: A4 across, every row with its mark, dates, texts and a link that can be clicked; what the learner
// wrote stands below its row at full width. Fonts are embedded, and a row is never cut by a page's end.
//
//   write_file("course.pdf", table_pdf(plan, log, {.today = today(), .links = "https://github.com/li/sedum/blob/main/course/"}));

#include <string>

#include "course/log.h"
#include "course/plan.h"

namespace sedum::course {

struct TableOptions {
  Date today;
  Language language = Language::kChinese;
  std::string links = "";  // stands before each link of the plan; "": relative to the folder of the PDF
};
std::string table_pdf(const Plan& plan, const Log& log, const TableOptions& options);

}  // namespace sedum::course
