#include "report/picture.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/file.h"

namespace sedum::report {
namespace {

constexpr double kGap = 18;
constexpr TextStyle kTitle{.size = 14, .bold = true, .align = Align::kCenter};

Color between(Color a, Color b, double share) {
  const auto mix = [share](double x, double y) { return x + (y - x) * share; };
  return {mix(a.red, b.red), mix(a.green, b.green), mix(a.blue, b.blue)};
}

}  // namespace

std::vector<double> Figure::sides(bool widths) const {
  const size_t columns = size_t(columns_), rows = (pictures_.size() + columns - 1) / columns;
  std::vector<double> sides(widths ? columns : rows, 0);
  for (size_t i = 0; i < pictures_.size(); ++i) {
    double& side = sides[widths ? i % columns : i / columns];
    side = std::max(side, widths ? pictures_[i]->size().width : pictures_[i]->size().height);
  }
  return sides;
}

Size Figure::size() const {
  Size size{0, title_.empty() ? 0 : Canvas::measure(title_, kTitle).height + 14};
  const auto widths = sides(true), heights = sides(false);
  for (size_t i = 0; i < widths.size(); ++i) size.width += widths[i] + (i > 0 ? kGap : 0);
  for (size_t i = 0; i < heights.size(); ++i) size.height += heights[i] + (i > 0 ? kGap : 0);
  size.width = std::max(size.width, Canvas::measure(title_, kTitle).width);
  return size;
}

void Figure::draw(Canvas& canvas, const Box& box) const {
  double y = box.y;
  if (!title_.empty()) {
    canvas.text({box.center().x, y + 4}, title_, kTitle);
    y += Canvas::measure(title_, kTitle).height + 14;
  }
  const auto widths = sides(true), heights = sides(false);
  for (size_t row = 0; row < heights.size(); ++row) {
    double x = box.x;
    for (size_t column = 0; column < widths.size(); ++column) {
      const size_t i = row * widths.size() + column;
      if (i >= pictures_.size()) break;
      pictures_[i]->draw(canvas, {x, y, widths[column], heights[row]});
      x += widths[column] + kGap;
    }
    y += heights[row] + kGap;
  }
}

std::string render(const Picture& picture, Canvas::Format format, double scale) {
  constexpr double kMargin = 10;
  const Size size = picture.size();
  Canvas canvas({std::ceil(size.width + 2 * kMargin), std::ceil(size.height + 2 * kMargin)}, format, scale);
  picture.draw(canvas, {kMargin, kMargin, size.width, size.height});
  return canvas.finish();
}

void save(const Picture& picture, const std::filesystem::path& path) {
  const std::string suffix = path.extension();
  if (suffix != ".png" && suffix != ".svg" && suffix != ".pdf")
    throw Error(path.string() + ": pictures are written as .png, .svg or .pdf", "change the name's ending");
  write_file(path, render(picture, suffix == ".png"   ? Canvas::Format::kPng
                                   : suffix == ".svg" ? Canvas::Format::kSvg
                                                      : Canvas::Format::kPdf));
}

Color series_color(int i) {
  static constexpr Color kColors[] = {{0.00, 0.36, 0.62}, {0.84, 0.37, 0.00}, {0.00, 0.55, 0.42}, {0.70, 0.35, 0.58},
                                      {0.10, 0.10, 0.12}, {0.80, 0.56, 0.00}, {0.28, 0.62, 0.84}};
  return kColors[i % 7];
}

std::vector<double> series_dash(int i) {
  static const std::vector<double> kDashes[] = {{}, {7, 3}, {2, 2.5}, {8, 2.5, 2, 2.5}, {12, 4}};
  return kDashes[i % 5];
}

void draw_marker(Canvas& canvas, Point p, int i, double r) {
  const Color color = series_color(i);
  const Stroke edge{.color = color, .width = 1.3};
  const auto shape = [&](std::initializer_list<Point> corners) {
    canvas.polygon(std::span(corners.begin(), corners.size()), color);
  };
  switch (i % 6) {
    case 0:
      return canvas.circle(p, r, color);
    case 1:
      return canvas.rectangle({p.x - r, p.y - r, 2 * r, 2 * r}, kPaper, edge);
    case 2:
      return shape({{p.x, p.y - 1.25 * r}, {p.x + 1.2 * r, p.y + r}, {p.x - 1.2 * r, p.y + r}});
    case 3:
      return canvas.circle(p, r, kPaper, edge);
    case 4:
      return shape({{p.x, p.y - 1.4 * r}, {p.x + 1.4 * r, p.y}, {p.x, p.y + 1.4 * r}, {p.x - 1.4 * r, p.y}});
    default:
      canvas.line({{p.x - r, p.y - r}, {p.x + r, p.y + r}}, edge);
      canvas.line({{p.x - r, p.y + r}, {p.x + r, p.y - r}}, edge);
  }
}

Color heat(double share) {
  if (!(share >= 0)) share = 0;
  share = std::min(share, 1.0);
  constexpr Color kMiddle{0.42, 0.68, 0.84}, kDark{0.03, 0.19, 0.42};
  return share < 0.5 ? between({0.98, 0.99, 1}, kMiddle, 2 * share) : between(kMiddle, kDark, 2 * share - 1);
}

Color signed_heat(double share) {
  if (share >= 0) return heat(share);
  constexpr Color kMiddle{0.99, 0.68, 0.38}, kDark{0.50, 0.15, 0.02};
  const double size = std::min(std::isnan(share) ? 0.0 : -share, 1.0);
  return size < 0.5 ? between({0.98, 0.99, 1}, kMiddle, 2 * size) : between(kMiddle, kDark, 2 * size - 1);
}

bool wants_white_text(Color c) { return 0.299 * c.red + 0.587 * c.green + 0.114 * c.blue < 0.55; }

}  // namespace sedum::report
