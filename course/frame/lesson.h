#pragma once
// The frame of a lesson: a program that states a difficulty, computes, draws, and claims what it teaches.
//
//   #include "course/frame/lesson.h"
//   using namespace sedum::course;
//
//   int main(int argc, char** argv) {
//     Lesson lesson(argc, argv, {.title = "学习率与收敛", .difficulty = "学习率的影响不直观", .remedy = "试三种学习率",
//                                .bugs = {{"sign", "梯度加了而不是减了"}}});
//     lesson.predict("λmax = 25 时，多大的学习率开始发散？", "threshold");
//     const double step = lesson.broken("sign") ? -0.01 : 0.01;
//     ...
//     lesson.value("threshold", 2 / 25.0);
//     lesson.at_most("0.01 时损失收敛到", loss, 1e-6);
//     lesson.picture("curves", plot);
//     return lesson.finish();
//   }
//
// Options of every lesson: --quick, --seed N, --out DIR, --predict VALUE, --break[=BUG], --found BUG, --bugs. docs/writing-a-lesson.md
// tells what they do, where results go and how notes quote them. Exit codes: 0 all claims hold; 1 one is broken (a line on standard
// error says which, what was measured and what was to be), 2 wrong usage. What a lesson throws becomes one line and exit code 1.

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/core.h>

#include "report/picture.h"
#include "report/table.h"

namespace sedum::course {

// A mistake that --break can plant: the lesson's code asks broken(name) where it would make it. At least one claim must then fail.
struct Bug {
  std::string name, what;  // what: one sentence, shown when the learner has found it
};

struct LessonPage {
  std::string title, difficulty, remedy = "";
  std::vector<Bug> bugs = {};
};

class Lesson {
 public:
  Lesson(int argc, char** argv, LessonPage page);
  ~Lesson();
  Lesson(const Lesson&) = delete;
  Lesson& operator=(const Lesson&) = delete;

  bool quick() const { return quick_; }  // seconds, for tests; the full run is what notes quote
  uint64_t seed() const { return seed_; }
  const std::filesystem::path& out() const { return out_; }  // exists; files of the lesson's own may go there too
  bool broken(std::string_view bug) const;
  // Where full runs leave their results, course/results: for a lesson that looks back at others.
  static std::filesystem::path kept_results();

  // A heading, and a line of text in fmt's notation.
  void section(std::string_view heading);
  template <class... Args>
  void say(fmt::format_string<Args...> format, Args&&... args) {
    print(fmt::vformat(format, fmt::make_format_args(args...)));
  }

  // Asks for a guess of the value that the lesson will give `key`, before it computes: on a terminal, or by --predict (once for
  // each question, in order); otherwise nothing is asked. finish() shows the guess beside the measurement.
  void predict(std::string_view question, std::string_view key);
  // The same for a question that has a right answer: finish() says right or wrong (within one per cent). Neither a guess nor an
  // answer decides whether a lesson passes.
  void exercise(std::string_view question, std::string_view key);

  // A number that notes may quote: key of [a-z0-9_]. Shown, and kept in result.json with nine digits.
  double value(std::string_view key, double number, std::string_view meaning = "");
  void table(const report::Table& table);
  // Writes NAME.png (SVG: name with its ending) into the output folder and into result.json.
  void picture(std::string_view name, const report::Picture& picture);

  // Claims: a name that says what is taught, what was measured, and its bound. All are tried; finish() counts the broken ones.
  // NaN breaks every claim.
  bool at_most(std::string_view name, double measured, double bound);
  bool at_least(std::string_view name, double measured, double bound);
  bool between(std::string_view name, double measured, double low, double high);
  bool equal(std::string_view name, double measured, double expected);  // exactly
  bool claim(std::string_view name, bool holds);

  int finish();  // writes result.json, tells the outcome; the value is main's

 private:
  struct Record;
  void print(std::string_view line);
  void ask(std::string_view question, std::string_view key, bool graded);
  void tell_guesses();
  bool check(std::string_view name, double measured, std::string_view relation, std::vector<double> bounds, bool holds);
  std::string choose_bug(const std::string& asked) const;
  [[noreturn]] void grade_found(const std::string& found) const;

  LessonPage page_;
  bool quick_ = false;
  uint64_t seed_ = 1;
  std::filesystem::path out_;
  std::string bug_;          // the planted one, or ""
  bool bug_hidden_ = false;  // chosen by the seed, to be found
  std::vector<std::string> predicted_;
  Record* record_;
};

}  // namespace sedum::course
