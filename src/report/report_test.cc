#include <cmath>
#include <cstring>
#include <limits>

#include <cairo.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "report/diagram.h"
#include "report/heatmap.h"
#include "report/plot.h"
#include "report/table.h"

namespace sedum::report {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN(), kInf = std::numeric_limits<double>::infinity();

std::vector<std::string> labels(const std::vector<Tick>& ticks) {
  std::vector<std::string> labels;
  for (const Tick& tick : ticks) labels.push_back(tick.label);
  return labels;
}

// A PNG's pixels.
class Pixels {
 public:
  explicit Pixels(const std::string& png) : png_(png) {
    surface_ = cairo_image_surface_create_from_png_stream(read, this);
    EXPECT_EQ(cairo_surface_status(surface_), CAIRO_STATUS_SUCCESS);
  }
  ~Pixels() { cairo_surface_destroy(surface_); }
  double width() const { return cairo_image_surface_get_width(surface_); }
  Color at(double x, double y) const {
    uint32_t pixel = 0;
    const unsigned char* row =
        cairo_image_surface_get_data(surface_) + std::lround(y) * cairo_image_surface_get_stride(surface_);
    std::memcpy(&pixel, row + 4 * std::lround(x), 4);
    return {(pixel >> 16 & 255) / 255.0, (pixel >> 8 & 255) / 255.0, (pixel & 255) / 255.0};
  }

