#include "report/heatmap.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "base/error.h"
#include "report/axis.h"

namespace sedum::report {
namespace {
constexpr TextStyle kName{.size = 10}, kTitle{.size = 12, .bold = true, .align = Align::kCenter};
}

Heatmap::Heatmap(std::string title, std::vector<std::vector<double>> values)
    : title_(std::move(title)), values_(std::move(values)) {
  Range range;
  for (const auto& row : values_) {
    if (row.size() != values_[0].size()) throw ApiError("Heatmap", "rows differ in length");
    range.include(range_of(row));
    for (const double value : row) whole_ = whole_ && (std::isnan(value) || value == std::floor(value));
  }
  if (values_.empty() || values_[0].empty()) throw ApiError("Heatmap", "there are no values");
  if (range.empty()) return;
  high_ = std::max({std::abs(range.low), range.high, 1e-300});
  low_ = range.low < 0 ? -high_ : 0;
}

Heatmap& Heatmap::rows(std::vector<std::string> names, std::string label) {
  return rows_ = std::move(names), row_label_ = std::move(label), *this;
}
Heatmap& Heatmap::columns(std::vector<std::string> names, std::string label) {
  return columns_ = std::move(names), column_label_ = std::move(label), *this;
}
Heatmap& Heatmap::range(double low, double high) { return low_ = low, high_ = high, *this; }
Heatmap& Heatmap::digits(int digits) { return digits_ = digits, *this; }
Heatmap& Heatmap::cell(Size size) { return cell_ = size, *this; }

Size Heatmap::margins() const {
  double left = row_label_.empty() ? 0 : 20;
  double widest = 0;
  for (const auto& name : rows_) widest = std::max(widest, Canvas::measure(name, kName).width);
  return {left + widest + 8,
          (title_.empty() ? 0 : 24) + (column_label_.empty() ? 0 : 18) + (columns_.empty() ? 4.0 : 19.0)};
}

Size Heatmap::size() const {
  const Size edge = margins();
  const double cells = cell_.width * double(values_[0].size());
  return {edge.width + std::max(cells, Canvas::measure(title_, kTitle).width) + 8,
          edge.height + cell_.height * double(values_.size()) + 6};
}

Box Heatmap::cell_box(const Box& box, size_t row, size_t column) const {
  const Size edge = margins();
  const double left = box.x + std::max(0.0, (box.width - size().width) / 2);  // in the middle of a wider box
  return {left + edge.width + cell_.width * double(column), box.y + edge.height + cell_.height * double(row),
          cell_.width, cell_.height};
}

void Heatmap::draw(Canvas& canvas, const Box& box) const {
  const Box first = cell_box(box, 0, 0), last = cell_box(box, values_.size() - 1, values_[0].size() - 1);
  const double middle_x = (first.x + last.right()) / 2, middle_y = (first.y + last.bottom()) / 2;
  const double title_x = std::max(middle_x, box.x + Canvas::measure(title_, kTitle).width / 2);  // wider than the cells
  if (!title_.empty()) canvas.text({title_x, box.y + 2}, title_, kTitle);
  canvas.text({middle_x, first.y - 35}, column_label_, {.align = Align::kCenter});
  canvas.text({first.x - margins().width, middle_y}, row_label_, {.align = Align::kCenter, .turn = 90});
  for (size_t c = 0; c < columns_.size(); ++c) {
    const Box cell = cell_box(box, 0, c);
    canvas.text({cell.center().x, cell.y - 17}, columns_[c], {.size = 10, .align = Align::kCenter});
  }
  for (size_t r = 0; r < rows_.size(); ++r)
    canvas.text_middle({first.x - 6, cell_box(box, r, 0).center().y}, rows_[r], {.size = 10, .align = Align::kRight});
  for (size_t r = 0; r < values_.size(); ++r) {
    for (size_t c = 0; c < values_[r].size(); ++c) {
      const Box cell = cell_box(box, r, c);
      const double value = values_[r][c];
      if (std::isnan(value)) {
        canvas.rectangle(cell, kPaper, {.color = kGrid, .width = 0.6});
        continue;
      }
      const double share = low_ < 0 ? value / std::max(high_, -low_) : (value - low_) / (high_ - low_);
      const Color color = low_ < 0 ? signed_heat(share) : heat(share);
      // Small cells are a picture: no lines between them.
      canvas.rectangle(cell, color, {.color = cell_.width > 12 ? kPaper : color, .width = 0.8});
      const std::string text = with_minus(fmt::format("{:.{}f}", value, whole_ ? 0 : digits_));
      if (digits_ > 0 && cell_.width > 24)
        canvas.text_middle(cell.center(), text,
                           {.size = 10, .color = wants_white_text(color) ? kPaper : kInk, .align = Align::kCenter});
    }
  }
}

}  // namespace sedum::report
