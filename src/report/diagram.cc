#include "report/diagram.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace sedum::report {
namespace {

constexpr TextStyle kText{.size = 11, .align = Align::kCenter},
    kTitle{.size = 14, .bold = true, .align = Align::kCenter};
constexpr Color kStrongFill{0.80, 0.89, 0.96}, kSoftFill{0.95, 0.95, 0.96};

// Where the way from the middle of `box` towards `target` leaves the box.
Point border(const Box& box, Point target) {
  const Point c = box.center();
  const double dx = target.x - c.x, dy = target.y - c.y;
  const double share =
      std::min(dx != 0 ? box.width / 2 / std::abs(dx) : 1e9, dy != 0 ? box.height / 2 / std::abs(dy) : 1e9);
  return {c.x + dx * share, c.y + dy * share};
}

}  // namespace

Diagram& Diagram::box(const std::string& id, std::string text, double column, double row, Look look, int span) {
  if (nodes_.contains(id)) throw ApiError("Diagram", "there are two boxes '" + id + "'");
  if (!(column >= 0 && row >= 0 && column < 1000 && row < 1000))
    throw ApiError("Diagram", "a box stands at column and row from 0 on");
  Size size = Canvas::measure(text, kText);
  size.width += 18, size.height += 12;
  nodes_[id] = {std::move(text), column, row, look, span, size};
  return *this;
}

Diagram& Diagram::arrow(const std::string& from, const std::string& to, std::string label, bool dashed) {
  node(from), node(to);
  edges_.push_back({from, to, std::move(label), dashed});
  return *this;
}

const Diagram::Node& Diagram::node(const std::string& id) const {
  const auto found = nodes_.find(id);
  if (found == nodes_.end()) throw ApiError("Diagram", "there is no box '" + id + "'");
  return found->second;
}

double Diagram::Lanes::middle(double at) const {
  const auto one = [this](size_t i) { return start[i] + length[i] / 2; };
  const size_t i = std::min(size_t(at), start.size() - 1), j = std::min(i + 1, start.size() - 1);
  return std::lerp(one(i), one(j), at - std::floor(at));
}

Diagram::Lanes Diagram::lanes(bool columns) const {
  Lanes lanes;
  for (const auto& [id, node] : nodes_) {
    const double at = columns ? node.column : node.row, length = columns ? node.size.width : node.size.height;
    const size_t needed = size_t(std::ceil(at)) + size_t(columns ? node.span : 1);
    if (lanes.length.size() < needed) lanes.length.resize(needed, 0);
    if (at == std::floor(at) && (!columns || node.span == 1))
      lanes.length[size_t(at)] = std::max(lanes.length[size_t(at)], length);
  }
  double start = 0;
  for (const double length : lanes.length) {
    lanes.start.push_back(start);
    start += length + (columns ? gap_.width : gap_.height);
  }
  return lanes;
}

double Diagram::top() const { return title_.empty() ? 0 : Canvas::measure(title_, kTitle).height + 16; }

Box Diagram::box_of(const std::string& id) const {
  const Node& n = node(id);
  const Lanes columns = lanes(true), rows = lanes(false);
  const double middle_y = top() + rows.middle(n.row);
  const double first = columns.middle(n.column), last = columns.middle(n.column + n.span - 1);
  double width = n.size.width;
  if (n.span > 1)
    width = std::max(width, last - first + columns.length[size_t(n.column)] / 2 +
                                columns.length[size_t(n.column) + size_t(n.span) - 1] / 2);
  return {(first + last) / 2 - width / 2, middle_y - n.size.height / 2, width, n.size.height};
}

Size Diagram::size() const {
  Size size{std::max(lanes(true).end(), Canvas::measure(title_, kTitle).width), top() + lanes(false).end()};
  for (const auto& [id, node] : nodes_) {
    const Box box = box_of(id);
    size.width = std::max(size.width, box.right()), size.height = std::max(size.height, box.bottom());
  }
  return {size.width + 4, size.height + 4};
}

void Diagram::draw(Canvas& canvas, const Box& box) const {
  if (!title_.empty()) canvas.text({box.center().x, box.y + 2}, title_, kTitle);
  const double left = box.x + std::max(0.0, (box.width - lanes(true).end()) / 2);
  const auto placed = [&](const std::string& id) {
    const Box b = box_of(id);
    return Box{left + b.x, box.y + b.y, b.width, b.height};
  };
  for (const auto& [id, node] : nodes_) {
    const Box at = placed(id);
    const Color fill = node.look == Look::kStrong ? kStrongFill : node.look == Look::kSoft ? kSoftFill : kPaper;
    if (node.look != Look::kText)
      canvas.rectangle(at, fill,
                       {.color = node.look == Look::kSoft ? kSoftInk : kInk,
                        .width = node.look == Look::kStrong ? 1.6 : 1.0,
                        .dash = node.look == Look::kDashed ? std::vector<double>{4, 3} : std::vector<double>{}},
                       5);
    canvas.text_middle(at.center(), node.text, kText);
  }
  for (const Edge& edge : edges_) {
    const Box from = placed(edge.from), to = placed(edge.to);
    const Point a = border(from, to.center()), b = border(to, from.center());
    const double dx = b.x - a.x, dy = b.y - a.y, length = std::hypot(dx, dy);
    if (length < 1) continue;
    canvas.line({a, {b.x - 5 * dx / length, b.y - 5 * dy / length}},
                {.color = kInk, .width = 1.2, .dash = edge.dashed ? std::vector<double>{4, 3} : std::vector<double>{}});
    canvas.arrow_head(b, dx, dy, kInk);
    if (edge.label.empty()) continue;
    const Size size = Canvas::measure(edge.label, {.size = 9.5});
    Point middle{(a.x + b.x) / 2, (a.y + b.y) / 2};
    if (std::abs(dx) > std::abs(dy)) middle.y -= size.height / 2 + 2;  // above a level arrow, on a steep one
    canvas.rectangle({middle.x - size.width / 2 - 1, middle.y - size.height / 2, size.width + 2, size.height},
                     {1, 1, 1, 0.85});
    canvas.text_middle(middle, edge.label, {.size = 9.5, .color = kSoftInk, .align = Align::kCenter});
  }
}

}  // namespace sedum::report
