#pragma once
// The lessons of the plan: which programs a day has, building and running them, and the record of what passed.
//
//   Lessons lessons({.course = "course", .build = "build/release", .programs = ""});
//   RunOutcome outcome = lessons.run({1, 1}, {.quick = true, .today = today(), .terminal = true});
//   Standing standing = lessons.standing({1, 1});     // evidence for a check-in, or why there is none
//
// docs/writing-a-lesson.md says where programs and results lie. Results of these runs go to BUILD/course/results, full runs too:
// what notes quote, course/results, changes only when a lesson's author runs its program.

#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "course/log.h"
#include "course/plan.h"

namespace sedum::course {

struct Program {
  std::string place;  // "week1/day1/matrix_eigen"
  std::filesystem::path source, binary, results;
  std::string name() const { return std::filesystem::path(place).filename().string(); }
};

struct Places {
  std::filesystem::path course;         // code/, docs/, results/
  std::filesystem::path build;          // where CMake built Sedum
  std::filesystem::path programs = {};  // if not empty: built programs as weekN/dayM/NAME, which are run as they are
};

struct RunOptions {
  Date today;
  bool quick = false;
  std::vector<std::string> arguments = {};  // handed to the programs
  bool terminal = false;  // the programs may ask and are read by the user; otherwise `output` hears them
  std::function<void(std::string_view)> output = {};
  std::function<bool()> tick = {};  // ten times a second; false ends the run
};

struct RunOutcome {
  bool passed = false;
  int exit_code = 0;
  std::string failed = {};  // the place of the program that failed, or what could not be built
  double seconds = 0;
};

// Evidence for ✅: the run, and the content of each program's result.json by the program's name.
struct Evidence {
  Run run;
  std::map<std::string, std::string> results;
};
struct Standing {
  std::optional<Evidence> evidence;
  std::string why_not;  // when there is none: one line
};

class Lessons {
 public:
  Lessons(Places places, const Plan& plan) : places_(std::move(places)), plan_(plan) {}
  const Places& places() const { return places_; }

  std::vector<Program> programs(Day day) const;  // the one that the plan links first; empty: the lesson is its note

  // Builds what has changed and runs the day's programs, until one fails. A day without programs: its note is checked. The
  // outcome is recorded beside the results, unless the arguments plant a bug or send the results elsewhere. Throws Error when
  // there is nothing to run yet.
  RunOutcome run(Day day, const RunOptions& options) const;

  Standing standing(Day day) const;

  std::filesystem::path note_of(const Row& row) const;  // the file, in Chinese
  std::string note_section(const Row& row) const;       // what is written under the row's anchor; "" if nothing is
  // What the page shows of the notes: the row's section, or the one that links its program; "" if there is none. The English note
  // has the same anchors or the same number of headings in the same order.
  std::string shown_note(const Row& row, Language language) const;
  std::vector<std::filesystem::path> pictures(Day day) const;  // of the latest run, or else those that notes quote

 private:
  int build(const Program& program, const RunOptions& options) const;
  int run_program(const Program& program, const RunOptions& options) const;
  std::filesystem::path record_of(Day day) const;
  std::string code_hash(Day day) const;

  Places places_;
  const Plan& plan_;
};

}  // namespace sedum::course
