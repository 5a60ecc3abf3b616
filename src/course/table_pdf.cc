#include "course/table_pdf.h"

#include <algorithm>
#include <array>
#include <functional>
#include <optional>

#include <fmt/format.h>

#include "course/markdown.h"
#include "course/progress.h"
#include "report/canvas.h"

namespace sedum::course {
namespace {
using report::Align;
using report::Box;
using report::Canvas;
using report::Color;
using report::Point;
using report::TextStyle;

constexpr double kWidth = 841.89, kHeight = 595.28, kMargin = 28, kPadding = 3, kFooter = 16;
constexpr double kTextSize = 7.5, kHeadSize = 8;
constexpr Color kLink{0.05, 0.25, 0.65}, kOwnWords{0.10, 0.35, 0.25}, kHeadShade{0.90, 0.93, 0.96},
    kWeekShade{0.96, 0.96, 0.97};
constexpr Color kGreen{0.10, 0.55, 0.20}, kRed{0.78, 0.13, 0.13}, kBlue{0.10, 0.40, 0.75};

enum Column { kDay, kDate, kTask, kDifficulty, kRemedy, kPlace, kStatus, kPercent, kColumns };
constexpr std::array<double, kColumns> kWidths{34, 66, 170, 124, 132, 118, 76, 65};

struct Words {
  const char *title, *open, *doing, *done, *late, *overdue, *problem, *solution, *override_reason, *run, *page,
      *started;
  std::array<const char*, kColumns> heads;
  const char* week;
};
constexpr Words kChinese{"大模型学习打卡表",
                         "未完成",
                         "进行中",
                         "已完成",
                         "补卡",
                         "逾期",
                         "遇到的问题",
                         "解决办法",
                         "免验理由",
                         "通过",
                         "第 {} / {} 页",
                         "开始于 {}，截至 {}",
                         {"周.日", "日期", "任务", "难点", "解决方法", "链接", "状态", "进度"},
                         "第 {} 周"};
constexpr Words kEnglish{"Twelve weeks of language models: the check-in table",
                         "open",
                         "in progress",
                         "done",
                         "late",
                         "overdue",
                         "problem",
                         "solution",
                         "not verified, because",
                         "passed",
                         "page {} of {}",
                         "started {}, as of {}",
                         {"day", "date", "task", "difficulty", "remedy", "link", "status", "progress"},
                         "Week {}"};

template <class... Values>
std::string filled(const char* pattern, const Values&... values) {
  return fmt::format(fmt::runtime(pattern), values...);
}

// ✅ ❌ 🔄 drawn: fonts that have them are rare, and grey paper must tell them apart too.
void draw_mark(Canvas& canvas, Point c, Mark mark) {
  constexpr double r = 4.5;
  if (mark == Mark::kDone) {
    canvas.rectangle({c.x - r, c.y - r, 2 * r, 2 * r}, kGreen, {.color = report::kNone}, 1.5);
    canvas.line({{c.x - 2.6, c.y + 0.2}, {c.x - 0.6, c.y + 2.3}, {c.x + 2.8, c.y - 2.2}},
                {.color = report::kPaper, .width = 1.5});
  } else if (mark == Mark::kOpen) {
    canvas.line({{c.x - 3, c.y - 3}, {c.x + 3, c.y + 3}}, {.color = kRed, .width = 1.8});
    canvas.line({{c.x - 3, c.y + 3}, {c.x + 3, c.y - 3}}, {.color = kRed, .width = 1.8});
  } else {
    canvas.rectangle({c.x - r, c.y - r, 2 * r, 2 * r}, kBlue, {.color = report::kNone}, 1.5);
    for (const double turn : {1.0, -1.0}) {  // two half-circles with a head each
      const auto at = [&](double x, double y) { return Point{c.x + turn * x, c.y + turn * y}; };
      canvas.curve(at(-2.6, 0), at(-2.6, -3.3), at(2.6, -3.3), at(2.5, -0.4), {.color = report::kPaper, .width = 1.1});
      canvas.arrow_head(at(2.5, 1.2), 0, turn, report::kPaper, 3);
    }
  }
}

// What stays together on a page: the heading of a week, a day's row, or one text that the learner wrote about it. No text of
// the log is longer than 4,000 bytes, 41 lines of the widest letter, so that each fits a page.
struct Block {
  enum class Kind { kWeek, kRow, kWords } kind = Kind::kRow;
  std::array<std::string, kColumns> cells = {};  // of a week and of words, the first alone
  std::string link = {};
  Mark mark = Mark::kOpen;
};

class Document {
 public:
  Document(const Plan& plan, const Log& log, const TableOptions& options)
      : log_(log), options_(options), words_(options.language == Language::kChinese ? kChinese : kEnglish) {
    progress_ = progress_line(measure(plan, log, options.today), options.language);
    std::optional<Calendar> calendar;
    if (log.start) calendar = log.calendar();
    int week = 0;
    for (const Row& row : plan.rows()) {
      if (row.week != week)
        blocks_.push_back({.kind = Block::Kind::kWeek, .cells = {filled(words_.week, week = row.week)}});
      for (Day day = row.first(); day <= row.last(); ++day.day) {
        blocks_.push_back(row_block(row, day, calendar));
        add_words(words_.problem, log.at(day).problem);
        add_words(words_.solution, log.at(day).solution);
        add_words(words_.override_reason, log.at(day).override_reason);
      }
    }
  }

