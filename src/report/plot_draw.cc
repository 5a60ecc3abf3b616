// How a plot is drawn: grid and axes, then contours, series, marks and the legend.

#include <algorithm>
#include <cmath>

#include "report/plot.h"

namespace sedum::report {
namespace {

constexpr TextStyle kSmall{.size = 10, .color = kSoftInk};
constexpr double kLineWidth = 1.7;

Color faded(Color color, double alpha) { return {color.red, color.green, color.blue, alpha}; }

}  // namespace

void Plot::draw(Canvas& canvas, const Box& box) const {
  const Layout layout = this->layout(box);
  draw_axes(canvas, layout, box);
  canvas.clip({layout.area.x - 4, layout.area.y - 4, layout.area.width + 8, layout.area.height + 8});
  draw_contours(canvas, layout);
  int bar = 0;
  for (const Series& series : series_) draw_series(canvas, layout, series, series.kind == Kind::kBars ? bar++ : 0);
  draw_marks(canvas, layout);
  canvas.unclip();
  draw_legend(canvas, layout);
}

void Plot::draw_axes(Canvas& canvas, const Layout& layout, const Box& box) const {
  const Box& area = layout.area;
  if (!title_.empty())
    canvas.text({area.center().x, box.y + 2}, title_, {.size = 12, .bold = true, .align = Align::kCenter});
  const auto tick_style = [](Align align) {
    TextStyle style = kSmall;
    style.align = align;
    return style;
  };
  for (const Tick& tick : layout.y.ticks(5)) {
    const double y = layout.at(0, tick.value).y;
    canvas.line({{area.x, y}, {area.right(), y}}, {.color = kGrid, .width = 0.8});
    canvas.text_middle({area.x - 5, y}, tick.label, tick_style(Align::kRight));
  }
  std::vector<Tick> ticks;
  for (size_t i = 0; i < categories_.size(); ++i) ticks.push_back({double(i), categories_[i]});
  if (ticks.empty()) ticks = layout.x.ticks(std::clamp(int(area.width / 65), 2, 8));
  double free_from = -1e9;
  for (const Tick& tick : ticks) {
    const double x = area.x + layout.x.place(tick.value) * area.width;
    if (x < area.x - 0.5 || x > area.right() + 0.5) continue;
    if (categories_.empty()) canvas.line({{x, area.y}, {x, area.bottom()}}, {.color = kGrid, .width = 0.8});
    canvas.line({{x, area.bottom()}, {x, area.bottom() + 3}}, {.color = kSoftInk, .width = 0.8});
    const double half = Canvas::measure(tick.label, kSmall).width / 2;
    if (x - half < free_from) continue;  // it would run into the label before it
    canvas.text({x, area.bottom() + 5}, tick.label, tick_style(Align::kCenter));
    free_from = x + half + 4;
  }
  canvas.line({{area.x, area.y}, {area.x, area.bottom()}, {area.right(), area.bottom()}}, {.color = kSoftInk});
  canvas.text({area.center().x, box.bottom() - 17}, x_label_, {.align = Align::kCenter});
  const double height = Canvas::measure(y_label_).height;
  canvas.text({box.x + (14 - height) / 2, area.center().y}, y_label_, {.align = Align::kCenter, .turn = 90});
}

void Plot::draw_contours(Canvas& canvas, const Layout& layout) const {
  if (!field_) return;
  for (size_t i = 0; i < levels_.size(); ++i) {
    const double shade = levels_.size() < 2 ? 0.5 : double(i) / double(levels_.size() - 1);
    const Stroke stroke{.color = {0.55 + 0.25 * shade, 0.57 + 0.25 * shade, 0.62 + 0.22 * shade}, .width = 0.9};
    for (const auto& [a, b] : contour_lines(field_, layout.x.range(), layout.y.range(), levels_[i]))
      canvas.line({layout.at(a.x, a.y), layout.at(b.x, b.y)}, stroke);
  }
}

// A line with its markers: all of them where there are few points, eight along the way otherwise.
void Plot::draw_line(Canvas& canvas, const Layout& layout, const Series& s) const {
  std::vector<Point> points;
  for (size_t i = 0; i < s.xs.size(); ++i) {
    Point p = layout.at(s.xs[i], s.ys[i]);
    // What diverges leaves the picture, but not Cairo's coordinates.
    p.y = std::clamp(p.y, layout.area.y - 3000, layout.area.bottom() + 3000);
    p.x = std::clamp(p.x, layout.area.x - 3000, layout.area.right() + 3000);
    points.push_back(p);
  }
  canvas.line(points, {.color = series_color(s.look), .width = kLineWidth, .dash = series_dash(s.look)});
  const size_t every = points.size() <= 20 ? 1 : points.size() / 8;
  // Each series starts elsewhere, so that lines on top of each other show both markers.
  for (size_t i = every == 1 ? 0 : (size_t(s.look) * 2 + 1) * every / 8; i < points.size(); i += every)
    if (std::isfinite(points[i].x) && std::isfinite(points[i].y)) draw_marker(canvas, points[i], s.look, 2.6);
}

void Plot::draw_series(Canvas& canvas, const Layout& layout, const Series& s, int bar) const {
  const Color color = series_color(s.look);
  switch (s.kind) {
    case Kind::kLine:
      return draw_line(canvas, layout, s);
    case Kind::kScatter:
      for (size_t i = 0; i < s.xs.size(); ++i) {
        const Point p = layout.at(s.xs[i], s.ys[i]);
        if (std::isfinite(p.x) && std::isfinite(p.y)) draw_marker(canvas, p, s.look, s.xs.size() > 300 ? 1.5 : 3);
      }
      return;
    case Kind::kBand: {
      std::vector<Point> corners;
      for (size_t i = 0; i < s.xs.size(); ++i) corners.push_back(layout.at(s.xs[i], s.tops[i]));
      for (size_t i = s.xs.size(); i-- > 0;) corners.push_back(layout.at(s.xs[i], s.ys[i]));
      std::erase_if(corners, [](Point p) { return !std::isfinite(p.x) || !std::isfinite(p.y); });
      return canvas.polygon(corners, faded(color, 0.2));
    }
    case Kind::kBars: {
      const double width = 0.8 / bar_series(), base = layout.y.range().low > 0 ? layout.y.range().low : 0;
      for (size_t i = 0; i < s.xs.size(); ++i) {
        if (!std::isfinite(s.ys[i])) continue;
        const double left = double(i) - 0.4 + bar * width;
        const Point a = layout.at(left, base), b = layout.at(left + width * 0.94, s.ys[i]);
        canvas.rectangle({a.x, std::min(a.y, b.y), b.x - a.x, std::abs(a.y - b.y)},
                         faded(color, s.look % 2 ? 0.45 : 0.85), {.color = color});
        if (s.xs.size() * size_t(bar_series()) <= 16)
          canvas.text_middle({(a.x + b.x) / 2, b.y + (b.y <= a.y ? -7 : 7)}, short_number(s.ys[i]),
                             {.size = 9, .align = Align::kCenter});
      }
      return;
    }
    case Kind::kArrow: {
      const Point a = layout.at(s.xs[0], s.ys[0]), b = layout.at(s.xs[1], s.ys[1]);
      const double length = std::hypot(b.x - a.x, b.y - a.y), ux = (b.x - a.x) / length, uy = (b.y - a.y) / length;
      if (!(length > 0)) return;
      canvas.line({a, {b.x - 5 * ux, b.y - 5 * uy}}, {.color = color, .width = 2, .dash = series_dash(s.look)});
      canvas.arrow_head(b, ux, uy, color, 9);
      return;
    }
  }
}

void Plot::draw_marks(Canvas& canvas, const Layout& layout) const {
  const Box& area = layout.area;
  const Stroke dashed{.color = kSoftInk, .width = 1.1, .dash = {4, 3}};
  for (const Mark& mark : marks_) {
    const Point p = layout.at(mark.at.x, mark.at.y);
    switch (mark.kind) {
      case Mark::Kind::kHorizontal:
        canvas.line({{area.x, p.y}, {area.right(), p.y}}, dashed);
        canvas.text({area.right() - 3, p.y - 14 < area.y ? p.y + 1 : p.y - 14}, mark.text,
                    {.size = 10, .color = kSoftInk, .align = Align::kRight});
        break;
      case Mark::Kind::kVertical: {
        canvas.line({{p.x, area.y}, {p.x, area.bottom()}}, dashed);
        const bool left = p.x + 6 + Canvas::measure(mark.text, kSmall).width > area.right();
        canvas.text({p.x + (left ? -4 : 4), area.y + 2}, mark.text,
                    {.size = 10, .color = kSoftInk, .align = left ? Align::kRight : Align::kLeft});
        break;
      }
      case Mark::Kind::kNote: {
        const Size size = Canvas::measure(mark.text, {.size = 10});
        const bool left = p.x + 6 + size.width > area.right();
        canvas.rectangle({p.x + (left ? -7 - size.width : 5), p.y - size.height / 2, size.width + 2, size.height},
                         faded(kPaper, 0.75), {.color = kNone}, 2);
        canvas.text_middle({p.x + (left ? -6 : 6), p.y}, mark.text,
                           {.size = 10, .align = left ? Align::kRight : Align::kLeft});
      }
    }
  }
}

// In the corner where it covers the least.
void Plot::draw_legend(Canvas& canvas, const Layout& layout) const {
  constexpr double kSample = 26, kPad = 6, kLine = 15;
  std::vector<const Series*> shown;
  double width = 0;
  for (const Series& s : series_) {
    if (s.label.empty()) continue;
    shown.push_back(&s);
    width = std::max(width, Canvas::measure(s.label, {.size = 10}).width);
  }
  if (shown.empty()) return;
  const Size size{kSample + width + 3 * kPad, kLine * double(shown.size()) + kPad};
  const Box& area = layout.area;
  const std::vector<Point> places = this->places(layout);
  Box best{};
  long least = -1;
  for (const double down : {0.0, 1.0, 0.5}) {
    for (const double right : {1.0, 0.0, 0.5}) {
      const Box box{area.x + 6 + right * (area.width - 12 - size.width),
                    area.y + 5 + down * (area.height - 10 - size.height), size.width, size.height};
      const long covered = std::count_if(places.begin(), places.end(), [&box](Point p) {
        return p.x > box.x - 5 && p.x < box.right() + 5 && p.y > box.y - 5 && p.y < box.bottom() + 5;
      });
      if (least < 0 || covered < least) best = box, least = covered;
    }
  }
  canvas.rectangle(best, faded(kPaper, 0.88), {.color = kGrid}, 3);
  for (size_t i = 0; i < shown.size(); ++i) {
    const Series& s = *shown[i];
    const double x = best.x + kPad, y = best.y + kPad / 2 + kLine * (double(i) + 0.5);
    const Color color = series_color(s.look);
    const Stroke stroke{.color = color, .width = kLineWidth, .dash = series_dash(s.look)};
    if (s.kind == Kind::kBars || s.kind == Kind::kBand) {
      canvas.rectangle({x + 4, y - 5, kSample - 8, 10},
                       faded(color, s.kind == Kind::kBand ? 0.2
                                    : s.look % 2          ? 0.45
                                                          : 0.85),
                       {.color = s.kind == Kind::kBand ? kNone : color});
    } else {
      if (s.kind != Kind::kScatter) canvas.line({{x, y}, {x + kSample, y}}, stroke);
      if (s.kind == Kind::kArrow) canvas.arrow_head({x + kSample + 2, y}, 1, 0, color);
      if (s.kind != Kind::kArrow) draw_marker(canvas, {x + kSample / 2, y}, s.look, 2.6);
    }
    canvas.text_middle({x + kSample + kPad, y}, s.label, {.size = 10});
  }
}

}  // namespace sedum::report
