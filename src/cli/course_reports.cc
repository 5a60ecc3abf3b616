// sedum course review, stage, progress, export, archive, serve

#include <cstdio>
#include <filesystem>

#include <fmt/format.h>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/progress.h"
#include "cli/common.h"
#include "cli/course.h"
#include "cli/stop_signal.h"
#include "course/archive.h"
#include "course/markdown.h"
#include "course/picture.h"
#include "course/progress.h"
#include "course/review.h"
#include "course/server.h"
#include "course/table_pdf.h"

namespace sedum::cli {
namespace fs = std::filesystem;
using namespace sedum::course;

Run setup_course_review(Flags app) {
  auto week = std::make_shared<std::string>();
  const SharedCourse shared = add_course_options(app, "review 3");
  app.add_option("week", *week, "1 to 12")->required();
  return [week, shared] {
    const int number = parse_week(*week);
    const fs::path path = write_review(shared->folders(), shared->plan(), number, shared->today());
    fmt::print("{}: add your words; `sedum course checkin week{}/day7` commits it\n", path.string(), number);
  };
}

Run setup_course_stage(Flags app) {
  struct Options {
    int stage = 0;
    StageWords words;
  };
  auto o = std::make_shared<Options>();
  const SharedCourse shared =
      add_course_options(app, "stage 1 --gains \"attention by hand\" --improve \"more exercises\"");
  app.add_option("stage", o->stage, "1, 2 or 3")->required()->check(in_range(1, kStages));
  app.add_option("--gains", o->words.gains, "收获: what you gained, if the file has none yet");
  app.add_option("--improve", o->words.improvements, "改进点: what to do better, if the file has none yet");
  return [o, shared] {
    const fs::path path = write_stage(shared->folders(), shared->plan(), o->stage, o->words, shared->today());
    fmt::print("{}: complete\n", path.string());
  };
}

Run setup_course_progress(Flags app) {
  struct Options {
    std::string out;
    bool json = false;
  };
  auto o = std::make_shared<Options>();
  const SharedCourse shared = add_course_options(app, "progress --out progress.png");
  add_course_language(app, shared);
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

Run setup_course_export(Flags app) {
  struct Options {
    std::string pdf, base;
  };
  auto o = std::make_shared<Options>();
  const SharedCourse shared =
      add_course_options(app, "export --pdf table.pdf --base-url https://github.com/me/sedum/blob/main/course/");
  add_course_language(app, shared);
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

Run setup_course_archive(Flags app) {
  auto out = std::make_shared<std::string>();
  const SharedCourse shared = add_course_options(app, "archive --out course.tar.zst");
  add_course_language(app, shared);
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

Run setup_course_serve(Flags app) {
  struct Options {
    int port = 8090;
    bool no_commit = false;
  };
  auto o = std::make_shared<Options>();
  const SharedCourse shared = add_course_options(app, "serve --log ~/my-course");
  app.add_option("--port", o->port, "the port; 0 for any that is free")
      ->capture_default_str()
      ->check(in_range(0, 65535));
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

}  // namespace sedum::cli
