#include "course/check.h"

#include <algorithm>
#include <cstdio>
#include <set>

#include <fmt/format.h>

#include "base/error.h"
#include "base/file.h"
#include "course/markdown.h"
#include "course/quoted.h"

namespace sedum::course {
namespace {
namespace fs = std::filesystem;

// Notes are read once.
class Notes {
 public:
  const Note& read(const fs::path& path) {
    auto found = notes_.find(path);
    if (found == notes_.end()) found = notes_.emplace(path, Note::read(path)).first;
    return found->second;
  }

 private:
  std::map<fs::path, Note> notes_;
};

bool is_elsewhere(const std::string& url) { return url.find(':') != std::string::npos || url.starts_with("//"); }

// A section that has a heading and nothing below it.
bool is_empty(const Note& note, const Heading& heading) {
  const std::string section = note.section(heading);
  const size_t end = section.find('\n');
  return end == std::string::npos || section.find_first_not_of(" \t\r\n", end) == std::string::npos;
}

// A note that has sections for weeks, "第3周 …" or "Week 3 …", and none for this one.
bool is_unwritten(const Note& note, int week) {
  bool other = false;
  for (const Heading& h : note.headings) {
    int number = 0;
    if (std::sscanf(h.text.c_str(), "第%d周", &number) != 1 && std::sscanf(h.text.c_str(), "第 %d 周", &number) != 1 &&
        std::sscanf(h.text.c_str(), "Week %d", &number) != 1)
      continue;
    if (number == week) return false;
    other = true;
  }
  return other;
}

class Checker {
 public:
  Checker(const Lessons& lessons, const Plan& plan) : course_(lessons.places().course), plan_(plan) {}

  void row(const Row& row) {
    ++report.rows;
    const std::string where = "plan.tsv " + row.name();
    const size_t hash = row.link.find('#');
    const fs::path file = course_ / row.link.substr(0, hash);
    if (!fs::exists(file))
      return add(report.open, where, fmt::format("{} is not written yet", row.link.substr(0, hash)));
    if (hash == std::string::npos) return;
    const Note& note = notes_.read(file);
    const Heading* heading = note.find(row.link.substr(hash + 1));
    if (!heading && is_unwritten(note, row.week))
      add(report.open, where, fmt::format("week {} is not in {} yet", row.week, row.link.substr(0, hash)));
    else if (!heading)
      add(report.problems, where, no_anchor(note, file, row.link.substr(hash + 1)));
    else if (is_empty(note, *heading))
      add(report.open, where, fmt::format("{} has a heading only", row.link));
  }

  // Links and quoted numbers of a note, of all its lines or of those in [first, end).
  void note(const fs::path& file, int first = 1, int end = 1 << 30) {
    const Note& note = notes_.read(file);
    const std::string name = relative(file);
    for (const NoteLink& link : note.links) {
      if (link.line < first || link.line >= end || is_elsewhere(link.url)) continue;
      ++report.links;
      check_link(fmt::format("{}:{}", name, link.line), file, note, link.url);
    }
    for (const Quote& quote : quotes_in(note.text)) {
      if (quote.line < first || quote.line >= end) continue;
      ++report.numbers;
      const std::string problem = wrong_quote(quote, course_ / "results");
      if (!problem.empty()) add(report.problems, fmt::format("{}:{}", name, quote.line), problem);
    }
  }

  CheckReport report;

 private:
  static void add(std::vector<Finding>& list, std::string where, std::string problem) {
    list.push_back({std::move(where), std::move(problem)});
  }

  std::string relative(const fs::path& file) const { return file.lexically_relative(course_).generic_string(); }

  std::string no_anchor(const Note& note, const fs::path& file, const std::string& anchor) const {
    std::vector<std::string> anchors;
    for (const Heading& heading : note.headings) anchors.push_back(heading.anchor);
    const std::string near = nearest_name(anchor, anchors);
    return fmt::format("{} has no heading for #{}{}", relative(file), anchor,
                       near.empty() ? "" : "; the nearest is #" + near);
  }

  void check_link(const std::string& where, const fs::path& file, const Note& own, const std::string& url) {
    const size_t hash = url.find('#');
    const std::string path = url.substr(0, hash), anchor = hash == std::string::npos ? "" : url.substr(hash + 1);
    const fs::path target = path.empty() ? file : (file.parent_path() / path).lexically_normal();
    if (!fs::exists(target)) {
      const std::string link = relative(target);
      const bool planned = std::any_of(plan_.rows().begin(), plan_.rows().end(),
                                       [&](const Row& r) { return r.link.substr(0, r.link.find('#')) == link; });
      add(planned ? report.open : report.problems, where,
          planned ? link + " is not written yet" : fmt::format("links {}, which does not exist", url));
    } else if (!anchor.empty() && target.extension() == ".md") {
      const Note& note = path.empty() ? own : notes_.read(target);
      if (!note.find(anchor)) add(report.problems, where, no_anchor(note, target, anchor));
    }
  }

  const fs::path course_;
  const Plan& plan_;
  Notes notes_;
};

}  // namespace

CheckReport check_course(const Lessons& lessons, const Plan& plan) {
  Checker checker(lessons, plan);
  for (const Row& row : plan.rows()) checker.row(row);
  std::set<fs::path> notes;
  const fs::path docs = lessons.places().course / "docs";
  if (fs::is_directory(docs)) {
    for (const auto& entry : fs::directory_iterator(docs))
      if (entry.path().extension() == ".md") notes.insert(entry.path());
  }
  for (const fs::path& note : notes) checker.note(note);
  return checker.report;
}

CheckReport check_row(const Lessons& lessons, const Plan& plan, const Row& row) {
  Checker checker(lessons, plan);
  checker.row(row);
  const size_t hash = row.link.find('#');
  const fs::path file = lessons.note_of(row);
  if (row.is_note() && hash != std::string::npos && fs::exists(file)) {
    const Note note = Note::read(file);
    if (const Heading* heading = note.find(row.link.substr(hash + 1))) {
      const auto [first, end] = note.lines(*heading);
      checker.note(file, first, end);
    }
  }
  return checker.report;
}

}  // namespace sedum::course
