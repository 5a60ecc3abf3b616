#pragma once
// The learner's log: 84 entries, one a day of the course, in a Markdown file that people read and git shows line by line.
//
//   # 打卡记录 · check-in log
//
//   - start: 2026-01-05
//   - break: 2026-02-15..2026-02-22
//
//   ## week 1
//
//   - ✅ week1/day1 · 2026-01-05 · 110 min
//     - problem: …
//     - solution: …
//     - run: 2026-01-05 quick, code 3fa2b1c09d8e4f51, result 99ab12cd34ef5678
//   - ✅ week1/day2 · 2026-01-08 · 补卡 · 90 min
//     - override: no network on the train
//   - ❌ week1/day3
//
// A longer text goes on in lines indented by four blanks. What does not parse is refused with its line: nothing is guessed, and
// nothing that somebody wrote is dropped.

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "course/calendar.h"

namespace sedum::course {

inline constexpr int kMostMinutes = 24 * 60;  // of one day

enum class Mark { kOpen, kDoing, kDone };  // ❌ 🔄 ✅
std::string_view emoji(Mark mark);

// Evidence of a lesson that passed: when (after an override it may be later than the check-in), and which program and result it was (the first 16 hexadecimal digits of SHA-256).
struct Run {
  Date date;
  bool quick = false;
  std::string code = {}, result = {};
  bool operator==(const Run&) const = default;
};

struct Entry {
  Mark mark = Mark::kOpen;
  std::optional<Date> date = {};  // of the check-in; every entry that is not open has one
  bool late = false;              // 补卡: checked in after the day that it belongs to
  int minutes = 0;
  std::string problem = {}, solution = {};
  std::optional<Run> run = {};
  std::string override_reason = {};  // ✅ without a run
  bool operator==(const Entry&) const = default;

  bool done() const { return mark == Mark::kDone; }
  bool verified() const { return done() && run; }  // an override counts as done, not as verified
};

class Log {
 public:
  Log() : entries_(size_t(kDays)) {}  // everything open, not started

  static Log parse(std::string_view text, const std::string& name);  // `name` is for messages
  std::string format() const;

  std::optional<Date> start;
  std::vector<Break> breaks;

  Entry& at(Day day) { return entries_[size_t(day.index())]; }
  const Entry& at(Day day) const { return entries_[size_t(day.index())]; }
  std::optional<Date> newest() const;  // the date of the latest check-in

  // Throws Error with the mend when the course has not been started.
  Calendar calendar() const;

  bool operator==(const Log&) const = default;

 private:
  std::vector<Entry> entries_;
};

// A text as the log can hold it: control characters become blanks, lines lose blanks at their ends, empty lines go. Throws Error
// for more than 4,000 bytes and for what is not UTF-8.
std::string log_text(std::string_view text, const std::string& name);

}  // namespace sedum::course
