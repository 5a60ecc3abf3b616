#pragma once
// A plot of numbers: lines, points, bars, bands, contours, arrows over two axes.
//
//   Plot plot("学习率与收敛", "步数", "损失");
//   plot.log_y();
//   plot.line("lr = 0.01", steps, losses).line("lr = 0.1", steps, other);
//   plot.horizontal(0.5, "目标");
//   save(plot, "lr.png");
//
// Series get colour, dash and marker by their order, so that grey paper shows them apart. Values that are not finite, and on a
// log axis what is not positive, leave gaps. Ranges follow the data until they are set.

#include <functional>
#include <optional>

#include "report/axis.h"
#include "report/picture.h"

namespace sedum::report {

using Values = std::vector<double>;

class Plot : public Picture {
 public:
  Plot(std::string title, std::string x_label, std::string y_label)
      : title_(std::move(title)), x_label_(std::move(x_label)), y_label_(std::move(y_label)) {}

  // The label "" keeps a series out of the legend. xs and ys are equally long; otherwise ApiError.
  Plot& line(std::string label, Values xs, Values ys);
  Plot& scatter(std::string label, Values xs, Values ys);
  Plot& band(std::string label, Values xs, Values low, Values high);
  Plot& bars(std::string label, Values heights);     // at the places of categories(); several series stand side by side
  Plot& categories(std::vector<std::string> names);  // names along x: places 0, 1, 2 …
  Plot& horizontal(double y, std::string label = "");  // reference lines, dashed and grey
  Plot& vertical(double x, std::string label = "");
  Plot& arrow(Point from, Point to, std::string label = "");  // in the data's units; takes the next series' colour
  Plot& note(Point at, std::string text);                     // text beside a place
  Plot& contours(std::function<double(double, double)> f,
                 Values levels);  // lines of equal value, within the range of the rest
  Plot& like_previous();          // the next series looks like the last one (a path in several pieces)

  Plot& x_range(double low, double high);
  Plot& y_range(double low, double high);
  Plot& log_x();
  Plot& log_y();
  Plot& equal();           // one unit is as long on x as on y
  Plot& sized(Size size);  // of the whole picture; 460 × 320 otherwise

  Size size() const override { return size_; }
  void draw(Canvas& canvas, const Box& box) const override;

  // Where the data goes when the plot is drawn in `box`, and with which axes: what a test asks for.
  struct Layout {
    Box area;
    Axis x, y;
    Point at(double px, double py) const {
      return {area.x + x.place(px) * area.width, area.bottom() - y.place(py) * area.height};
    }
  };
  Layout layout(const Box& box) const;

 private:
  enum class Kind { kLine, kScatter, kBand, kBars, kArrow };
  struct Series {
    Kind kind;
    std::string label;
    Values xs, ys, tops;  // tops: of a band
    int look;
  };
  struct Mark {
    enum class Kind { kHorizontal, kVertical, kNote } kind;
    Point at;
    std::string text;
  };
  Plot& add(Kind kind, std::string label, Values xs, Values ys, Values tops = {});
  Axis axis(bool x) const;
  void draw_axes(Canvas& canvas, const Layout& layout, const Box& box) const;
  void draw_contours(Canvas& canvas, const Layout& layout) const;
  void draw_series(Canvas& canvas, const Layout& layout, const Series& series, int bar) const;
  void draw_line(Canvas& canvas, const Layout& layout, const Series& series) const;
  void draw_marks(Canvas& canvas, const Layout& layout) const;
  void draw_legend(Canvas& canvas, const Layout& layout) const;
  std::vector<Point> places(const Layout& layout) const;  // of everything that a legend should not cover
  int bar_series() const;

  std::string title_, x_label_, y_label_;
  std::vector<Series> series_;
  std::vector<Mark> marks_;
  std::vector<std::string> categories_;
  std::function<double(double, double)> field_;
  Values levels_;
  std::optional<Range> x_range_, y_range_;
  bool log_x_ = false, log_y_ = false, equal_ = false, same_look_ = false;
  int looks_ = 0;
  Size size_{460, 320};
};

// Lines along which f has the value `level`, found on a grid of `cells` × `cells` over the ranges (marching squares): pairs of points.
std::vector<std::pair<Point, Point>> contour_lines(const std::function<double(double, double)>& f, Range x, Range y,
                                                   double level, int cells = 120);

}  // namespace sedum::report
