#include "course/review.h"

#include <algorithm>
#include <vector>

#include <fmt/format.h>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "course/progress.h"

namespace sedum::course {
namespace {
namespace fs = std::filesystem;

constexpr std::string_view kBegin = "<!-- sedum: begin, written anew by each run -->";
constexpr std::string_view kEnd = "<!-- sedum: end -->";

std::string cell(std::string_view text) {
  std::string result;
  for (const char c : text) {
    if (c == '|') result += '\\';
    result += c == '\n' ? ' ' : c;
  }
  return result;
}

std::string status(Day day, const Log& log, const Calendar& calendar, Date today) {
  const Entry& entry = log.at(day);
  std::string text(emoji(entry.mark));
  if (entry.late) text += " 补卡";
  if (!entry.override_reason.empty()) text += " 免验：" + cell(entry.override_reason);
  if (is_overdue(day, log, calendar, today)) text += " 逾期";
  return text;
}

// A line for each result that was kept at the day's check-in, with its first numbers.
std::string kept_numbers(const fs::path& folder) {
  std::vector<fs::path> files;
  if (fs::is_directory(folder)) {
    for (const auto& entry : fs::directory_iterator(folder))
      if (fs::exists(entry.path() / "result.json")) files.push_back(entry.path() / "result.json");
  }
  std::sort(files.begin(), files.end());
  std::string lines;
  for (const fs::path& file : files) {
    const auto result = try_parse_json<nlohmann::ordered_json>(read_file(file));
    if (!result.is_object() || !result.contains("values") || !result["values"].is_object())
      throw Error(file.string() + " is no result of a lesson", "run the lesson and check the day in again");
    std::string values;
    for (const auto& [key, value] : result["values"].items())
      if (value.is_number() && values.size() < 400)
        values += fmt::format("{}{} = {}", values.empty() ? "" : "，", key, value.dump());
    const std::string title = result.value("title", file.parent_path().filename().string());
    if (!values.empty())
      lines += fmt::format("- {}（{}）：{}\n",
                           file.parent_path().lexically_relative(folder.parent_path().parent_path()).generic_string(),
                           cell(title), values);
  }
  return lines;
}

// The table of the days [first, last], their difficulties, and the numbers of their kept results.
std::string facts(const Folders& folders, const Plan& plan, const Log& log, int first, int last, Date today) {
  const Calendar calendar = log.calendar();
  std::string table = "| 日 | 任务 | 应打卡 | 打卡 | 状态 | 分钟 |\n|---|---|---|---|---|---:|\n", problems, numbers;
  int minutes = 0;
  for (int i = first; i <= last; ++i) {
    const Day day = day_at(i);
    const Entry& e = log.at(day);
    minutes += e.minutes;
    table += fmt::format("| {} | {} | {} | {} | {} | {} |\n", day.name(), cell(plan.row_of(day).chinese.task),
                         to_string(calendar.date_of(day)), e.date ? to_string(*e.date) : "–",
                         status(day, log, calendar, today), e.minutes ? std::to_string(e.minutes) : "–");
    if (!e.problem.empty())
      problems +=
          fmt::format("- {}：{}{}{}\n", day.name(), cell(e.problem), e.solution.empty() ? "" : " → ", cell(e.solution));
    numbers += kept_numbers(folders.day(day));
  }
  std::string text =
      table + fmt::format("\n共 {} 分钟。{}\n", minutes, progress_line(measure(plan, log, today), Language::kChinese));
  if (!problems.empty()) text += "\n### 遇到的问题与解决\n\n" + problems;
  if (!numbers.empty()) text += "\n### 实测数字\n\n" + numbers;
  return text;
}

std::string block(const std::string& text) { return fmt::format("{}\n\n{}\n{}", kBegin, text, kEnd); }

// The document with its generated block replaced, or a new one.
std::string with_facts(const fs::path& path, const std::string& skeleton, const std::string& text) {
  const std::string document = fs::exists(path) ? read_file(path) : skeleton;
  const size_t begin = document.find(kBegin);
  const size_t end = begin == std::string::npos ? begin : document.find(kEnd, begin);
  if (end == std::string::npos) {
    throw Error(fmt::format("{} lacks the lines between which the facts are written", path.string()),
                fmt::format("put back \"{}\" and \"{}\"", kBegin, kEnd));
  }
  return document.substr(0, begin) + block(text) + document.substr(end + kEnd.size());
}

void write(const fs::path& path, const std::string& text) {
  fs::create_directories(path.parent_path());
  write_file(path, text);
}

// The document with `words` below an empty heading; a heading that has words keeps them.
std::string filled(std::string document, const std::string& heading, const std::string& words) {
  if (words.empty() || !words_below(document, heading).empty()) return document;
  const std::string line = "## " + heading + "\n";
  const size_t at = document.find(line);
  if (at == std::string::npos) return document + fmt::format("\n{}\n{}\n", line, words);
  return document.insert(at + line.size(), "\n" + words + "\n");
}

}  // namespace

std::string words_below(std::string_view document, std::string_view heading) {
  const std::string line = fmt::format("\n## {}\n", heading);
  const size_t at = document.find(line);
  if (at == std::string_view::npos) return "";
  std::string words(document.substr(at + line.size()));
  words.erase(std::min(words.find("\n## "), words.size()));
  if (words.starts_with("## ")) return "";
  for (size_t begin; (begin = words.find("<!--")) != std::string::npos;)
    words.erase(begin, std::min(words.find("-->", begin), words.size() - 3) + 3 - begin);
  words.erase(0, std::min(words.find_first_not_of(" \t\r\n"), words.size()));
  words.erase(words.find_last_not_of(" \t\r\n") + 1);
  return words;
}

fs::path write_review(const Folders& folders, const Plan& plan, int week, Date today) {
  const Log log = read_log(folders);
  const Day last{week, kDaysOfWeek};
  const Date due = log.calendar().date_of(last);
  if (due > today) {
    throw Error(
        fmt::format("week {} is reviewed on its last day, {}, and today is {}", week, to_string(due), to_string(today)),
        "review it then");
  }
  const fs::path path = folders.day(last) / "review.md";
  const std::string skeleton =
      fmt::format("# 第{}周复盘\n\n{}\n\n## 本周收获\n\n## 还不清楚的\n\n## 下周先做什么\n", week, block(""));
  write(path, with_facts(path, skeleton, facts(folders, plan, log, Day{week, 1}.index(), last.index(), today)));
  return path;
}

fs::path write_stage(const Folders& folders, const Plan& plan, int stage, const StageWords& words, Date today) {
  const Log log = read_log(folders);
  const Row *first = nullptr, *last = nullptr;
  for (const Row& row : plan.rows()) {
    if (row.stage != stage) continue;
    if (!first) first = &row;
    last = &row;
  }
  if (!first) throw Error(fmt::format("the plan has no stage {}", stage), "choose 1, 2 or 3");
  const Date begin = log.calendar().date_of(first->first());
  if (begin > today)
    throw Error(fmt::format("stage {} begins on {}, and today is {}", stage, to_string(begin), to_string(today)),
                "sum it up when it is done");
  const fs::path path = folders.day(last->last()) / fmt::format("stage{}.md", stage);
  const std::string skeleton = fmt::format("# 阶段{}总结\n\n{}\n\n## 收获\n\n## 改进点\n", stage, block(""));
  std::string document =
      with_facts(path, skeleton, facts(folders, plan, log, first->first().index(), last->last().index(), today));
  document = filled(document, "收获", log_text(words.gains, "--gains"));
  document = filled(document, "改进点", log_text(words.improvements, "--improve"));
  write(path, document);
  for (const auto& [heading, option] : {std::pair("收获", "--gains"), std::pair("改进点", "--improve")}) {
    if (!words_below(document, heading).empty()) continue;
    throw Error(fmt::format("{}: nothing is written under \"{}\"", path.string(), heading),
                fmt::format("write it into the file, or pass {} \"…\"", option));
  }
  return path;
}

}  // namespace sedum::course
