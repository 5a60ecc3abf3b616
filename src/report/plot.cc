#include "report/plot.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace sedum::report {

Plot& Plot::add(Kind kind, std::string label, Values xs, Values ys, Values tops) {
  if (xs.size() != ys.size() || (!tops.empty() && tops.size() != xs.size()))
    throw ApiError("Plot",
                   "'" + label + "' has " + std::to_string(xs.size()) + " x and " + std::to_string(ys.size()) + " y");
  if (!same_look_) ++looks_;
  same_look_ = false;
  series_.push_back({kind, std::move(label), std::move(xs), std::move(ys), std::move(tops), std::max(looks_ - 1, 0)});
  return *this;
}

Plot& Plot::line(std::string label, Values xs, Values ys) {
  return add(Kind::kLine, std::move(label), std::move(xs), std::move(ys));
}

Plot& Plot::scatter(std::string label, Values xs, Values ys) {
  return add(Kind::kScatter, std::move(label), std::move(xs), std::move(ys));
}

Plot& Plot::band(std::string label, Values xs, Values low, Values high) {
  if (high.size() != xs.size()) throw ApiError("Plot", "a band has as many tops as places");
  return add(Kind::kBand, std::move(label), std::move(xs), std::move(low), std::move(high));
}

Plot& Plot::bars(std::string label, Values heights) {
  Values places(heights.size());
  for (size_t i = 0; i < places.size(); ++i) places[i] = double(i);
  return add(Kind::kBars, std::move(label), std::move(places), std::move(heights));
}

Plot& Plot::arrow(Point from, Point to, std::string label) {
  return add(Kind::kArrow, std::move(label), {from.x, to.x}, {from.y, to.y});
}

Plot& Plot::categories(std::vector<std::string> names) {
  categories_ = std::move(names);
  return *this;
}

Plot& Plot::horizontal(double y, std::string label) {
  marks_.push_back({Mark::Kind::kHorizontal, {0, y}, std::move(label)});
  return *this;
}

Plot& Plot::vertical(double x, std::string label) {
  marks_.push_back({Mark::Kind::kVertical, {x, 0}, std::move(label)});
  return *this;
}

Plot& Plot::note(Point at, std::string text) {
  marks_.push_back({Mark::Kind::kNote, at, std::move(text)});
  return *this;
}

Plot& Plot::contours(std::function<double(double, double)> f, Values levels) {
  field_ = std::move(f), levels_ = std::move(levels);
  return *this;
}

Plot& Plot::like_previous() { return same_look_ = true, *this; }
Plot& Plot::x_range(double low, double high) { return x_range_ = Range{low, high}, *this; }
Plot& Plot::y_range(double low, double high) { return y_range_ = Range{low, high}, *this; }
Plot& Plot::log_x() { return log_x_ = true, *this; }
Plot& Plot::log_y() { return log_y_ = true, *this; }
Plot& Plot::equal() { return equal_ = true, *this; }
Plot& Plot::sized(Size size) { return size_ = size, *this; }

int Plot::bar_series() const {
  return int(std::count_if(series_.begin(), series_.end(), [](const Series& s) { return s.kind == Kind::kBars; }));
}

// The range that the data wants, with a little room; bars stand on zero.
Axis Plot::axis(bool x) const {
  const bool log = x ? log_x_ : log_y_;
  const auto kind = log ? Axis::Kind::kLog : Axis::Kind::kLinear;
  if (const auto& set = x ? x_range_ : y_range_) return Axis(*set, kind);
  if (x && !categories_.empty()) return Axis({-0.6, double(categories_.size()) - 0.4});
  Range range;
  for (const Series& s : series_) {
    range.include(range_of(x ? s.xs : s.ys, log));
    if (!x) range.include(range_of(s.tops, log));
    if (s.kind == Kind::kBars && !x && !log) range.include(0);
  }
  for (const Mark& mark : marks_) {
    const bool shown = mark.kind == Mark::Kind::kNote || (mark.kind == Mark::Kind::kVertical) == x;
    const double value = x ? mark.at.x : mark.at.y;
    if (shown && (!log || value > 0)) range.include(value);
  }
  Axis axis(range, kind);
  const bool lines_only =
      std::all_of(series_.begin(), series_.end(), [](const Series& s) { return s.kind == Kind::kLine; });
  if (x && lines_only) return axis;
  if (bar_series() > 0 && range.low >= 0 && !log) return Axis({0, axis.range().high * 1.06});
  axis.widen(0.04);
  if (!equal_) axis.widen_to_ticks(5);
  return axis;
}