  std::string draw() {
    const int pages = lay_out(nullptr, 0);
    Canvas canvas({kWidth, kHeight}, Canvas::Format::kPdf);
    lay_out(&canvas, pages);
    return canvas.finish();
  }

 private:
  Block row_block(const Row& row, Day day, const std::optional<Calendar>& calendar) const {
    const Entry& e = log_.at(day);
    const Wording& w = row.wording(options_.language);
    Block b{.cells = {fmt::format("{}.{}", day.week, day.day), "", w.task, w.difficulty, w.remedy, row.link, "",
                      fmt::format(
                          "{}{}{}%", options_.language == Language::kChinese ? "阶段" : "stage ", row.stage,
                          fmt::format("{}{}", options_.language == Language::kChinese ? "：" : ": ", row.cumulative))},
            .link = options_.links + percent_encoded(row.link),
            .mark = e.mark};
    b.cells[kDate] = calendar ? to_string(calendar->date_of(day)) : row.month;
    if (e.date && calendar && *e.date != calendar->date_of(day)) b.cells[kDate] += "\n→ " + to_string(*e.date);
    std::string& status = b.cells[kStatus];
    status = e.mark == Mark::kDone ? words_.done : e.mark == Mark::kDoing ? words_.doing : words_.open;
    if (e.late) status += fmt::format("\n{}", words_.late);
    if (calendar && is_overdue(day, log_, *calendar, options_.today)) status += fmt::format("\n{}", words_.overdue);
    return b;
  }

  void add_words(const char* name, std::string text) {
    if (text.empty()) return;
    std::replace(text.begin(), text.end(), '\n', ' ');  // lines of one letter each would fill pages
    blocks_.push_back({.kind = Block::Kind::kWords, .cells = {fmt::format("{}: {}", name, text)}});
  }

  // Goes through all blocks, page by page; draws them if there is a canvas. Returns the number of pages.
  int lay_out(Canvas* canvas, int pages) const {
    int page = 0;
    double y = kHeight;
    for (size_t i = 0; i < blocks_.size(); ++i) {
      if (y + needed(i) > kHeight - kMargin - kFooter) {
        if (canvas && page > 0) canvas->new_page();
        y = begin_page(canvas, ++page, pages);
      }
      const double height = height_of(blocks_[i]);
      if (canvas) draw_block(*canvas, blocks_[i], y, height);
      y += height;
    }
    return page;
  }

  // A week's heading is not parted from its first row, nor a row from the first words about it.
  double needed(size_t i) const {
    const double height = height_of(blocks_[i]);
    const bool goes_on = i + 1 < blocks_.size() &&
                         (blocks_[i].kind == Block::Kind::kWeek ||
                          (blocks_[i].kind == Block::Kind::kRow && blocks_[i + 1].kind == Block::Kind::kWords));
    return goes_on ? height + needed(i + 1) : height;
  }

