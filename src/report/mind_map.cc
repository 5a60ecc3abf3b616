// Mind maps: every idea is as high as its parts together, and stands half-way down beside them.

#include <algorithm>

#include "report/diagram.h"

namespace sedum::report {
namespace {

constexpr double kApart = 7, kReach = 34;  // between neighbours; between an idea and its parts

TextStyle style(int depth) {
  return {.size = depth == 0 ? 14.0 : depth == 1 ? 12.0 : 10.5, .bold = depth < 2, .align = Align::kCenter};
}

Size box_size(const Idea& idea, int depth) {
  const Size text = Canvas::measure(idea.text, style(depth));
  return {text.width + (depth < 2 ? 20 : 10), text.height + (depth < 2 ? 12 : 4)};
}

Size tree_size(const Idea& idea, int depth) {
  const Size own = box_size(idea, depth);
  Size parts;
  for (const Idea& part : idea.parts) {
    const Size size = tree_size(part, depth + 1);
    parts.width = std::max(parts.width, size.width);
    parts.height += size.height + (&part == &idea.parts.front() ? 0 : kApart);
  }
  return {own.width + (idea.parts.empty() ? 0 : kReach + parts.width), std::max(own.height, parts.height)};
}

// The root's branches: the first half goes right, the rest left, split where the heights balance best.
size_t right_branches(const Idea& root) {
  double total = 0, sum = 0;
  for (const Idea& part : root.parts) total += tree_size(part, 1).height;
  for (size_t i = 0; i < root.parts.size(); ++i) {
    const double height = tree_size(root.parts[i], 1).height;
    if (sum + height / 2 > total / 2) return i;
    sum += height;
  }
  return root.parts.size();
}

Size side_size(const Idea& root, size_t first, size_t last) {
  Size side;
  for (size_t i = first; i < last; ++i) {
    const Size size = tree_size(root.parts[i], 1);
    side.width = std::max(side.width, size.width + kReach), side.height += size.height + (i == first ? 0 : 2 * kApart);
  }
  return side;
}

// Draws `idea` with its middle line at y and its inner edge at x, its parts further out. direction: 1 right, −1 left.
void draw_tree(Canvas& canvas, const Idea& idea, int depth, double x, double y, int direction) {
  const Size own = box_size(idea, depth);
  const Box box{direction > 0 ? x : x - own.width, y - own.height / 2, own.width, own.height};
  const double outer = direction > 0 ? box.right() : box.x;
  const Stroke thin{.color = kSoftInk, .width = depth == 1 ? 1.3 : 0.9};
  double total = 0;
  for (const Idea& part : idea.parts) total += tree_size(part, depth + 1).height + kApart;
  double top = y - (total - kApart) / 2;
  for (const Idea& part : idea.parts) {
    const double height = tree_size(part, depth + 1).height, middle = top + height / 2;
    const double bend = outer + direction * kReach / 2, inner = outer + direction * kReach;
    canvas.curve({outer, y}, {bend, y}, {bend, middle}, {inner, middle}, thin);
    draw_tree(canvas, part, depth + 1, inner, middle, direction);
    top += height + kApart;
  }
  if (depth == 1) canvas.rectangle(box, {0.80, 0.89, 0.96}, {.color = kInk, .width = 1.2}, 5);
  if (depth > 1) canvas.rectangle(box, {0.96, 0.96, 0.97}, {.color = kNone}, 3);
  canvas.text_middle(box.center(), idea.text, style(depth));
}

}  // namespace

Size MindMap::size() const {
  const size_t split = right_branches(root_);
  const Size right = side_size(root_, 0, split), left = side_size(root_, split, root_.parts.size()),
             own = box_size(root_, 0);
  return {left.width + own.width + right.width, std::max({left.height, own.height, right.height})};
}

void MindMap::draw(Canvas& canvas, const Box& box) const {
  const size_t split = right_branches(root_);
  const Size own = box_size(root_, 0), left = side_size(root_, split, root_.parts.size());
  const double y = box.center().y;
  const Box middle{box.x + left.width, y - own.height / 2, own.width, own.height};
  for (const int direction : {1, -1}) {
    const size_t first = direction > 0 ? 0 : split, last = direction > 0 ? split : root_.parts.size();
    double top = y - side_size(root_, first, last).height / 2;
    for (size_t i = first; i < last; ++i) {
      const double height = tree_size(root_.parts[i], 1).height, at = top + height / 2;
      const double from = direction > 0 ? middle.right() : middle.x, inner = from + direction * kReach;
      canvas.curve({from, y}, {from + direction * kReach / 2, y}, {from + direction * kReach / 2, at}, {inner, at},
                   {.color = kInk, .width = 1.8});
      draw_tree(canvas, root_.parts[i], 1, inner, at, direction);
      top += height + 2 * kApart;
    }
  }
  canvas.rectangle(middle, {0.13, 0.30, 0.48}, {.color = kInk}, 8);
  TextStyle white = style(0);
  white.color = kPaper;
  canvas.text_middle(middle.center(), root_.text, white);
}

}  // namespace sedum::report
