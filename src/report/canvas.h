#pragma once
// A surface to draw on, and the only place that knows Cairo and Pango. Units are points; y goes down.
//
//   Canvas canvas({400, 300}, Canvas::Format::kPng, 2);       // 800 × 600 pixels
//   canvas.line({{0, 0}, {400, 300}}, {.color = kInk, .width = 1.5});
//   canvas.text({200, 20}, "特征值 λ", {.align = Align::kCenter});
//   write_file("x.png", canvas.finish());
//
// The same calls give the same bytes where the same fonts and libraries are: hinting is off, no date is written.

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace sedum::report {

struct Point {
  double x = 0, y = 0;
};
struct Size {
  double width = 0, height = 0;
};
struct Box {
  double x = 0, y = 0, width = 0, height = 0;
  double right() const { return x + width; }
  double bottom() const { return y + height; }
  Point center() const { return {x + width / 2, y + height / 2}; }
};
struct Color {
  double red = 0, green = 0, blue = 0, alpha = 1;
};

inline constexpr Color kInk{0.13, 0.13, 0.15}, kSoftInk{0.38, 0.38, 0.42}, kGrid{0.88, 0.88, 0.90}, kPaper{1, 1, 1},
    kNone{0, 0, 0, 0};

struct Stroke {
  Color color = kInk;
  double width = 1;
  std::vector<double> dash = {};  // lengths drawn and left out, in turn; empty: drawn through
};

enum class Align { kLeft, kCenter, kRight };

struct TextStyle {
  double size = 11;  // of the letters, in points
  bool bold = false, mono = false;
  Color color = kInk;
  Align align = Align::kLeft;  // of the text about its anchor; lines of one text are aligned the same way
  double wrap = 0;             // lines no wider than this; 0: only where the text has line breaks
  double turn = 0;             // degrees, counter-clockwise, about the anchor
};

class Canvas {
 public:
  enum class Format { kPng, kSvg, kPdf };
  Canvas(Size size, Format format, double scale = 1);  // scale: pixels a point, for PNG
  ~Canvas();
  Canvas(const Canvas&) = delete;
  Canvas& operator=(const Canvas&) = delete;

  void line(std::span<const Point> points, const Stroke& stroke);  // a point that is not finite interrupts it
  void line(std::initializer_list<Point> points, const Stroke& stroke) {
    line(std::span(points.begin(), points.size()), stroke);
  }
  void curve(Point from, Point near_from, Point near_to, Point to, const Stroke& stroke);  // a cubic Bézier
  void polygon(std::span<const Point> corners, Color fill);
  void rectangle(const Box& box, Color fill, const Stroke& edge = {.color = kNone}, double radius = 0);
  void circle(Point center, double radius, Color fill, const Stroke& edge = {.color = kNone});
  void arrow_head(Point tip, double dx, double dy, Color fill, double size = 7);  // pointing along (dx, dy)

  // Anchor: the text's top edge, at its left, middle or right as `align` says.
  void text(Point anchor, std::string_view text, const TextStyle& style = {});
  void text_middle(Point anchor, std::string_view text, const TextStyle& style = {});  // anchored half-way down
  static Size measure(std::string_view text, const TextStyle& style = {});

  void clip(const Box& box);  // until unclip()
  void unclip();
  void scaled(Point origin, double scale,
              const std::function<void()>& draw);     // what draw() draws, its (0, 0) at origin
  void new_page();                                    // PDF
  void link(const Box& box, const std::string& url);  // a place that opens an address when it is clicked; PDF only

  std::string finish();  // the file's bytes; nothing may be drawn afterwards

 private:
  struct Surface;
  std::unique_ptr<Surface> surface_;
};

}  // namespace sedum::report