  double begin_page(Canvas* canvas, int page, int pages) const {
    double y = kMargin;
    if (page == 1) {
      const TextStyle title{.size = 15, .bold = true},
          line{.size = 8.5, .color = report::kSoftInk, .wrap = kWidth - 2 * kMargin};
      if (canvas) canvas->text({kMargin, y}, words_.title, title);
      y += Canvas::measure(words_.title, title).height + 3;
      std::string summary = progress_;
      if (log_.start)
        summary = filled(words_.started, to_string(*log_.start), to_string(options_.today)) + " · " + summary;
      if (canvas) canvas->text({kMargin, y}, summary, line);
      y += Canvas::measure(summary, line).height + 6;
    }
    const TextStyle head{.size = kHeadSize, .bold = true};
    const double height = Canvas::measure("日A", head).height + 2 * kPadding;
    if (canvas) {
      canvas->rectangle({kMargin, y, kWidth - 2 * kMargin, height}, kHeadShade);
      for_columns([&](int c, double x) { canvas->text({x + kPadding, y + kPadding}, words_.heads[size_t(c)], head); });
      const std::string number = filled(words_.page, page, pages);
      canvas->text({kWidth / 2, kHeight - kMargin - 6}, number,
                   {.size = 8, .color = report::kSoftInk, .align = Align::kCenter});
    }
    return y + height;
  }

  template <class Visit>
  static void for_columns(Visit visit) {
    double x = kMargin;
    for (int c = 0; c < kColumns; ++c) visit(c, x), x += kWidths[size_t(c)];
  }

  static TextStyle style_of(int column) {
    TextStyle style{.size = kTextSize, .wrap = kWidths[size_t(column)] - 2 * kPadding};
    if (column == kPlace) style.size = 6.5, style.color = kLink;
    if (column == kStatus) style.wrap -= 14;  // the mark stands before the text
    return style;
  }
  static TextStyle own_style() {
    return {.size = kTextSize, .color = kOwnWords, .wrap = kWidth - 2 * kMargin - kWidths[kDay] - 2 * kPadding};
  }
  static TextStyle week_style() { return {.size = kHeadSize, .bold = true}; }

  static double height_of(const Block& b) {
    switch (b.kind) {
      case Block::Kind::kWeek:
        return Canvas::measure(b.cells[0], week_style()).height + 2 * kPadding;
      case Block::Kind::kWords:
        return Canvas::measure(b.cells[0], own_style()).height + kPadding;
      case Block::Kind::kRow:
        break;
    }
    double height = 11;  // of the mark
    for (int c = 0; c < kColumns; ++c)
      height = std::max(height, Canvas::measure(b.cells[size_t(c)], style_of(c)).height);
    return height + 2 * kPadding;
  }

  static void draw_block(Canvas& canvas, const Block& b, double y, double height) {
    if (b.kind == Block::Kind::kWords)
      return canvas.text({kMargin + kWidths[kDay] + kPadding, y}, b.cells[0], own_style());
    if (b.kind == Block::Kind::kWeek) {
      canvas.rectangle({kMargin, y, kWidth - 2 * kMargin, height}, kWeekShade);
      return canvas.text({kMargin + kPadding, y + kPadding}, b.cells[0], week_style());
    }
    canvas.line({{kMargin, y}, {kWidth - kMargin, y}}, {.color = report::kGrid, .width = 0.6});
    for_columns([&](int c, double x) {
      const double left = x + kPadding + (c == kStatus ? 14 : 0);
      canvas.text({left, y + kPadding}, b.cells[size_t(c)], style_of(c));
      if (c == kStatus) draw_mark(canvas, {x + kPadding + 5, y + kPadding + 5.5}, b.mark);
      if (c != kPlace) return;
      const auto size = Canvas::measure(b.cells[size_t(c)], style_of(c));
      canvas.link({left, y + kPadding, std::max(size.width, 20.0), size.height}, b.link);
    });
  }

  const Log& log_;
  const TableOptions& options_;
  const Words& words_;
  std::string progress_;
  std::vector<Block> blocks_;
};

}  // namespace

std::string table_pdf(const Plan& plan, const Log& log, const TableOptions& options) {
  return Document(plan, log, options).draw();
}

}  // namespace sedum::course
