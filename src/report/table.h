#pragma once
// A table of words and numbers: aligned text for terminals, Markdown, and a picture.
//
//   Table table({"学习率", "步数", "损失"});
//   table.row({"0.01", "200", "0.0031"});
//   std::fputs(table.text().c_str(), stdout);
//   save(table, "table.png");

#include "report/picture.h"

namespace sedum::report {

class Table : public Picture {
 public:
  explicit Table(std::vector<std::string> headers, std::string title = "")
      : headers_(std::move(headers)), title_(std::move(title)) {}
  Table& row(std::vector<std::string> cells);  // as many as headers; otherwise ApiError
  size_t rows() const { return rows_.size(); }

  std::string text() const;      // columns aligned for a terminal, where a Chinese character takes two places
  std::string markdown() const;  // GitHub's
  std::string html() const;
  Table part(size_t first,
             size_t rows) const;  // some of the rows under the same headers, columns as wide as in the whole
  Size size() const override;
  void draw(Canvas& canvas, const Box& box) const override;

 private:
  bool numeric(size_t column) const;  // aligned right: every cell begins like a number, or is empty or a dash
  std::vector<double> widths() const;
  std::vector<std::string> headers_;
  std::string title_;
  std::vector<std::vector<std::string>> rows_;
  std::vector<double> widths_;  // of a part
};

// The places that a text takes on a terminal: two for East Asian wide characters, none for marks that combine.
size_t terminal_width(std::string_view text);

}  // namespace sedum::report
