#pragma once
// What the subcommands of `sedum course` share: where the course, its programs and the learner's log are, and what day it is.

#include <filesystem>
#include <memory>
#include <string>

#include "cli/command.h"
#include "course/checkin.h"
#include "course/plan.h"

namespace sedum::cli {

struct CourseOptions {
  std::string course, log, build, programs, date, language = "zh";

  sedum::course::Date today() const { return date.empty() ? sedum::course::today() : sedum::course::parse_date(date); }
  sedum::course::Language lang() const {
    return language == "en" ? sedum::course::Language::kEnglish : sedum::course::Language::kChinese;
  }
  sedum::course::Folders folders() const;
  sedum::course::Plan plan() const { return sedum::course::Plan::read(folders().plan_file()); }
  sedum::course::Places places() const {
    return {.course = find_course(), .build = find_build(), .programs = programs};
  }

 private:
  std::filesystem::path find_course() const;
  std::filesystem::path find_build() const;
};
using SharedCourse = std::shared_ptr<CourseOptions>;

SharedCourse add_course_options(Flags app, const char* example);
void add_course_language(Flags app, const SharedCourse& options);

// course_reports.cc
Run setup_course_review(Flags app);
Run setup_course_stage(Flags app);
Run setup_course_progress(Flags app);
Run setup_course_export(Flags app);
Run setup_course_archive(Flags app);
Run setup_course_serve(Flags app);

}  // namespace sedum::cli
