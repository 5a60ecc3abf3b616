#include "course/frame/lesson.h"

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <iostream>
#include <map>
#include <optional>

#include <CLI/CLI.hpp>
#include <unistd.h>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/random.h"

// The build gives every lesson its place (week1/day1/matrix_eigen) and the folders of kept and of passing results.
#if !defined(SEDUM_COURSE_RESULTS) || !defined(SEDUM_COURSE_SCRATCH)
#error "lessons are built by course/CMakeLists.txt"
#endif

namespace sedum::course {

extern const char* const kLessonPlace;  // week1/day1/matrix_eigen: a file that the build writes for each lesson

namespace {

using Json = nlohmann::ordered_json;
namespace fs = std::filesystem;

// Nine digits: enough for any note, and the same on machines whose sums differ in the last bits.
Json rounded(double number) {
  if (!std::isfinite(number)) return fmt::format("{}", number);
  return std::strtod(fmt::format("{:.9g}", number).c_str(), nullptr);
}

[[noreturn]] void die_of_exception() {
  std::string what = "unknown exception";
  try {
    if (const auto current = std::current_exception()) std::rethrow_exception(current);
  } catch (const std::exception& error) {
    what = error.what();
  } catch (...) {
  }
  std::fflush(stdout);
  fmt::print(stderr, "error: {}: {}\n", kLessonPlace, what);
  std::_Exit(1);
}

std::string bug_names(const std::vector<Bug>& bugs) {
  std::string names;
  for (const Bug& bug : bugs) names += (names.empty() ? "" : ", ") + bug.name;
  return names;
}

}  // namespace

namespace {
struct Guess {
  std::string question, key;
  bool graded;
  std::optional<double> number;
};
}  // namespace

struct Lesson::Record {
  Json values = Json::object(), claims = Json::array(), pictures = Json::array();
  std::map<std::string, double> measured;
  std::vector<Guess> guesses;
  Json predictions = Json::array();
  int broken = 0;
};

Lesson::Lesson(int argc, char** argv, LessonPage page) : page_(std::move(page)), record_(new Record) {
  std::set_terminate(die_of_exception);
  CLI::App app(page_.title + "\n" + page_.difficulty);
  std::string out, planted, found;
  bool list = false;
  app.add_flag("--quick", quick_, "seconds instead of the full run");
  app.add_option("--seed", seed_, "of random numbers, and of the bug that --break hides")->capture_default_str();
  app.add_option("--out", out, "folder for result.json and pictures");
  app.add_option("--predict", predicted_, "your guess, before the lesson computes; repeated where it asks more")
      ->expected(1)
      ->take_all();
  CLI::Option* plant =
      app.add_option("--break", planted, "plants a bug: the one named, or one chosen by the seed")->expected(0, 1);
  app.add_option("--found", found, "which bug did --break plant? (with the same --seed)");
  app.add_flag("--bugs", list, "the names of the bugs that --break knows");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    std::exit(error.get_exit_code() == 0 ? app.exit(error) : (app.exit(error), 2));
  }
  if (list) {
    for (const Bug& bug : page_.bugs) fmt::print("{}\n", bug.name);
    std::exit(0);
  }
  if (plant->count() > 0 || !found.empty()) {
    if (page_.bugs.empty()) throw Error("this lesson has no bug to plant", "run it without --break");
    bug_ = choose_bug(planted);
    bug_hidden_ = planted.empty();
  }
  if (!found.empty()) grade_found(found);
  const bool kept = !quick_ && bug_.empty();
  out_ = !out.empty() ? fs::path(out) : fs::path(kept ? SEDUM_COURSE_RESULTS : SEDUM_COURSE_SCRATCH) / kLessonPlace;
  std::error_code failed;
  fs::create_directories(out_, failed);
  if (failed) throw Error(out_.string() + ": " + failed.message(), "choose another folder with --out");
  fmt::print("{}  {}\n", kLessonPlace, page_.title);
  if (!page_.difficulty.empty()) fmt::print("难点 {}\n", page_.difficulty);
  if (!page_.remedy.empty()) fmt::print("方法 {}\n", page_.remedy);
  if (!bug_.empty()) fmt::print("这次程序里埋了一个错误。\n");
}

