#include "course/log.h"

#include <algorithm>
#include <charconv>

#include <fmt/format.h>

#include "base/error.h"

namespace sedum::course {
namespace {

constexpr std::string_view kTitle = "# 打卡记录 · check-in log";
constexpr std::string_view kSeparator = " · ", kLate = "补卡", kMinutes = " min";
constexpr size_t kLongestText = 4000;

bool take(std::string_view& text, std::string_view prefix) {
  if (!text.starts_with(prefix)) return false;
  text.remove_prefix(prefix.size());
  return true;
}

std::vector<std::string_view> split(std::string_view text, std::string_view separator) {
  std::vector<std::string_view> parts;
  for (;;) {
    const size_t end = text.find(separator);
    parts.push_back(text.substr(0, end));
    if (end == std::string_view::npos) return parts;
    text.remove_prefix(end + separator.size());
  }
}

bool is_hash(std::string_view text) {
  return text.size() == 16 && text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

// Reads a log line by line; what a line may be depends only on how it begins.
class Reader {
 public:
  Reader(std::string_view text, const std::string& name) : name_(name), lines_(split(text, "\n")) {}

  Log read() {
    for (number_ = 1; number_ <= lines_.size(); ++number_) {
      std::string_view line = lines_[number_ - 1];
      if (line.ends_with('\r')) line.remove_suffix(1);
      if (line.empty()) {
        field_ = nullptr;
      } else if (number_ == 1) {
        if (line != kTitle) fail(fmt::format("a log begins with the line \"{}\"", kTitle));
      } else {
        read_line(line);
      }
    }
    number_ = lines_.size();
    if (seen_ != kDays) fail(fmt::format("{} is missing", day_at(seen_).name()));
    for (int i = 0; i < kDays; ++i) check_entry(day_at(i));
    return std::move(log_);
  }

 private:
  void read_line(std::string_view line) {
    if (field_ && take(line, "    ")) {
      field_->append("\n").append(line);
    } else if (field_ = nullptr; take(line, "  - ")) {
      read_field(line);
    } else if (take(line, "## week ")) {
      if (seen_ % kDaysOfWeek != 0 || line != std::to_string(seen_ / kDaysOfWeek + 1)) fail("a week out of order");
    } else if (take(line, "- start: ")) {
      if (log_.start) fail("a second start");
      guarded([&] { log_.start = parse_date(line); });
    } else if (take(line, "- break: ")) {
      guarded([&] { log_.breaks.push_back(parse_break(line)); });
    } else if (take(line, "- ")) {
      read_entry(line);
    } else {
      fail(fmt::format("\"{}\" is no line of a log", line.substr(0, 60)));
    }
  }

  // - ✅ week1/day2 · 2026-01-08 · 补卡 · 90 min
  void read_entry(std::string_view line) {
    Entry entry;
    bool known = false;
    for (const Mark mark : {Mark::kOpen, Mark::kDoing, Mark::kDone}) {
      if (known || !take(line, std::string(emoji(mark)) + " ")) continue;
      entry.mark = mark, known = true;
    }
    if (!known) fail("an entry begins with ✅, ❌ or 🔄");
    const auto parts = split(line, kSeparator);
    if (seen_ >= kDays) fail("a line after week12/day7");
    const Day expected = day_at(seen_);
    if (parts[0] != expected.name()) fail(fmt::format("\"{}\" stands where {} is due", parts[0], expected.name()));
    for (size_t i = 1; i < parts.size(); ++i) {
      std::string_view part = parts[i];
      if (part == kLate)
        entry.late = true;
      else if (part.ends_with(kMinutes))
        entry.minutes = number(part.substr(0, part.size() - kMinutes.size()));
      else
        guarded([&] { entry.date = parse_date(part); });
    }
    entry_ = &log_.at(expected);
    *entry_ = std::move(entry);
    where_.push_back(number_);
    ++seen_;
  }

  void read_field(std::string_view line) {
    if (!entry_) fail("a field that belongs to no entry");
    const auto text = [&](std::string& field) {
      if (!field.empty()) fail("the same field twice");
      if (line.empty()) fail("an empty field");
      field = line, field_ = &field;
    };
    if (take(line, "problem: "))
      text(entry_->problem);
    else if (take(line, "solution: "))
      text(entry_->solution);
    else if (take(line, "override: "))
      text(entry_->override_reason);
    else if (take(line, "run: "))
      read_run(line);
    else
      fail(fmt::format("\"{}\" is no field; there are problem, solution, run, override", line.substr(0, 40)));
  }

  // 2026-01-05 quick, code 3fa2b1c09d8e4f51, result 99ab12cd34ef5678
  void read_run(std::string_view line) {
    auto parts = split(line, ", ");
    Run run;
    if (parts.size() != 3 || !take(parts[1], "code ") || !take(parts[2], "result ") || !is_hash(parts[1]) ||
        !is_hash(parts[2]))
      fail("a run is written as DATE quick|full, code HASH, result HASH");
    const auto when = split(parts[0], " ");
    if (when.size() != 2 || (when[1] != "quick" && when[1] != "full")) fail("a run is quick or full");
    guarded([&] { run.date = parse_date(when[0]); });
    run.quick = when[1] == "quick", run.code = parts[1], run.result = parts[2];
    if (entry_->run) fail("the same field twice");
    entry_->run = std::move(run);
  }

  void check_entry(Day day) {
    const Entry& e = log_.at(day);
    number_ = where_[size_t(day.index())];
    if (e.mark == Mark::kOpen && e != Entry{}) fail("an open entry (❌) has no date, minutes or fields");
    if (e.mark != Mark::kOpen && !e.date) fail("an entry with ✅ or 🔄 needs its date");
    if (e.mark != Mark::kOpen && !log_.start) fail("an entry with ✅ or 🔄, but no line \"- start: DATE\"");
    if (e.date && *e.date < *log_.start) fail("this date is before the start");
    if (e.done() && !e.run && e.override_reason.empty()) fail("✅ needs a line \"- run: …\" or \"- override: reason\"");
  }

  int number(std::string_view text) const {
    int value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size() || value < 1 || value > kMostMinutes)
      fail(fmt::format("\"{}\" minutes are no number from 1 to {}", text, kMostMinutes));
    return value;
  }

  template <class Parse>
  void guarded(Parse parse) const {
    try {
      parse();
    } catch (const Error& e) {
      fail(e.problem());
    }
  }

  [[noreturn]] void fail(const std::string& problem) const {
    throw Error(fmt::format("{}:{}: {}", name_, number_, problem),
                "mend the line, or take the last version from git: git checkout -- log.md");
  }

  const std::string& name_;
  const std::vector<std::string_view> lines_;
  std::vector<size_t> where_;  // the line of each entry
  size_t number_ = 0;
  int seen_ = 0;
  Entry* entry_ = nullptr;
  std::string* field_ = nullptr;
  Log log_;
};

std::string indented(std::string_view text) {
  std::string result;
  for (const char c : text) {
    result += c;
    if (c == '\n') result += "    ";
  }
  return result;
}

std::string format_entry(Day day, const Entry& e) {
  std::string line = fmt::format("- {} {}", emoji(e.mark), day.name());
  if (e.date) line += fmt::format("{}{}", kSeparator, to_string(*e.date));
  if (e.late) line += fmt::format("{}{}", kSeparator, kLate);
  if (e.minutes > 0) line += fmt::format("{}{}{}", kSeparator, e.minutes, kMinutes);
  line += '\n';
  if (!e.problem.empty()) line += fmt::format("  - problem: {}\n", indented(e.problem));
  if (!e.solution.empty()) line += fmt::format("  - solution: {}\n", indented(e.solution));
  if (e.run) {
    line += fmt::format("  - run: {} {}, code {}, result {}\n", to_string(e.run->date), e.run->quick ? "quick" : "full",
                        e.run->code, e.run->result);
  }
  if (!e.override_reason.empty()) line += fmt::format("  - override: {}\n", indented(e.override_reason));
  return line;
}

// The length of the UTF-8 sequence at `i`; 0 if there is none.
size_t sequence(std::string_view text, size_t i) {
  const auto byte = [&](size_t k) { return k < text.size() ? static_cast<unsigned char>(text[k]) : 0u; };
  const unsigned first = byte(i);
  const size_t length = first < 0x80 ? 1 : first >> 5 == 6 ? 2 : first >> 4 == 14 ? 3 : first >> 3 == 30 ? 4 : 0;
  for (size_t k = 1; k < length; ++k)
    if (byte(i + k) >> 6 != 2) return 0;
  return length;
}

}  // namespace

std::string_view emoji(Mark mark) {
  switch (mark) {
    case Mark::kDone:
      return "✅";
    case Mark::kDoing:
      return "🔄";
    case Mark::kOpen:
      break;
  }
  return "❌";
}

Log Log::parse(std::string_view text, const std::string& name) { return Reader(text, name).read(); }

std::string Log::format() const {
  std::string text = std::string(kTitle) + "\n\n";
  if (start) text += fmt::format("- start: {}\n", to_string(*start));
  for (const Break& pause : breaks) text += fmt::format("- break: {}\n", to_string(pause));
  if (start) text += '\n';
  for (int i = 0; i < kDays; ++i) {
    const Day day = day_at(i);
    if (day.day == 1) text += fmt::format("{}## week {}\n\n", day.week == 1 ? "" : "\n", day.week);
    text += format_entry(day, at(day));
  }
  return text;
}

std::optional<Date> Log::newest() const {
  std::optional<Date> newest;
  for (const Entry& entry : entries_)
    if (entry.date && (!newest || *entry.date > *newest)) newest = entry.date;
  return newest;
}

Calendar Log::calendar() const {
  if (!start) throw Error("the course has not been started", "say when: sedum course start 2026-01-05");
  return Calendar(*start, breaks);
}

std::string log_text(std::string_view text, const std::string& name) {
  if (text.size() > kLongestText)
    throw Error(fmt::format("{} has {} bytes", name, text.size()),
                fmt::format("keep it under {}, and put the rest into a note of that day", kLongestText));
  std::string clean, line;
  const auto end_line = [&] {
    line.erase(line.find_last_not_of(' ') + 1);
    line.erase(0, std::min(line.find_first_not_of(' '), line.size()));
    if (!line.empty()) clean += (clean.empty() ? "" : "\n") + line;
    line.clear();
  };
  for (size_t i = 0; i < text.size();) {
    const size_t length = sequence(text, i);
    if (length == 0) throw Error(fmt::format("{} is not UTF-8 at byte {}", name, i), "give it as UTF-8 text");
    if (text[i] == '\n')
      end_line();
    else if (static_cast<unsigned char>(text[i]) < 0x20 || text[i] == 0x7f)
      line += ' ';
    else
      line += text.substr(i, length);
    i += length;
  }
  end_line();
  return clean;
}

}  // namespace sedum::course
