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

SharedCourse add_course_options(CLI::App& app, const char* example);
void add_course_language(CLI::App& app, const SharedCourse& options);

// course_reports.cc
Run setup_course_review(CLI::App& app);
Run setup_course_stage(CLI::App& app);
Run setup_course_progress(CLI::App& app);
Run setup_course_export(CLI::App& app);
Run setup_course_archive(CLI::App& app);
Run setup_course_serve(CLI::App& app);

}  // namespace sedum::cli
