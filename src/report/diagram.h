#pragma once
// Boxes and arrows on a grid, and trees: data flow, block tables, mind maps.
//
//   Diagram flow("编码器一层");
//   flow.box("x", "x\n(B, T, H)", 0, 0).box("att", "自注意力", 1, 0, Diagram::Look::kStrong);
//   flow.arrow("x", "att", "Q K V");
//   save(flow, "flow.png");
//
// Columns are as wide and rows as high as their largest box; a column or row may be a fraction, to stand between two.

#include <map>

#include "report/picture.h"

namespace sedum::report {

class Diagram : public Picture {
 public:
  enum class Look { kPlain, kStrong, kSoft, kDashed, kText };
  explicit Diagram(std::string title = "") : title_(std::move(title)) {}
  // id: for arrows. Text may have several lines. span: columns that the box reaches over.
  Diagram& box(const std::string& id, std::string text, double column, double row, Look look = Look::kPlain,
               int span = 1);
  Diagram& arrow(const std::string& from, const std::string& to, std::string label = "", bool dashed = false);
  Diagram& gap(Size gap) { return gap_ = gap, *this; }  // between columns and rows: 44 × 34 otherwise

  Size size() const override;
  void draw(Canvas& canvas, const Box& box) const override;
  Box box_of(const std::string& id) const;  // relative to the picture's own corner

 private:
  struct Node {
    std::string text;
    double column, row;
    Look look;
    int span;
    Size size;
  };
  struct Edge {
    std::string from, to, label;
    bool dashed;
  };
  struct Lanes {
    std::vector<double> start, length;
    double middle(double at) const;
    double end() const { return start.empty() ? 0 : start.back() + length.back(); }
  };
  Lanes lanes(bool columns) const;
  const Node& node(const std::string& id) const;
  double top() const;
  std::string title_;
  std::map<std::string, Node> nodes_;
  std::vector<Edge> edges_;
  Size gap_{44, 34};
};

// A tree whose root stands in the middle and whose branches go to both sides.
struct Idea {
  std::string text;
  std::vector<Idea> parts = {};
};

class MindMap : public Picture {
 public:
  explicit MindMap(Idea root) : root_(std::move(root)) {}
  Size size() const override;
  void draw(Canvas& canvas, const Box& box) const override;

 private:
  Idea root_;
};

}  // namespace sedum::report
