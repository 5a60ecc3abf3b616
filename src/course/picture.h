#pragma once
// The progress as a picture: a burn-up of each stage (plan and done), the days, the minutes of each day.
//
//   write_file("progress.png", progress_picture(plan, log, today(), Language::kChinese, report::Canvas::Format::kPng));

#include <string>

#include "course/log.h"
#include "course/plan.h"
#include "report/canvas.h"

namespace sedum::course {

// Throws Error when the course has not been started: there are no dates to draw over.
std::string progress_picture(const Plan& plan, const Log& log, Date today, Language language,
                             report::Canvas::Format format);

}  // namespace sedum::course