Lesson::~Lesson() { delete record_; }

std::string Lesson::choose_bug(const std::string& asked) const {
  if (asked.empty()) return page_.bugs[Random(seed_, Purpose::kTest).below(page_.bugs.size(), 0)].name;
  for (const Bug& bug : page_.bugs)
    if (bug.name == asked) return asked;
  throw Error("there is no bug '" + asked + "'", "this lesson knows: " + bug_names(page_.bugs));
}

// --found: right or wrong, and what the bug was.
void Lesson::grade_found(const std::string& found) const {
  choose_bug(found);  // refuses a name that no bug has
  const bool right = found == bug_;
  for (const Bug& bug : page_.bugs)
    if (right && bug.name == bug_) fmt::print("对了：{}：{}。\n", bug.name, bug.what);
  if (!right) fmt::print("不对：埋下的不是 {}。再看一遍哪些断言失败了，失败的数值像什么。\n", found);
  std::fflush(stdout);
  std::_Exit(right ? 0 : 1);
}

bool Lesson::broken(std::string_view bug) const {
  for (const Bug& known : page_.bugs)
    if (known.name == bug) return bug == bug_;
  throw ApiError("Lesson::broken", "the lesson's page does not list the bug '" + std::string(bug) + "'");
}

fs::path Lesson::kept_results() { return SEDUM_COURSE_RESULTS; }

void Lesson::print(std::string_view line) { fmt::print("{}\n", line); }

void Lesson::section(std::string_view heading) { fmt::print("\n── {}\n", heading); }

void Lesson::predict(std::string_view question, std::string_view key) { ask(question, key, false); }
void Lesson::exercise(std::string_view question, std::string_view key) { ask(question, key, true); }

void Lesson::ask(std::string_view question, std::string_view key, bool graded) {
  const size_t nth = record_->guesses.size();
  record_->guesses.push_back({std::string(question), std::string(key), graded, std::nullopt});
  const bool given = nth < predicted_.size();
  std::string answer = given ? predicted_[nth] : "";
  if (!given && predicted_.empty() && isatty(STDIN_FILENO) && isatty(STDOUT_FILENO)) {
    fmt::print("\n{}：{}（数字，回车跳过）> ", graded ? "练习" : "先猜一猜", question);
    std::fflush(stdout);
    std::getline(std::cin, answer);
  }
  if (answer.empty()) return;
  char* end = nullptr;
  const double guess = std::strtod(answer.c_str(), &end);
  if (end == answer.c_str() || *end != '\0' || !std::isfinite(guess)) {
    if (given) throw Error("--predict: '" + answer + "' is no number", "give a number, such as 0.5");
    fmt::print("这不是一个数，跳过。\n");
    return;
  }
  record_->guesses.back().number = guess;
}

// Guess beside measurement; right or wrong where the question has an answer.
void Lesson::tell_guesses() {
  for (const Guess& guess : record_->guesses) {
    const auto found = record_->measured.find(guess.key);
    if (found == record_->measured.end())
      throw ApiError("Lesson::finish", "the guess was for '" + guess.key + "', which never got a value");
    if (!guess.number) continue;
    const double measured = found->second;
    Json entry{
        {"question", guess.question}, {"key", guess.key}, {"guess", *guess.number}, {"measured", rounded(measured)}};
    fmt::print("{}\n  你答 {:.6g}，结果是 {:.6g}", guess.question, *guess.number, measured);
    if (guess.graded) {
      const bool right = std::abs(*guess.number - measured) <= 0.01 * std::abs(measured) + 1e-9;
      entry["right"] = right;
      fmt::print("：{}", right ? "对" : "不对");
    }
    fmt::print("。\n");
    record_->predictions.push_back(entry);
  }
}

