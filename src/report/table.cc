#include "report/table.h"

#include <algorithm>

#include <glib.h>

#include "base/error.h"

namespace sedum::report {
namespace {

constexpr double kRow = 21, kPad = 10;

uint32_t next_code_point(std::string_view text, size_t& at) {
  const auto byte = [&](size_t i) { return i < text.size() ? uint32_t(uint8_t(text[i])) : 0; };
  const uint32_t first = byte(at);
  const int more = first < 0xC0 ? 0 : first < 0xE0 ? 1 : first < 0xF0 ? 2 : 3;
  uint32_t code = more == 0 ? first : first & (0x3Fu >> more);
  for (int i = 1; i <= more; ++i) code = code << 6 | (byte(at + size_t(i)) & 0x3F);
  at += size_t(more) + 1;
  return code;
}

std::string padded(const std::string& text, size_t width, bool right) {
  const std::string fill(width - std::min(width, terminal_width(text)), ' ');
  return right ? fill + text : text + fill;
}

std::string escaped(const std::string& cell) {
  std::string out;
  for (const char c : cell) out += c == '|' ? "\\|" : c == '\n' ? "<br>" : std::string(1, c);
  return out;
}

}  // namespace

size_t terminal_width(std::string_view text) {
  size_t width = 0;
  for (size_t at = 0; at < text.size();) {
    const uint32_t c = next_code_point(text, at);
    const bool combines = (c >= 0x0300 && c <= 0x036F) || c == 0x200D || (c >= 0xFE00 && c <= 0xFE0F);
    width += combines ? 0 : g_unichar_iswide(c) ? 2 : 1;
  }
  return width;
}

Table& Table::row(std::vector<std::string> cells) {
  if (cells.size() != headers_.size())
    throw ApiError("Table", "a row of " + std::to_string(cells.size()) + " cells under " +
                                std::to_string(headers_.size()) + " headers");
  rows_.push_back(std::move(cells));
  return *this;
}

bool Table::numeric(size_t column) const {
  bool digits = false;
  for (const auto& row : rows_) {
    std::string_view cell = row[column];
    if (cell.empty() || cell == "–" || cell == "—" || cell == "NaN" || cell == "∞") continue;
    for (const std::string_view sign : {"−", "-", "+", "±"})
      if (cell.starts_with(sign)) cell.remove_prefix(sign.size());
    if (cell.empty() || cell[0] < '0' || cell[0] > '9') return false;
    digits = true;
  }
  return digits;
}

std::string Table::text() const {
  std::vector<size_t> widths;
  for (size_t c = 0; c < headers_.size(); ++c) {
    widths.push_back(terminal_width(headers_[c]));
    for (const auto& row : rows_) widths[c] = std::max(widths[c], terminal_width(row[c]));
  }
  std::string out = title_.empty() ? "" : title_ + "\n";
  const auto append = [&](const std::vector<std::string>& cells) {
    std::string line;
    for (size_t c = 0; c < cells.size(); ++c) line += (c > 0 ? "  " : "") + padded(cells[c], widths[c], numeric(c));
    line.erase(line.find_last_not_of(' ') + 1);
    out += line + "\n";
  };
  append(headers_);
  size_t total = 2 * (widths.size() - 1);
  for (const size_t width : widths) total += width;
  for (size_t i = 0; i < total; ++i) out += "─";
  out += "\n";
  for (const auto& row : rows_) append(row);
  return out;
}

std::string Table::markdown() const {
  std::string out = "|", rule = "|";
  for (size_t c = 0; c < headers_.size(); ++c)
    out += " " + escaped(headers_[c]) + " |", rule += numeric(c) ? "--:|" : "---|";
  out += "\n" + rule + "\n";
  for (const auto& row : rows_) {
    out += "|";
    for (const auto& cell : row) out += " " + escaped(cell) + " |";
    out += "\n";
  }
  return out;
}

std::string Table::html() const {
  const auto cell = [this](const char* tag, size_t column, const std::string& content) {
    std::string text;
    for (const char c : content) text += c == '&' ? "&amp;" : c == '<' ? "&lt;" : c == '>' ? "&gt;" : std::string(1, c);
    return "<" + std::string(tag) + (numeric(column) ? " class=\"n\">" : ">") + text + "</" + tag + ">";
  };
  std::string out = "<table><tr>";
  for (size_t c = 0; c < headers_.size(); ++c) out += cell("th", c, headers_[c]);
  out += "</tr>\n";
  for (const auto& row : rows_) {
    out += "<tr>";
    for (size_t c = 0; c < row.size(); ++c) out += cell("td", c, row[c]);
    out += "</tr>\n";
  }
  return out + "</table>\n";
}

Table Table::part(size_t first, size_t rows) const {
  Table part(headers_, first == 0 ? title_ : "");
  part.widths_ = widths();
  for (size_t r = first; r < std::min(rows_.size(), first + rows); ++r) part.rows_.push_back(rows_[r]);
  return part;
}

std::vector<double> Table::widths() const {
  if (!widths_.empty()) return widths_;
  std::vector<double> widths;
  for (size_t c = 0; c < headers_.size(); ++c) {
    widths.push_back(Canvas::measure(headers_[c], {.bold = true}).width + 2 * kPad);
    for (const auto& row : rows_) widths[c] = std::max(widths[c], Canvas::measure(row[c]).width + 2 * kPad);
  }
  return widths;
}

Size Table::size() const {
  double width = 0;
  for (const double w : widths()) width += w;
  if (!title_.empty()) width = std::max(width, Canvas::measure(title_, {.size = 12, .bold = true}).width);
  return {width, (title_.empty() ? 0 : 26) + kRow * double(rows_.size() + 1) + 4};
}

void Table::draw(Canvas& canvas, const Box& box) const {
  const std::vector<double> widths = this->widths();
  double total = 0;
  for (const double width : widths) total += width;
  const double left = box.x + std::max(0.0, (box.width - total) / 2);
  double y = box.y;
  if (!title_.empty()) {
    canvas.text({box.center().x, y + 2}, title_, {.size = 12, .bold = true, .align = Align::kCenter});
    y += 26;
  }
  const auto rule = [&](double width) { canvas.line({{left, y}, {left + total, y}}, {.color = kInk, .width = width}); };
  const auto draw_row = [&](const std::vector<std::string>& cells, bool bold) {
    double x = left;
    for (size_t c = 0; c < cells.size(); ++c) {
      const bool right = numeric(c);
      canvas.text_middle({right ? x + widths[c] - kPad : x + kPad, y + kRow / 2}, cells[c],
                         {.bold = bold, .align = right ? Align::kRight : Align::kLeft});
      x += widths[c];
    }
    y += kRow;
  };
  rule(1.4);
  draw_row(headers_, true);
  rule(0.8);
  for (const auto& row : rows_) draw_row(row, false);
  rule(1.4);
}

}  // namespace sedum::report
