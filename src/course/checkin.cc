#include "course/checkin.h"

#include <algorithm>
#include <list>

#include <fmt/format.h>

#include "base/error.h"
#include "base/file.h"
#include "course/repository.h"

namespace sedum::course {
namespace {
namespace fs = std::filesystem;

// A file's content before a change, to be put back if the commit fails.
class Restore {
 public:
  Restore(const Restore&) = delete;
  explicit Restore(fs::path path) : path_(std::move(path)) {
    if (fs::exists(path_)) before_ = read_file(path_);
  }
  ~Restore() {
    if (kept_) return;
    try {
      if (before_)
        write_file(path_, *before_);
      else
        fs::remove(path_);
    } catch (const std::exception&) {  // the first failure is the one to report
    }
  }
  void keep() { kept_ = true; }

 private:
  fs::path path_;
  std::optional<std::string> before_;
  bool kept_ = false;
};

std::optional<Repository> open_repository(const Folders& folders, const Commit& how) {
  if (!how.commit) return std::nullopt;
  const Repository repository = Repository::around(folders.log);
  if (repository.changed(folders.log_file())) {
    throw Error(fmt::format("{} has changes that were never committed", folders.log_file().string()),
                fmt::format("look at them with `git -C {} diff HEAD -- log.md`, then commit or restore them",
                            folders.log.string()));
  }
  return repository;
}

// The files of a day: the log, what the learner keeps of the day, and the day's programs if they lie in the same repository.
std::vector<fs::path> files_of(const Folders& folders, const Repository& repository, Day day) {
  std::vector<fs::path> files{fs::absolute(folders.log_file())};
  if (fs::exists(folders.day(day))) files.push_back(fs::absolute(folders.day(day)));
  const fs::path code = folders.course / "code" / day.name();
  if (fs::exists(code) && repository.contains(code)) files.push_back(fs::absolute(code));
  return files;
}

std::string message_of(const Plan& plan, Day day, const Entry& entry) {
  return fmt::format("{} {}{} · {}", day.name(), emoji(entry.mark), entry.late ? " 补卡" : "",
                     plan.row_of(day).chinese.task);
}

void check_dates(const Log& log, Day day, Date today) {
  const Date due = log.calendar().date_of(day);
  if (due > today) {
    throw Error(fmt::format("{} is on {}, and today is {}", day.name(), to_string(due), to_string(today)),
                "check it in on its day or later");
  }
  if (const auto newest = log.newest(); newest && *newest > today) {
    throw Error(fmt::format("today, {}, is before the newest check-in, {}", to_string(today), to_string(*newest)),
                "set the clock: entries are never dated back");
  }
}

}  // namespace

Log read_log(const Folders& folders) {
  if (!fs::exists(folders.log_file())) {
    throw Error(fmt::format("there is no log in {}", folders.log.string()),
                "begin one: sedum course start 2026-01-05 --log DIR");
  }
  return Log::parse(read_file(folders.log_file()), folders.log_file().string());
}

Log checked_in(Log log, const CheckIn& c, const std::optional<Run>& run, Date today, const std::string& why_not) {
  check_dates(log, c.day, today);
  Entry& entry = log.at(c.day);
  if (c.mark == Mark::kOpen) {
    if (c.problem || c.solution || c.minutes || !c.override_reason.empty())
      throw Error("an open entry has no problem, solution, minutes or override", "give --status doing to keep them");
    entry = {};
    return log;
  }
  const bool was_done = entry.done();
  if (c.mark == Mark::kDone) {
    const std::string reason = log_text(c.override_reason, "the reason of the override");
    if (!reason.empty())
      entry.override_reason = reason, entry.run.reset();
    else if (run)
      entry.run = run, entry.override_reason.clear();
    else if (!was_done)
      throw Error(why_not.empty() ? c.day.name() + " has no passing run" : why_not,
                  fmt::format("run it: sedum course run {}, or say why not: --override \"reason\"", c.day.name()));
  } else {
    if (!c.override_reason.empty()) throw Error("--override goes with --status done", "leave it out");
    entry.run.reset(), entry.override_reason.clear();
  }
  if (entry.run && entry.run->date > today)
    throw Error(fmt::format("the run of {} is from {}, and today is {}", c.day.name(), to_string(entry.run->date),
                            to_string(today)),
                "set the clock");
  if (c.mark == Mark::kDoing || !was_done) {
    entry.date = today;
    entry.late = c.mark == Mark::kDone && today > log.calendar().date_of(c.day);
  }
  entry.mark = c.mark;
  if (c.problem) entry.problem = log_text(*c.problem, "the problem");
  if (c.solution) entry.solution = log_text(*c.solution, "the solution");
  if (c.minutes) entry.minutes = *c.minutes;
  return log;
}

CommitResult check_in(const Folders& folders, const Plan& plan, const CheckIn& c, const Standing& standing,
                      const Commit& how) {
  const Log before = read_log(folders);
  const auto& evidence = standing.evidence;
  const Log after =
      checked_in(before, c, evidence ? std::optional(evidence->run) : std::nullopt, how.today, standing.why_not);
  const auto repository = open_repository(folders, how);
  std::list<Restore> restores;
  const auto write = [&](const fs::path& path, const std::string& content) {
    fs::create_directories(path.parent_path());
    restores.emplace_back(path);
    write_file(path, content);
  };
  if (evidence && after.at(c.day).run == evidence->run) {
    for (const auto& [name, content] : evidence->results) write(folders.day(c.day) / name / "result.json", content);
  }
  if (after != before) write(folders.log_file(), after.format());
  CommitResult answer;
  if (repository) {
    answer.hash = repository->commit(files_of(folders, *repository, c.day), message_of(plan, c.day, after.at(c.day)));
    answer.other_changes = repository->changed_files();
  }
  for (Restore& restore : restores) restore.keep();
  return answer;
}

CommitResult start(const Folders& folders, std::optional<Date> first_day, const std::vector<Break>& breaks,
                   const Commit& how) {
  fs::create_directories(folders.log);
  Log log = fs::exists(folders.log_file()) ? read_log(folders) : Log();
  if (!first_day && !log.start) throw Error("the course needs its first day", "give it: sedum course start 2026-01-05");
  if (first_day && log.newest() && log.start != first_day) {
    throw Error(fmt::format("the course was started on {} and has check-ins", to_string(*log.start)),
                "begin anew in another folder: --log DIR");
  }
  if (first_day) log.start = first_day;
  for (const Break& pause : breaks)
    if (std::find(log.breaks.begin(), log.breaks.end(), pause) == log.breaks.end()) log.breaks.push_back(pause);
  std::sort(log.breaks.begin(), log.breaks.end());
  const auto repository = open_repository(folders, how);
  Restore before(folders.log_file());
  write_file(folders.log_file(), log.format());
  CommitResult answer;
  if (repository) {
    answer.hash = repository->commit(
        {fs::absolute(folders.log_file())},
        fmt::format(
            "course: start {}{}", to_string(*log.start), log.breaks.empty() ? "" : ", breaks " + [&] {
              std::string all;
              for (const Break& pause : log.breaks) all += (all.empty() ? "" : ", ") + to_string(pause);
              return all;
            }()));
    answer.other_changes = repository->changed_files();
  }
  before.keep();
  return answer;
}

}  // namespace sedum::course
