#include "course/plan.h"

#include <charconv>

#include <fmt/format.h>

#include "base/error.h"
#include "base/file.h"

namespace sedum::course {
namespace {

using Cells = std::vector<std::string>;

// A table of tabs: its header must be `columns`. Errors name path and line.
class Table {
 public:
  Table(const std::filesystem::path& path, const Cells& columns) : path_(path) {
    const std::string text = read_file(path);
    for (size_t begin = 0; begin < text.size();) {
      const size_t end = std::min(text.find('\n', begin), text.size());
      Cells cells = split(text.substr(begin, end - begin));
      begin = end + 1;
      if (lines_.empty() && cells != columns)
        fail(1, fmt::format("the columns are {}, not {}", fmt::join(cells, " "), fmt::join(columns, " ")));
      if (cells.size() != columns.size())
        fail(lines_.size() + 1, fmt::format("{} cells, not {}", cells.size(), columns.size()));
      lines_.push_back(std::move(cells));
    }
    if (lines_.size() < 2) fail(1, "there are no rows");
  }

  size_t rows() const { return lines_.size() - 1; }
  const Cells& row(size_t i) const { return lines_[i + 1]; }
  [[noreturn]] void fail_row(size_t i, const std::string& problem) const { fail(i + 2, problem); }

  int number(size_t i, std::string_view text) const {
    int value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size()) fail_row(i, fmt::format("\"{}\" is no number", text));
    return value;
  }

 private:
  static Cells split(std::string_view line) {
    Cells cells;
    if (line.ends_with('\r')) line.remove_suffix(1);
    for (size_t begin = 0; begin <= line.size();) {
      const size_t end = std::min(line.find('\t', begin), line.size());
      cells.emplace_back(line.substr(begin, end - begin));
      begin = end + 1;
    }
    return cells;
  }

  [[noreturn]] void fail(size_t line, const std::string& problem) const {
    throw Error(fmt::format("{}:{}: {}", path_.string(), line, problem), "restore the plan: git checkout -- plan.tsv");
  }

  std::filesystem::path path_;
  std::vector<Cells> lines_;
};

// "3" or "3-7".
void parse_days(const Table& table, size_t i, const std::string& text, Row& row) {
  const size_t dash = text.find('-');
  row.first_day = table.number(i, text.substr(0, dash));
  row.last_day = dash == std::string::npos ? row.first_day : table.number(i, text.substr(dash + 1));
}

// "阶段1：3%".
void parse_progress(const Table& table, size_t i, const std::string& text, Row& row) {
  constexpr std::string_view kStage = "阶段", kColon = "：";
  const size_t colon = text.find(kColon);
  if (!text.starts_with(kStage) || colon == std::string::npos || !text.ends_with('%'))
    table.fail_row(i, fmt::format("\"{}\" is no progress such as 阶段1：3%", text));
  row.stage = table.number(i, std::string_view(text).substr(kStage.size(), colon - kStage.size()));
  const size_t digits = colon + kColon.size();
  row.cumulative = table.number(i, std::string_view(text).substr(digits, text.size() - digits - 1));
}

void check_order(const Table& table, size_t i, const std::vector<Row>& before, const Row& row) {
  const int expected = before.empty() ? 0 : before.back().last().index() + 1;
  const bool in_week = row.week >= 1 && row.week <= kWeeks && row.first_day >= 1 && row.last_day <= kDaysOfWeek &&
                       row.first_day <= row.last_day;
  if (!in_week || row.first().index() != expected)
    table.fail_row(i,
                   fmt::format("{} stands where {} is due", row.name(), day_at(std::min(expected, kDays - 1)).name()));
  const int stage = before.empty() ? 1 : before.back().stage;
  if (row.stage != stage && row.stage != stage + 1)
    table.fail_row(i, fmt::format("stage {} after {}", row.stage, stage));
  const int sum = !before.empty() && row.stage == stage ? before.back().cumulative : 0;
  if (row.increment < 0 || row.cumulative != sum + row.increment)
    table.fail_row(i, fmt::format("{} % + {} is not {} %", sum, row.increment, row.cumulative));
}

void read_english(const std::filesystem::path& path, std::vector<Row>& rows) {
  const Table table(path, {"week", "day", "task", "difficulty", "remedy"});
  if (table.rows() != rows.size()) table.fail_row(0, fmt::format("{} rows, not {}", table.rows(), rows.size()));
  for (size_t i = 0; i < rows.size(); ++i) {
    const Cells& cells = table.row(i);
    Row row;
    row.week = table.number(i, cells[0]);
    parse_days(table, i, cells[1], row);
    if (row.name() != rows[i].name()) table.fail_row(i, row.name() + " stands where " + rows[i].name() + " is due");
    rows[i].english = {cells[2], cells[3], cells[4]};
  }
}

}  // namespace

std::string Row::name() const {
  const std::string name = first().name();
  return first_day == last_day ? name : fmt::format("{}-{}", name, last_day);
}

const Wording& Row::wording(Language language) const {
  return language == Language::kEnglish && !english.task.empty() ? english : chinese;
}

Plan Plan::read(const std::filesystem::path& path) {
  const Table table(path, {"week", "day", "date", "task", "difficulty", "remedy", "link", "progress", "increment"});
  Plan plan;
  for (size_t i = 0; i < table.rows(); ++i) {
    const Cells& cells = table.row(i);
    Row row{.week = table.number(i, cells[0]),
            .month = cells[2],
            .chinese = {cells[3], cells[4], cells[5]},
            .english = {},
            .link = cells[6],
            .increment = table.number(i, cells[8])};
    parse_days(table, i, cells[1], row);
    parse_progress(table, i, cells[7], row);
    check_order(table, i, plan.rows_, row);
    plan.rows_.push_back(std::move(row));
  }
  if (plan.rows_.back().last().index() != kDays - 1)
    table.fail_row(table.rows() - 1, "the plan ends at " + plan.rows_.back().name() + ", not at week12/day7");
  const auto english = path.parent_path() / "plan.en.tsv";
  if (std::filesystem::exists(english)) read_english(english, plan.rows_);
  return plan;
}

const Row& Plan::row_of(Day day) const {
  for (const Row& row : rows_)
    if (row.first() <= day && day <= row.last()) return row;
  throw Error("the plan has no " + day.name(), "name a day from week1/day1 to week12/day7");
}

}  // namespace sedum::course