double Lesson::value(std::string_view key, double number, std::string_view meaning) {
  const std::string name(key);
  if (name.empty() || name.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789_") != std::string::npos)
    throw ApiError("Lesson::value", "a key is made of a-z, 0-9 and _, not '" + name + "'");
  if (record_->values.contains(name)) throw ApiError("Lesson::value", "'" + name + "' is given twice");
  record_->values[name] = rounded(number);
  record_->measured[name] = number;
  fmt::print("  {} = {:.6g}{}{}\n", name, number, meaning.empty() ? "" : "    ", meaning);
  return number;
}

void Lesson::table(const report::Table& table) { fmt::print("\n{}\n", table.text()); }

void Lesson::picture(std::string_view name, const report::Picture& picture) {
  fs::path file{std::string(name)};
  if (!file.has_extension()) file += ".png";
  report::save(picture, out_ / file);
  record_->pictures.push_back(file.string());
  fmt::print("  图 {}\n", (out_ / file).string());
}

bool Lesson::check(std::string_view name, double measured, std::string_view relation, std::vector<double> bounds,
                   bool holds) {
  Json bound = bounds.size() == 1 ? rounded(bounds[0]) : Json::array();
  if (bounds.size() > 1)
    for (const double b : bounds) bound.push_back(rounded(b));
  record_->claims.push_back(
      {{"name", name}, {"measured", rounded(measured)}, {"relation", relation}, {"bound", bound}, {"holds", holds}});
  const std::string text = bounds.size() == 1
                               ? fmt::format("{:.4g} {} {:.4g}", measured, relation, bounds[0])
                               : fmt::format("{:.4g} {} [{:.4g}, {:.4g}]", measured, relation, bounds[0], bounds[1]);
  fmt::print("  {} {}：{}\n", holds ? "✓" : "✗", name, text);
  if (!holds) {
    ++record_->broken;
    std::fflush(stdout);
    fmt::print(stderr, "broken: {}: {}: measured {:.6g}, not {}\n", kLessonPlace, name, measured,
               text.substr(text.find(' ') + 1));
  }
  return holds;
}

bool Lesson::at_most(std::string_view name, double measured, double bound) {
  return check(name, measured, "<=", {bound}, measured <= bound);
}

bool Lesson::at_least(std::string_view name, double measured, double bound) {
  return check(name, measured, ">=", {bound}, measured >= bound);
}

bool Lesson::between(std::string_view name, double measured, double low, double high) {
  return check(name, measured, "in", {low, high}, measured >= low && measured <= high);
}

bool Lesson::equal(std::string_view name, double measured, double expected) {
  return check(name, measured, "==", {expected}, measured == expected);
}

bool Lesson::claim(std::string_view name, bool holds) { return check(name, holds, "==", {1}, holds); }

int Lesson::finish() {
  if (record_->claims.empty()) throw ApiError("Lesson::finish", "a lesson claims something");
  fmt::print("\n");
  tell_guesses();
  Json result{{"lesson", kLessonPlace},
              {"title", page_.title},
              {"quick", quick_},
              {"seed", seed_},
              {"passed", record_->broken == 0},
              {"values", record_->values},
              {"claims", record_->claims},
              {"pictures", record_->pictures}};
  if (!record_->predictions.empty()) result["predictions"] = record_->predictions;
  write_file(out_ / "result.json", result.dump(1) + "\n");
  const size_t claims = record_->claims.size();
  fmt::print("{} 条断言，{} 条成立。结果 {}\n", claims, claims - size_t(record_->broken),
             (out_ / "result.json").string());
  if (bug_hidden_)
    fmt::print("是哪一个错误？在 {} 里选：再运行一次，加上 --seed {} --found 名字。\n", bug_names(page_.bugs), seed_);
  std::fflush(stdout);
  return record_->broken == 0 ? 0 : 1;
}

}  // namespace sedum::course
