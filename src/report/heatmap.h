#pragma once
// A table of numbers as a table of shades, with the numbers in the cells where there is room for them.
//
//   Heatmap heat("注意力权重", {{1, 0, 0}, {0.4, 0.6, 0}, {0.2, 0.3, 0.5}});
//   heat.rows({"我", "爱", "你"}, "查询").columns({"我", "爱", "你"}, "键");

#include "report/picture.h"

namespace sedum::report {

class Heatmap : public Picture {
 public:
  // values: rows of equal length; NaN leaves a cell empty. Negative values anywhere make the scale a signed one.
  Heatmap(std::string title, std::vector<std::vector<double>> values);
  Heatmap& rows(std::vector<std::string> names, std::string label = "");
  Heatmap& columns(std::vector<std::string> names, std::string label = "");
  Heatmap& range(double low, double high);  // of the shades; the data's otherwise, from 0 on
  Heatmap& digits(
      int digits);  // of the numbers in the cells, 2 otherwise; 0: no numbers. Where all are whole, none are shown
  Heatmap& cell(Size size);  // 46 × 26 otherwise

  Size size() const override;
  void draw(Canvas& canvas, const Box& box) const override;
  Box cell_box(const Box& box, size_t row, size_t column) const;  // where a cell is when drawn in `box`

 private:
  Size margins() const;  // left of and above the cells
  std::string title_, row_label_, column_label_;
  std::vector<std::vector<double>> values_;
  std::vector<std::string> rows_, columns_;
  double low_ = 0, high_ = 1;
  int digits_ = 2;
  bool whole_ = true;
  Size cell_{46, 26};
};

}  // namespace sedum::report
