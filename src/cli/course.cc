// sedum course: the plan, the lessons, the check-in log

#include <cstdio>
#include <filesystem>
#include <set>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file.h"
#include "base/progress.h"
#include "cli/command.h"
#include "cli/common.h"
#include "cli/stop_signal.h"
#include "course/archive.h"
#include "course/check.h"
#include "course/checkin.h"
#include "course/markdown.h"
#include "course/picture.h"
#include "course/progress.h"
#include "course/review.h"
#include "course/server.h"
#include "course/table_pdf.h"
#include "report/table.h"

namespace sedum::cli {
namespace {
namespace fs = std::filesystem;
using namespace course;

// What all subcommands share: where the course, its programs and the learner's log are, and what day it is.
struct CourseOptions {
  std::string course, log, build, programs, date, language = "zh";

  Date today() const { return date.empty() ? sedum::course::today() : parse_date(date); }
  Language lang() const { return language == "en" ? Language::kEnglish : Language::kChinese; }
  Folders folders() const {
    const fs::path root = find_course();
    return {.course = root, .log = log.empty() ? root / "log" : fs::path(log)};
  }
  Plan plan() const { return Plan::read(folders().plan_file()); }
  Places places() const { return {.course = find_course(), .build = find_build(), .programs = programs}; }

  // --course, or the nearest course/plan.tsv above this folder, or above the program.
  fs::path find_course() const {
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
  fs::path find_build() const {
    if (!build.empty()) return fs::absolute(build).lexically_normal();
    std::error_code none;
    const fs::path own = fs::read_symlink("/proc/self/exe", none).parent_path().parent_path();
    return fs::exists(own / "CMakeCache.txt") ? own : find_course().parent_path() / "build/release";
  }
};

using Shared = std::shared_ptr<CourseOptions>;

Shared add_shared(CLI::App& app, const char* example) {
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

void add_language(CLI::App& app, const Shared& o) {
  app.add_option("--lang", o->language, "zh or en")->capture_default_str()->check(CLI::IsMember({"zh", "en"}));
}

void print_commit(const CommitResult& result, bool wanted) {
  if (!wanted) return;
  fmt::print("{}\n", result.hash.empty() ? "nothing had changed, so there is no commit"
                                         : "committed as " + result.hash + "; nothing was pushed");
  if (result.other_changes > 0) fmt::print("{} other changed files were left as they are\n", result.other_changes);
}

Run setup_start(CLI::App& app) {
  struct Options {
    std::string date;
    std::vector<std::string> breaks;
    bool no_commit = false;
  };
  auto o = std::make_shared<Options>();
  const Shared shared = add_shared(app, "start 2026-01-05 --break 2026-02-15..2026-02-22 --log ~/my-course");
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

Run setup_list(CLI::App& app) {
  struct Options {
    int week = 0;
    bool json = false;
  };
  auto o = std::make_shared<Options>();
  const Shared shared = add_shared(app, "list --week 3");
  add_language(app, shared);
  app.add_option("--week", o->week, "one week only")->check(CLI::Range(1, kWeeks));
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

Run setup_run(CLI::App& app) {
  struct Options {
    std::string day;
    bool quick = false;
  };
  auto o = std::make_shared<Options>();
  const Shared shared = add_shared(app, "run week1/day1 --quick");
  app.add_option("day", o->day, "week1/day1, or 1.1")->required();
  app.add_flag("--quick", o->quick, "seconds instead of the full run");
  app.allow_extras();  // --seed, --break, --predict … are the lesson's
  return [o, shared, &app] {
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

Run setup_check(CLI::App& app) {
  struct Options {
    bool strict = false, json = false;
    std::vector<int> weeks;
  };
  auto o = std::make_shared<Options>();
  const Shared shared = add_shared(app, "check");
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

Run setup_checkin(CLI::App& app) {
  struct Options {
    std::string day, status = "done", problem, solution, reason;
    int minutes = 0;
    bool no_commit = false;
  };
  auto o = std::make_shared<Options>();
  const Shared shared =
      add_shared(app, "checkin week3/day2 --problem \"the mask\" --solution \"drew it\" --minutes 110");
  app.add_option("day", o->day, "week3/day2, or 3.2")->required();
  app.add_option("--status", o->status, "done ✅, doing 🔄 or open ❌")
      ->capture_default_str()
      ->check(CLI::IsMember({"done", "doing", "open"}));
  CLI::Option* problem = app.add_option("--problem", o->problem, "what was difficult");
  CLI::Option* solution = app.add_option("--solution", o->solution, "what solved it");
  CLI::Option* minutes =
      app.add_option("--minutes", o->minutes, "how long it took")->check(CLI::Range(1, kMostMinutes));
  app.add_option("--override", o->reason, "why it counts without a passing run");
  app.add_flag("--no-commit", o->no_commit, "write the log, make no commit");
  return [=] {
    CheckIn c{.day = parse_day(o->day),
              .mark = o->status == "done"    ? Mark::kDone
                      : o->status == "doing" ? Mark::kDoing
                                             : Mark::kOpen,
              .override_reason = o->reason};
    if (*problem) c.problem = o->problem;
    if (*solution) c.solution = o->solution;
    if (*minutes) c.minutes = o->minutes;
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

Run setup_review(CLI::App& app) {
  auto week = std::make_shared<std::string>();
  const Shared shared = add_shared(app, "review 3");
  app.add_option("week", *week, "1 to 12")->required();
  return [week, shared] {
    const int number = parse_week(*week);
    const fs::path path = write_review(shared->folders(), shared->plan(), number, shared->today());
    fmt::print("{}: add your words; `sedum course checkin week{}/day7` commits it\n", path.string(), number);
  };
}

Run setup_stage(CLI::App& app) {
  struct Options {
    int stage = 0;
    StageWords words;
  };
  auto o = std::make_shared<Options>();
  const Shared shared = add_shared(app, "stage 1 --gains \"attention by hand\" --improve \"more exercises\"");
  app.add_option("stage", o->stage, "1, 2 or 3")->required()->check(CLI::Range(1, kStages));
  app.add_option("--gains", o->words.gains, "收获: what you gained, if the file has none yet");
  app.add_option("--improve", o->words.improvements, "改进点: what to do better, if the file has none yet");
  return [o, shared] {
    const fs::path path = write_stage(shared->folders(), shared->plan(), o->stage, o->words, shared->today());
    fmt::print("{}: complete\n", path.string());
  };
}

Run setup_progress(CLI::App& app) {
  struct Options {
    std::string out;
    bool json = false;
  };
  auto o = std::make_shared<Options>();
  const Shared shared = add_shared(app, "progress --out progress.png");
  add_language(app, shared);
  app.add_option("--out", o->out, "the picture: .png, .svg or .pdf; default: progress.png beside the log");
  app.add_flag("--json", o->json, "the figures as JSON, no picture");
  return [o, shared] {
    const Plan plan = shared->plan();
    const Folders folders = shared->folders();
    const Log log = read_log(folders);
    const course::Progress p = measure(plan, log, shared->today());
    if (o->json) {
      nlohmann::ordered_json stages = nlohmann::ordered_json::array();
      for (const StageProgress& s : p.stages)
        stages.push_back({{"percent", s.percent}, {"due", s.due}, {"awaiting_acceptance", s.awaiting}});
      return print_json({{"stages", stages},
                         {"rows_verified", p.rows_verified},
                         {"rows_done", p.rows_done},
                         {"rows", p.rows},
                         {"days_done", p.days_done},
                         {"days_due", p.days_due},
                         {"days", kDays},
                         {"overdue", p.overdue},
                         {"late", p.late},
                         {"overridden", p.overridden},
                         {"minutes", p.minutes}});
    }
    fmt::print("{}\n", progress_line(p, shared->lang()));
    const fs::path out = o->out.empty() ? folders.log / "progress.png" : fs::path(o->out);
    const std::string suffix = out.extension().string();
    using Format = report::Canvas::Format;
    if (suffix != ".png" && suffix != ".svg" && suffix != ".pdf")
      throw Error(out.string() + " names no kind of picture", "let it end in .png, .svg or .pdf");
    write_file(out, progress_picture(plan, log, shared->today(), shared->lang(),
                                     suffix == ".png"   ? Format::kPng
                                     : suffix == ".svg" ? Format::kSvg
                                                        : Format::kPdf));
    fmt::print("{}\n", out.string());
  };
}

Run setup_export(CLI::App& app) {
  struct Options {
    std::string pdf, base;
  };
  auto o = std::make_shared<Options>();
  const Shared shared =
      add_shared(app, "export --pdf table.pdf --base-url https://github.com/me/sedum/blob/main/course/");
  add_language(app, shared);
  app.add_option("--pdf", o->pdf, "the PDF to write; without a name: course.pdf")
      ->expected(0, 1)
      ->default_str("course.pdf")
      ->required();
  app.add_option("--base-url", o->base, "what stands before the plan's links; default: the files on this machine");
  return [o, shared] {
    const Folders folders = shared->folders();
    std::string base = o->base.empty() ? "file://" + percent_encoded(folders.course.string()) + "/" : o->base;
    if (percent_encoded(base) != base && o->base.find('%') == std::string::npos)
      throw Error("--base-url " + base + " is no address", "write it as https://host/path/");
    if (!base.ends_with('/')) base += '/';
    write_file(o->pdf, table_pdf(shared->plan(), read_log(folders),
                                 {.today = shared->today(), .language = shared->lang(), .links = base}));
    fmt::print("{}\n", o->pdf);
  };
}

Run setup_archive(CLI::App& app) {
  auto out = std::make_shared<std::string>();
  const Shared shared = add_shared(app, "archive --out course.tar.zst");
  add_language(app, shared);
  app.add_option("--out", *out, "NAME.tar.zst or NAME.zip; default: course-DATE.tar.zst");
  return [out, shared] {
    const Folders folders = shared->folders();
    const Log log = read_log(folders);
    const fs::path path = out->empty() ? "course-" + to_string(shared->today()) + ".tar.zst" : *out;
    Archive archive;
    archive.add("table.pdf", table_pdf(shared->plan(), log, {.today = shared->today(), .language = shared->lang()}));
    if (log.start)
      archive.add("progress.png",
                  progress_picture(shared->plan(), log, shared->today(), shared->lang(), report::Canvas::Format::kPng));
    for (const char* name : {"plan.tsv", "plan.en.tsv"})
      if (fs::exists(folders.course / name)) archive.add_file(name, folders.course / name);
    for (const char* name : {"code", "docs", "results"}) archive.add_folder(name, folders.course / name);
    archive.add_file("log/log.md", folders.log_file());
    for (int week = 1; week <= kWeeks; ++week) {
      const std::string name = fmt::format("week{}", week);
      archive.add_folder("log/" + name, folders.log / name);
    }
    archive.write(path);
    fmt::print("{}: {} files and their checksums\n", path.string(), archive.files());
  };
}

Run setup_course_serve(CLI::App& app) {
  struct Options {
    int port = 8090;
    bool no_commit = false;
  };
  auto o = std::make_shared<Options>();
  const Shared shared = add_shared(app, "serve --log ~/my-course");
  app.add_option("--port", o->port, "the port; 0 for any that is free")
      ->capture_default_str()
      ->check(CLI::Range(0, 65535));
  app.add_flag("--no-commit", o->no_commit, "check-ins write the log and make no commit");
  return [o, shared] {
    sedum::Progress::silence(true);
    course::Server server({.folders = shared->folders(),
                           .places = shared->places(),
                           .port = o->port,
                           .commit = !o->no_commit,
                           .today = [shared] { return shared->today(); }});
    server.start();
    const StopSignal stop;
    fmt::print("the course is at {}/ for this machine alone; Ctrl-C stops it\n", server.address());
    std::fflush(stdout);
    stop.wait();
    server.stop();
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
        Command{"review", "the skeleton of a week's review", setup_review},
        Command{"stage", "the summary of a stage", setup_stage},
        Command{"progress", "how far you are, as a line and a picture", setup_progress},
        Command{"check", "do the links, anchors and quoted numbers hold", setup_check},
        Command{"export", "the table as a PDF", setup_export},
        Command{"archive", "table, programs, notes and reports in one file", setup_archive},
        Command{"serve", "the course as a page in the browser", setup_course_serve}}) {
    CLI::App* sub = app.add_subcommand(name, summary);
    sub->callback([run, chosen = setup(*sub)] { *run = chosen; });
  }
  return [run] { (*run)(); };
}
