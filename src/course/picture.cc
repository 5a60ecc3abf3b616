#include "course/picture.h"

#include <limits>

#include <fmt/format.h>

#include "course/progress.h"
#include "report/plot.h"

namespace sedum::course {
namespace {

struct Words {
  const char *plan, *done, *stage, *percent, *days, *count, *minutes, *of_day, *axis;
};
constexpr Words kChinese{"计划", "完成", "阶段 {}", "完成 %", "打卡天数", "天", "学习时间", "分钟", "自 {} 起的周数"};
constexpr Words kEnglish{"plan", "done",       "Stage {}", "% done",        "Days checked in",
                         "days", "Time spent", "minutes",  "weeks since {}"};

}  // namespace

std::string progress_picture(const Plan& plan, const Log& log, Date today, Language language,
                             report::Canvas::Format format) {
  using report::Plot;
  using report::Values;
  const Words& words = language == Language::kChinese ? kChinese : kEnglish;
  const auto points = burn_up(plan, log, today);
  const double now = double((today - points.front().date).count());
  const std::string axis = fmt::format(fmt::runtime(words.axis), to_string(points.front().date));
  Values xs;
  for (size_t i = 0; i < points.size(); ++i) xs.push_back(double(i) / kDaysOfWeek);

  // What was done ends at today; the plan goes on.
  const auto series = [&](auto value, bool until_today) {
    Values ys;
    for (size_t i = 0; i < points.size(); ++i)
      ys.push_back(until_today && double(i) > now ? std::numeric_limits<double>::quiet_NaN()
                                                  : double(value(points[i])));
    return ys;
  };
  const double last = double(points.size() - 1) / kDaysOfWeek;
  const auto plot = [&](const std::string& title, const char* unit) {
    Plot p(title, axis, unit);
    p.sized({360, 260}).x_range(0, last);
    return p;
  };
  report::Figure figure(progress_line(measure(plan, log, today), language), 3);
  for (size_t stage = 0; stage < kStages; ++stage) {
    Plot p = plot(fmt::format(fmt::runtime(words.stage), stage + 1), words.percent);
    p.y_range(0, 105).line(words.plan, xs, series([&](const BurnUpPoint& b) { return b.due[stage]; }, false));
    p.line(words.done, xs, series([&](const BurnUpPoint& b) { return b.done[stage]; }, true));
    if (now >= 0) p.vertical(now / kDaysOfWeek);
    figure.add(std::move(p));
  }
  Plot days = plot(words.days, words.count);
  days.y_range(0, kDays * 1.05).line(words.plan, xs, series([](const BurnUpPoint& b) { return b.days_due; }, false));
  days.line(words.done, xs, series([](const BurnUpPoint& b) { return b.days_done; }, true));
  if (now >= 0) days.vertical(now / kDaysOfWeek);
  figure.add(std::move(days));
  Plot minutes = plot(words.minutes, words.of_day);
  Values stem_x, stem_y;  // a stem for each day: up from the axis, and a gap
  for (size_t i = 0; i < points.size(); ++i) {
    if (points[i].minutes == 0) continue;
    stem_x.insert(stem_x.end(), {xs[i], xs[i], xs[i]});
    stem_y.insert(stem_y.end(), {0, double(points[i].minutes), std::numeric_limits<double>::quiet_NaN()});
  }
  minutes.line("", stem_x, stem_y);
  minutes.y_range(0, 1.1 * std::max(60, [&] {
                       int most = 0;
                       for (const BurnUpPoint& b : points) most = std::max(most, b.minutes);
                       return most;
                     }()));
  figure.add(std::move(minutes));
  return report::render(figure, format);
}

}  // namespace sedum::course
