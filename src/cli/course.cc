// sedum course: the plan, the lessons, the check-in log. course_reports.cc has what is written from them.

#include "cli/course.h"

#include <cstdio>
#include <filesystem>

#include <fmt/format.h>

#include "base/error.h"
#include "base/json.h"
#include "base/progress.h"
#include "cli/common.h"
#include "course/check.h"
#include "course/progress.h"
#include "report/table.h"

namespace sedum::cli {
namespace fs = std::filesystem;
using namespace sedum::course;

// --course, or the nearest course/plan.tsv above this folder, or above the program.
fs::path CourseOptions::find_course() const {
  if (!course.empty()) return fs::absolute(course).lexically_normal();
  std::error_code none;
  for (fs::path start : {fs::current_path(), fs::read_symlink("/proc/self/exe", none).parent_path()}) {
    for (; start.has_relative_path(); start = start.parent_path())
      if (fs::exists(start / "course/plan.tsv")) return start / "course";
  }
  throw Error("there is no course/plan.tsv here or above",
              "go into Sedum's folder, or name the course's with --course");
}

// --build, or the folder that this program was built in.
fs::path CourseOptions::find_build() const {
  if (!build.empty()) return fs::absolute(build).lexically_normal();
  std::error_code none;
  const fs::path own = fs::read_symlink("/proc/self/exe", none).parent_path().parent_path();
  return fs::exists(own / "CMakeCache.txt") ? own : find_course().parent_path() / "build/release";
}

sedum::course::Folders CourseOptions::folders() const {
  const fs::path root = find_course();
  return {.course = root, .log = log.empty() ? root / "log" : fs::path(log)};
}

SharedCourse add_course_options(Flags app, const char* example) {
  auto o = std::make_shared<CourseOptions>();
  app.footer(std::string("example: sedum course ") + example);
  app.add_option("--log", o->log, "the folder of your log, in a git repository of yours; default: course/log")
      ->envname("SEDUM_COURSE_LOG");
  app.add_option("--course", o->course, "the course's folder; default: found above this one")->envname("SEDUM_COURSE");
  app.add_option("--build", o->build, "where CMake built Sedum")->envname("SEDUM_COURSE_BUILD");
  app.add_option("--programs", o->programs, "a folder of lessons that are built already")
      ->envname("SEDUM_COURSE_PROGRAMS")
      ->group("");
  app.add_option("--today", o->date, "another date than the clock's, to try things out")->envname("SEDUM_COURSE_TODAY");
  return o;
}

void add_course_language(Flags app, const SharedCourse& o) {
  app.add_option("--lang", o->language, "zh or en")->capture_default_str()->check(one_of({"zh", "en"}));
}

namespace {

void print_commit(const CommitResult& result, bool wanted) {
  if (!wanted) return;
  fmt::print("{}\n", result.hash.empty() ? "nothing had changed, so there is no commit"
                                         : "committed as " + result.hash + "; nothing was pushed");
  if (result.other_changes > 0) fmt::print("{} other changed files were left as they are\n", result.other_changes);
}

Run setup_start(Flags app) {
  struct Options {
    std::string date;
    std::vector<std::string> breaks;
    bool no_commit = false;
  };
  auto o = std::make_shared<Options>();
  const SharedCourse shared =
      add_course_options(app, "start 2026-01-05 --break 2026-02-15..2026-02-22 --log ~/my-course");
  app.add_option("date", o->date, "the first day; may be left out to add breaks later");
  app.add_option("--break", o->breaks, "days without lessons, FIRST..LAST; may be repeated");
  app.add_flag("--no-commit", o->no_commit, "write the log, make no commit");
  return [o, shared] {
    std::vector<Break> breaks;
    for (const std::string& text : o->breaks) breaks.push_back(parse_break(text));
    const Folders folders = shared->folders();
    const auto first = o->date.empty() ? std::nullopt : std::optional(parse_date(o->date));
    const CommitResult result = start(folders, first, breaks, {.today = shared->today(), .commit = !o->no_commit});
    const Calendar calendar = read_log(folders).calendar();
    fmt::print("{}: {} is week1/day1, {} is week12/day7\n", folders.log_file().string(), to_string(calendar.start()),
               to_string(calendar.date_of(day_at(kDays - 1))));
    print_commit(result, !o->no_commit);
  };
}

// The status of a day in words, beside its mark.
std::string flags(Day day, const Log& log, const std::optional<Calendar>& calendar, Date today, bool chinese) {
  const Entry& e = log.at(day);
  std::string text(emoji(e.mark));
  if (e.late) text += chinese ? " 补卡" : " late";
  if (!e.override_reason.empty()) text += chinese ? " 免验" : " overridden";
  if (calendar && is_overdue(day, log, *calendar, today)) text += chinese ? " 逾期" : " overdue";
  return text;
}

nlohmann::ordered_json day_json(Day day, const Row& row, const Log& log, const std::optional<Calendar>& calendar,
                                Date today, Language language) {
  const Entry& e = log.at(day);
  const auto date = [](const std::optional<Date>& d) {
    return d ? nlohmann::ordered_json(to_string(*d)) : nlohmann::ordered_json();
  };
  nlohmann::ordered_json d{{"day", day.name()},     {"row", row.name()},  {"task", row.wording(language).task},
                           {"link", row.link},      {"stage", row.stage}, {"increment", row.increment},
                           {"mark", emoji(e.mark)}, {"late", e.late}};
  d["date"] = date(calendar ? std::optional(calendar->date_of(day)) : std::nullopt);
  d["checked_in"] = date(e.date);
  d["overdue"] = calendar && is_overdue(day, log, *calendar, today);
  d["minutes"] = e.minutes, d["problem"] = e.problem, d["solution"] = e.solution, d["override"] = e.override_reason;
  d["run"] = nullptr;
  if (e.run)
    d["run"] = {
        {"date", to_string(e.run->date)}, {"quick", e.run->quick}, {"code", e.run->code}, {"result", e.run->result}};
  return d;
}

Run setup_list(Flags app) {
  struct Options {
    int week = 0;
    bool json = false;
  };
  auto o = std::make_shared<Options>();
  const SharedCourse shared = add_course_options(app, "list --week 3");
  add_course_language(app, shared);
  app.add_option("--week", o->week, "one week only")->check(in_range(1, kWeeks));
  app.add_flag("--json", o->json, "a line of JSON for each day");
  return [o, shared] {
    const Plan plan = shared->plan();
    const Log log = read_log(shared->folders());
    const bool chinese = shared->lang() == Language::kChinese;
    std::optional<Calendar> calendar;
    if (log.start) calendar = log.calendar();
    report::Table table(chinese ? std::vector<std::string>{"日", "日期", "状态", "任务", "链接"}
                                : std::vector<std::string>{"day", "date", "status", "task", "link"});
    for (const Row& row : plan.rows()) {
      if (o->week != 0 && row.week != o->week) continue;
      for (Day day = row.first(); day <= row.last(); ++day.day) {
        if (o->json) print_json(day_json(day, row, log, calendar, shared->today(), shared->lang()));
        table.row({day.name(), calendar ? to_string(calendar->date_of(day)) : row.month,
                   flags(day, log, calendar, shared->today(), chinese), row.wording(shared->lang()).task, row.link});
      }
    }
    if (!o->json) fmt::print("{}", table.text());
  };
}

Run setup_run(Flags app) {
  struct Options {
    std::string day;
    bool quick = false;
  };
  auto o = std::make_shared<Options>();
  const SharedCourse shared = add_course_options(app, "run week1/day1 --quick");
  app.add_option("day", o->day, "week1/day1, or 1.1")->required();
  app.add_flag("--quick", o->quick, "seconds instead of the full run");
  app.allow_extras();  // --seed, --break, --predict … are the lesson's
  return [o, shared, app] {
    const Day day = parse_day(o->day);
    const Plan plan = shared->plan();
    const Lessons lessons(shared->places(), plan);
    const std::vector<Program> programs = lessons.programs(day);
    const RunOutcome outcome =
        lessons.run(day, {.today = shared->today(), .quick = o->quick, .arguments = app.remaining(), .terminal = true});
    if (outcome.exit_code == 2)
      throw UsageError(outcome.failed + " does not take these options", "its --help lists them");
    if (!outcome.passed) throw Error(fmt::format("{} failed", outcome.failed), "its output says which claim is broken");
    fmt::print("{} {} in {}\n", day.name(),
               programs.empty() ? "has a note whose links and numbers hold, checked" : "passed",
               format_duration(outcome.seconds));
    for (const fs::path& picture : lessons.pictures(day)) fmt::print("  {}\n", picture.string());
  };
}

Run setup_check(Flags app) {
  struct Options {
    bool strict = false, json = false;
  };
  auto o = std::make_shared<Options>();
  const SharedCourse shared = add_course_options(app, "check");
  app.add_flag("--strict", o->strict, "what is not written yet is a mistake, too");
  app.add_flag("--json", o->json, "the report as JSON");
  return [o, shared] {
    const Plan plan = shared->plan();
    const CheckReport report = check_course(Lessons(shared->places(), plan), plan);
    const auto list = [](const std::vector<Finding>& findings) {
      auto all = nlohmann::ordered_json::array();
      for (const Finding& f : findings) all.push_back({{"where", f.where}, {"problem", f.problem}});
      return all;
    };
    if (o->json) {
      print_json({{"rows", report.rows},
                  {"links", report.links},
                  {"numbers", report.numbers},
                  {"problems", list(report.problems)},
                  {"open", list(report.open)}});
    } else {
      for (const Finding& f : report.problems) fmt::print("✗ {}: {}\n", f.where, f.problem);
      for (const Finding& f : report.open) fmt::print("… {}: {}\n", f.where, f.problem);
      fmt::print("{} rows, {} links in notes, {} quoted numbers: {} wrong, {} open\n", report.rows, report.links,
                 report.numbers, report.problems.size(), report.open.size());
    }
    std::fflush(stdout);
    if (!report.problems.empty())
      throw Error(fmt::format("the course has {} wrong links or numbers, first {}: {}", report.problems.size(),
                              report.problems[0].where, report.problems[0].problem),
                  "mend the note or the plan");
    if (o->strict && !report.open.empty())
      throw Error(fmt::format("{} links of the course are open", report.open.size()), "write what they name");
  };
}

Run setup_checkin(Flags app) {
  struct Options {
    std::string day, status = "done", problem, solution, reason;
    int minutes = 0;
    bool no_commit = false;
  };
  auto o = std::make_shared<Options>();
  const SharedCourse shared =
      add_course_options(app, "checkin week3/day2 --problem \"the mask\" --solution \"drew it\" --minutes 110");
  app.add_option("day", o->day, "week3/day2, or 3.2")->required();
  app.add_option("--status", o->status, "done ✅, doing 🔄 or open ❌")
      ->capture_default_str()
      ->check(one_of({"done", "doing", "open"}));
  Option problem = app.add_option("--problem", o->problem, "what was difficult");
  Option solution = app.add_option("--solution", o->solution, "what solved it");
  Option minutes = app.add_option("--minutes", o->minutes, "how long it took")->check(in_range(1, kMostMinutes));
  app.add_option("--override", o->reason, "why it counts without a passing run");
  app.add_flag("--no-commit", o->no_commit, "write the log, make no commit");
  return [=] {
    CheckIn c{.day = parse_day(o->day),
              .mark = o->status == "done"    ? Mark::kDone
                      : o->status == "doing" ? Mark::kDoing
                                             : Mark::kOpen,
              .override_reason = o->reason};
    if (problem->count() > 0) c.problem = o->problem;
    if (solution->count() > 0) c.solution = o->solution;
    if (minutes->count() > 0) c.minutes = o->minutes;
    const Folders folders = shared->folders();
    const Plan plan = shared->plan();
    const Standing standing = Lessons(shared->places(), plan).standing(c.day);
    const CommitResult result =
        check_in(folders, plan, c, standing, {.today = shared->today(), .commit = !o->no_commit});
    const Log log = read_log(folders);
    fmt::print("{} {} {}\n", flags(c.day, log, log.calendar(), shared->today(), true), c.day.name(),
               plan.row_of(c.day).chinese.task);
    fmt::print("{}\n", progress_line(measure(plan, log, shared->today()), Language::kChinese));
    print_commit(result, !o->no_commit);
  };
}

}  // namespace
}  // namespace sedum::cli

SEDUM_COMMAND(course) {
  app.require_subcommand(1);
  app.footer("example: sedum course start 2026-01-05 --log ~/my-course");
  auto run = std::make_shared<Run>();
  for (const auto& [name, summary, setup] :
       {Command{"start", "when the course begins, and the breaks", setup_start},
        Command{"list", "the plan with its marks and dates", setup_list},
        Command{"run", "build and run a day's lesson", setup_run},
        Command{"checkin", "a day is done: write it into the log and commit", setup_checkin},
        Command{"review", "the skeleton of a week's review", setup_course_review},
        Command{"stage", "the summary of a stage", setup_course_stage},
        Command{"progress", "how far you are, as a line and a picture", setup_course_progress},
        Command{"check", "do the links, anchors and quoted numbers hold", setup_check},
        Command{"export", "the table as a PDF", setup_course_export},
        Command{"archive", "table, programs, notes and reports in one file", setup_course_archive},
        Command{"serve", "the course as a page in the browser", setup_course_serve}}) {
    Flags sub = app.add_subcommand(name, summary);
    sub->callback([run, chosen = setup(sub)] { *run = chosen; });
  }
  return [run] { (*run)(); };
}