 private:
  static cairo_status_t read(void* self, unsigned char* data, unsigned length) {
    auto* pixels = static_cast<Pixels*>(self);
    if (pixels->at_ + length > pixels->png_.size()) return CAIRO_STATUS_READ_ERROR;
    std::memcpy(data, pixels->png_.data() + pixels->at_, length);
    pixels->at_ += length;
    return CAIRO_STATUS_SUCCESS;
  }
  std::string png_;
  size_t at_ = 0;
  cairo_surface_t* surface_;
};

double distance(Color a, Color b) {
  return std::abs(a.red - b.red) + std::abs(a.green - b.green) + std::abs(a.blue - b.blue);
}

TEST(Ranges, PassOverWhatIsNotFinite) {
  const std::vector<double> values{kNan, -3, kInf, 2, -kInf};
  EXPECT_EQ(range_of(values).low, -3);
  EXPECT_EQ(range_of(values).high, 2);
  EXPECT_EQ(range_of(values, true).low, 2);
  EXPECT_TRUE(range_of(std::vector<double>{kNan}).empty());
  Range range;
  range.include(-5);
  EXPECT_EQ(range.low, -5);
  EXPECT_EQ(range.high, -5);
}

TEST(Axes, EmptyRangesAndSingleValuesGetRoom) {
  EXPECT_EQ(Axis(Range{}).range().low, 0);
  EXPECT_EQ(Axis(Range{}).range().high, 1);
  for (const double value : {-4.0, 0.0, 1e-300, 7e200}) {
    const Axis axis({value, value});
    EXPECT_LT(axis.range().low, value);
    EXPECT_GT(axis.range().high, value);
    EXPECT_GE(axis.ticks(5).size(), 2u) << value;
  }
  EXPECT_GT(Axis({5, 5}, Axis::Kind::kLog).range().high, 5);
  EXPECT_GT(Axis({-2, -1}, Axis::Kind::kLog).range().low, 0);
}

TEST(Axes, PlaceValues) {
  const Axis linear({-1, 3});
  EXPECT_DOUBLE_EQ(linear.place(-1), 0);
  EXPECT_DOUBLE_EQ(linear.place(0), 0.25);
  const Axis log({0.01, 100}, Axis::Kind::kLog);
  EXPECT_DOUBLE_EQ(log.place(1), 0.5);
  EXPECT_TRUE(std::isnan(log.place(0)));
  EXPECT_TRUE(std::isnan(log.place(-1)));
}

TEST(Axes, TicksAreRoundNumbers) {
  EXPECT_EQ(labels(Axis({0, 1}).ticks(5)), (std::vector<std::string>{"0", "0.2", "0.4", "0.6", "0.8", "1.0"}));
  EXPECT_EQ(labels(Axis({-1, 1}).ticks(4)), (std::vector<std::string>{"−1.0", "−0.5", "0", "0.5", "1.0"}));
  EXPECT_EQ(labels(Axis({0, 2.4e6}).ticks(3)), (std::vector<std::string>{"0", "10⁶", "2×10⁶"}));
  EXPECT_EQ(labels(Axis({3, 970}).ticks(5)), (std::vector<std::string>{"200", "400", "600", "800"}));
  const auto near = Axis({10000.25, 10000.75}).ticks(5);
  EXPECT_EQ(near.front().label, "10000.3");
}

TEST(Axes, LogTicks) {
  const auto kind = Axis::Kind::kLog;
  EXPECT_EQ(labels(Axis({0.01, 10}, kind).ticks(5)), (std::vector<std::string>{"0.01", "0.1", "1", "10"}));
  EXPECT_EQ(labels(Axis({1, 100}, kind).ticks(5)), (std::vector<std::string>{"1", "2", "5", "10", "20", "50", "100"}));
  const auto many = labels(Axis({1e-20, 1e20}, kind).ticks(5));
  EXPECT_LE(many.size(), 8u);
  EXPECT_EQ(many.back(), "10¹⁸");
  EXPECT_GE(Axis({2, 3}, kind).ticks(5).size(), 3u);
}

TEST(Numbers, Short) {
  EXPECT_EQ(short_number(1.0 / 3), "0.333");
  EXPECT_EQ(short_number(2), "2");
  EXPECT_EQ(short_number(-12345.6), "−12346");
  EXPECT_EQ(short_number(1.25e-9), "1.25×10⁻⁹");
  EXPECT_EQ(short_number(9.9999e9), "10¹⁰");
  EXPECT_EQ(short_number(kNan), "NaN");
}

TEST(Plots, ALineIsWhereItsValuesAre) {
  Plot plot("", "x", "y");
  plot.line("", {0, 1}, {0, 1}).x_range(0, 1).y_range(0, 1).sized({200, 150});
  const Pixels pixels(render(plot, Canvas::Format::kPng, 2));
  const auto layout = plot.layout({10, 10, 200, 150});  // render() leaves a margin of 10
  for (const double value : {0.1, 0.3, 0.55, 0.9}) {
    const Point on = layout.at(value, value), off = layout.at(value, value > 0.5 ? value - 0.33 : value + 0.37);
    EXPECT_LT(distance(pixels.at(2 * on.x, 2 * on.y), series_color(0)), 0.15) << value;
    EXPECT_GT(distance(pixels.at(2 * off.x, 2 * off.y), series_color(0)), 1) << value;
  }
}

TEST(Plots, NanInterruptsALine) {
  Plot plot("", "", "");
  plot.line("", {0, 1, 2, 3, 4}, {0.5, 0.5, kNan, 0.5, 0.5}).x_range(0, 4).y_range(0, 1);
  const Pixels pixels(render(plot, Canvas::Format::kPng, 2));
  const auto layout = plot.layout({10, 10, plot.size().width, plot.size().height});
  const Point drawn = layout.at(0.5, 0.5), gap = layout.at(2.25, 0.5);
  EXPECT_LT(distance(pixels.at(2 * drawn.x, 2 * drawn.y), series_color(0)), 0.15);
  EXPECT_GT(distance(pixels.at(2 * gap.x, 2 * gap.y), series_color(0)), 1);
}

TEST(Plots, PaperReachesTheEdges) {
  Plot plot("", "", "");
  plot.sized({101, 81});
  const Pixels pixels(render(plot, Canvas::Format::kPng, 1.5));  // 181.5 pixels: rounded, and white to the last
  EXPECT_LT(distance(pixels.at(pixels.width() - 1, 5), kPaper), 0.01);
}

TEST(Plots, DrawEvenWithNothingToShow) {
  for (const bool log : {false, true}) {
    for (const Values& ys : {Values{}, Values{kNan}, Values{-1}, Values{0}, Values{1e308}, Values{5e-324}}) {
      Plot plot("空", "x", "y");
      plot.line("a", Values(ys.size(), 1), ys).scatter("b", Values(ys.size(), 1), ys).bars("c", ys).horizontal(3, "h");
      plot.contours([](double x, double y) { return x * y; }, {0.1});
      if (log) plot.log_x().log_y();
      EXPECT_GT(Pixels(render(plot, Canvas::Format::kPng, 1)).width(), 100);
    }
  }
  EXPECT_THROW(Plot("", "", "").line("", {1, 2}, {1}), ApiError);
}

TEST(Plots, EqualAxesMakeCirclesRound) {
  Plot plot("", "x", "y");
  plot.line("", {-1, 1}, {-1, 1}).equal().sized({500, 200});
  const auto layout = plot.layout({0, 0, 500, 200});
  const Point a = layout.at(0, 0), b = layout.at(1, 1);
  EXPECT_NEAR(b.x - a.x, a.y - b.y, 1e-9);
}

TEST(Contours, OfACircleLieOnIt) {
  const auto lines = contour_lines([](double x, double y) { return x * x + y * y; }, {-2, 2}, {-2, 2}, 1);
  EXPECT_GT(lines.size(), 100u);
  // Linear interpolation in cells of h = 1/30: off by h²·f''/8 over the slope 2, so about 1.4e-4.
  for (const auto& [a, b] : lines)
    for (const Point p : {a, b}) EXPECT_NEAR(std::hypot(p.x, p.y), 1, 3e-4);
}

TEST(Heatmaps, CellsHaveTheShadeOfTheirValue) {
  Heatmap heatmap("注意力", {{0, 1}, {0.5, kNan}});
  heatmap.digits(0);
  const Pixels pixels(render(heatmap, Canvas::Format::kPng, 2));
  const Box box{10, 10, heatmap.size().width, heatmap.size().height};
  for (const auto& [row, column, color] :
       {std::tuple{0, 0, heat(0)}, {0, 1, heat(1)}, {1, 0, heat(0.5)}, {1, 1, kPaper}}) {
    const Point middle = heatmap.cell_box(box, size_t(row), size_t(column)).center();
    EXPECT_LT(distance(pixels.at(2 * middle.x, 2 * middle.y), color), 0.02) << row << column;
  }
  EXPECT_THROW(Heatmap("", {{1, 2}, {1}}), ApiError);
  EXPECT_THROW(Heatmap("", {}), ApiError);
}

TEST(Heatmaps, ShadesGrowDarker) {
  const auto light = [](Color c) { return 0.299 * c.red + 0.587 * c.green + 0.114 * c.blue; };
  for (double share = 0.1; share <= 1; share += 0.1) {
    EXPECT_LT(light(heat(share)), light(heat(share - 0.1)));
    EXPECT_LT(light(signed_heat(-share)), light(signed_heat(0.1 - share)));
  }
}

TEST(Diagrams, BoxesStandInTheirLanes) {
  Diagram diagram("数据流");
  diagram.box("a", "输入\n(B, T)", 0, 0)
      .box("b", "a long name", 0, 1)
      .box("c", "c", 1, 0.5)
      .arrow("a", "c")
      .arrow("b", "c", "x");
  const Box a = diagram.box_of("a"), b = diagram.box_of("b"), c = diagram.box_of("c");
  EXPECT_NEAR(a.center().x, b.center().x, 1e-9);
  EXPECT_GT(b.y, a.bottom());
  EXPECT_GT(c.x, b.right());
  EXPECT_NEAR(c.center().y, (a.center().y + b.center().y) / 2, 1e-9);
  EXPECT_GE(diagram.size().width, c.right());
  EXPECT_THROW(diagram.arrow("a", "nowhere"), ApiError);
  EXPECT_THROW(diagram.box("a", "twice", 0, 0), ApiError);
}

TEST(Tables, AlignChineseAndNumbers) {
  Table table({"名字", "n"});
  table.row({"ab", "5"}).row({"特征值", "12"});
  EXPECT_EQ(table.text(), "名字     n\n──────────\nab       5\n特征值  12\n");
  EXPECT_EQ(table.markdown(), "| 名字 | n |\n|---|--:|\n| ab | 5 |\n| 特征值 | 12 |\n");
  EXPECT_THROW(table.row({"short"}), ApiError);
  EXPECT_EQ(terminal_width("a中é"), 4u);
  EXPECT_EQ(terminal_width("✅❌🔄×"), 7u);
}

Figure sample() {
  Plot plot("学习率 λ", "步数", "损失");
  plot.line("一", {1, 2, 3}, {3, 1, 2}).scatter("二", {1, 3}, {1, 1}).log_y().note({2, 1}, "最低 <&>");
  Figure figure("图", 2);
  figure.add(plot).add(Heatmap("h", {{1, -1}})).add(MindMap({"根", {{"甲", {{"乙"}, {"丙"}}}, {"丁"}}}));
  return figure;
}

TEST(Files, AreTheSameEveryTime) {
  for (const auto format : {Canvas::Format::kPng, Canvas::Format::kSvg, Canvas::Format::kPdf})
    EXPECT_TRUE(render(sample(), format) == render(sample(), format)) << int(format);
}

// Every element that is opened is closed in order, and no bare & or < stands in the text.
TEST(Files, SvgIsWellFormed) {
  const std::string svg = render(sample(), Canvas::Format::kSvg);
  std::vector<std::string> open;
  ASSERT_TRUE(svg.starts_with("<?xml"));
  for (size_t at = svg.find('<', 1); at != std::string::npos; at = svg.find('<', at + 1)) {
    const size_t end = svg.find('>', at);
    ASSERT_NE(end, std::string::npos);
    const std::string tag = svg.substr(at + 1, end - at - 1);
    if (tag.starts_with('/')) {
      ASSERT_FALSE(open.empty());
      EXPECT_EQ(tag.substr(1), open.back());
      open.pop_back();
    } else if (!tag.ends_with('/')) {
      open.push_back(tag.substr(0, tag.find_first_of(" \n")));
    }
  }
  EXPECT_TRUE(open.empty());
  EXPECT_NE(svg.find("</svg>"), std::string::npos);
}

TEST(Files, NeedAKnownEnding) { EXPECT_THROW(save(sample(), "/tmp/x.bmp"), Error); }

// Without a Chinese font all its characters would be the same empty box.
TEST(Text, ChineseHasGlyphs) {
  const auto drawn = [](const char* text) {
    Canvas canvas({40, 40}, Canvas::Format::kPng);
    canvas.text({4, 4}, text, {.size = 24});
    return canvas.finish();
  };
  EXPECT_NE(drawn("梯"), drawn("度"));
  EXPECT_NE(drawn("λ"), drawn("σ"));
}

}  // namespace
}  // namespace sedum::report
