#pragma once
// The plan: 80 rows for 84 days, as plan.tsv holds it (a header, then one row a line, tabs between the columns).
//
//   Plan plan = Plan::read("course/plan.tsv");
//   plan.row_of({10, 4}).name();     // "week10/day3-7": five days share this row

#include <filesystem>
#include <string>
#include <vector>

#include "course/calendar.h"

namespace sedum::course {

enum class Language { kChinese, kEnglish };

// What a row says, in one language.
struct Wording {
  std::string task, difficulty, remedy;
};

struct Row {
  int week = 0, first_day = 0, last_day = 0;
  std::string month = {};  // the plan's advice, "2026-01-XX"; dates come from the calendar
  Wording chinese = {}, english = {};
  std::string link = {};  // relative to the course's folder: code/….cc, or docs/….md#anchor
  int stage = 0;
  int cumulative = 0;  // percent of the stage when this row is done, by the plan's own numbers
  int increment = 0;   // what this row adds to it

  std::string name() const;  // "week3/day2"
  Day first() const { return {week, first_day}; }
  Day last() const { return {week, last_day}; }
  bool is_note() const { return link.starts_with("docs/"); }
  const Wording& wording(Language language) const;  // Chinese where there is no English
};

inline constexpr int kStages = 3;
inline constexpr Day kAcceptance{10, 1};  // stage two is accepted when this lesson has passed

class Plan {
 public:
  // Also reads plan.en.tsv beside it when there is one. Throws Error with the line for a plan that does not add up: days that
  // are missing or out of order, increments that are not the differences of the percentages.
  static Plan read(const std::filesystem::path& path);

  const std::vector<Row>& rows() const { return rows_; }
  const Row& row_of(Day day) const;

 private:
  std::vector<Row> rows_;
};

}  // namespace sedum::course
