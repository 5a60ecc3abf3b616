#pragma once
// From numbers to places: ranges of data, and axes with ticks where a reader expects them.
//
//   Axis axis(range_of(losses), Axis::Kind::kLog);
//   axis.place(0.1);          // 0 at the low end, 1 at the high end, NaN for what a log axis cannot show
//   axis.ticks(5);            // {{0.01, "0.01"}, {0.1, "0.1"}, {1, "1"}}

#include <span>
#include <string>
#include <vector>

namespace sedum::report {

// low > high: nothing was seen.
struct Range {
  double low = 1, high = 0;
  bool empty() const { return low > high; }
  void include(double value);  // values that are not finite are passed over
  void include(const Range& other);
};
Range range_of(std::span<const double> values, bool positive_only = false);

struct Tick {
  double value;
  std::string label;
};

class Axis {
 public:
  enum class Kind { kLinear, kLog };
  // An empty range becomes [0, 1] (log: [1, 10]); a single value gets room on both sides. A log axis drops what is not positive.
  explicit Axis(Range range, Kind kind = Kind::kLinear);
  double place(double value) const;
  const Range& range() const { return range_; }
  void widen(double share);        // room on both sides, as a share of the axis
  void widen_to_ticks(int about);  // a linear axis that ends a little before a round number is lengthened to it
  std::vector<Tick> ticks(int about) const;

 private:
  std::vector<Tick> log_ticks(int about) const;
  Range range_;
  Kind kind_;
};

// 1, 2 or 5 times a power of ten: the step that cuts `length` into about that many pieces.
double nice_step(double length, int about);
// As few digits as tell apart values that are `step` from each other: "0.25", "1500", "2×10⁶".
std::string tick_label(double value, double step);
std::string with_minus(std::string text);                // "-1" as "−1"
std::string power_of_ten(int exponent);                  // "10⁻³"
std::string short_number(double value, int digits = 3);  // for cells and notes: "0.333", "12500", "1.2×10⁻⁹", "NaN"

}  // namespace sedum::report