Plot::Layout Plot::layout(const Box& box) const {
  Axis x = axis(true), y = axis(false);
  double labels = 0;
  for (const Tick& tick : y.ticks(5)) labels = std::max(labels, Canvas::measure(tick.label, {.size = 10}).width);
  const double top = title_.empty() ? 8 : Canvas::measure(title_, {.size = 12, .bold = true}).height + 10;
  Box area{box.x + labels + 8 + (y_label_.empty() ? 4 : 18), box.y + top, 0, 0};
  area.width = std::max(box.right() - 14 - area.x, 10.0);
  area.height = std::max(box.bottom() - 22 - (x_label_.empty() ? 0 : 17) - area.y, 10.0);
  if (equal_) {  // the axis with too little range for its length gets more
    const double unit =
        std::max((x.range().high - x.range().low) / area.width, (y.range().high - y.range().low) / area.height);
    const auto stretched = [unit](const Axis& a, double length) {
      const double middle = (a.range().low + a.range().high) / 2, half = unit * length / 2;
      return Axis({middle - half, middle + half});
    };
    x = stretched(x, area.width), y = stretched(y, area.height);
  }
  return {area, x, y};
}

std::vector<Point> Plot::places(const Layout& layout) const {
  std::vector<Point> places;
  const auto include = [&](double x, double y) {
    const Point p = layout.at(x, y);
    if (std::isfinite(p.x) && std::isfinite(p.y)) places.push_back(p);
  };
  for (const Series& s : series_) {
    const size_t n = s.xs.size(), every = std::max<size_t>(1, n / 200);
    for (size_t i = 0; i < n; i += every) {
      include(s.xs[i], s.ys[i]);
      if (!s.tops.empty()) include(s.xs[i], s.tops[i]);
      if (s.kind == Kind::kBars) {
        for (const double share : {0.25, 0.5, 0.75}) include(s.xs[i], s.ys[i] * share);
      } else if (i + every < n && n < 50) {  // long straight pieces
        for (const double share : {0.2, 0.4, 0.6, 0.8})
          include(std::lerp(s.xs[i], s.xs[i + every], share), std::lerp(s.ys[i], s.ys[i + every], share));
      }
    }
  }
  return places;
}

std::vector<std::pair<Point, Point>> contour_lines(const std::function<double(double, double)>& f, Range x, Range y,
                                                   double level, int cells) {
  const auto at = [cells](Range r, int i) { return r.low + (r.high - r.low) * i / cells; };
  std::vector<double> values(size_t(cells + 1) * size_t(cells + 1));
  for (int j = 0; j <= cells; ++j)
    for (int i = 0; i <= cells; ++i) values[size_t(j * (cells + 1) + i)] = f(at(x, i), at(y, j)) - level;
  std::vector<std::pair<Point, Point>> lines;
  for (int j = 0; j < cells; ++j) {
    for (int i = 0; i < cells; ++i) {
      // Corners counter-clockwise; where an edge's ends differ in sign, the line crosses it.
      const int di[] = {0, 1, 1, 0}, dj[] = {0, 0, 1, 1};
      Point crossings[4];
      int count = 0;
      for (int e = 0; e < 4; ++e) {
        const int i0 = i + di[e], j0 = j + dj[e], i1 = i + di[(e + 1) % 4], j1 = j + dj[(e + 1) % 4];
        const double a = values[size_t(j0 * (cells + 1) + i0)], b = values[size_t(j1 * (cells + 1) + i1)];
        if (!std::isfinite(a) || !std::isfinite(b) || (a < 0) == (b < 0)) continue;
        const double share = a / (a - b);
        crossings[count++] = {std::lerp(at(x, i0), at(x, i1), share), std::lerp(at(y, j0), at(y, j1), share)};
      }
      for (int c = 0; c + 1 < count; c += 2) lines.push_back({crossings[c], crossings[c + 1]});
    }
  }
  return lines;
}

}  // namespace sedum::report
