#pragma once
// What all pictures have in common: a size they like, and how they are drawn into a box. Pictures can be put side by side.
//
//   Figure figure("三种学习率", 2);          // two columns
//   figure.add(plot).add(heatmap);
//   save(figure, "lr.png");                   // or .svg, .pdf

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "report/canvas.h"

namespace sedum::report {

class Picture {
 public:
  virtual ~Picture() = default;
  virtual Size size() const = 0;
  virtual void draw(Canvas& canvas, const Box& box) const = 0;
};

// Several pictures in rows and columns under one title. Each column is as wide as its widest picture.
class Figure : public Picture {
 public:
  explicit Figure(std::string title = "", int columns = 1) : title_(std::move(title)), columns_(columns) {}
  template <class P>
  Figure& add(P picture) {
    pictures_.push_back(std::make_shared<P>(std::move(picture)));
    return *this;
  }
  Size size() const override;
  void draw(Canvas& canvas, const Box& box) const override;

 private:
  std::vector<double> sides(bool widths) const;
  std::string title_;
  int columns_;
  std::vector<std::shared_ptr<const Picture>> pictures_;
};

// By the suffix .png (three pixels for two points), .svg or .pdf. The bytes alone: render().
std::string render(const Picture& picture, Canvas::Format format, double scale = 1.5);
void save(const Picture& picture, const std::filesystem::path& path);

// The look of the i-th series: colours that differ in lightness, and dashes and markers that differ without any colour.
// Colours: Okabe and Ito, "Color Universal Design" (2008), darkened where white paper asks for it.
Color series_color(int i);
std::vector<double> series_dash(int i);
void draw_marker(Canvas& canvas, Point center, int i, double radius = 3);

// White to dark blue (0 to 1), and, for signed values, dark orange through white to dark blue (−1 to 1).
Color heat(double share);
Color signed_heat(double share);
bool wants_white_text(Color background);

}  // namespace sedum::report
