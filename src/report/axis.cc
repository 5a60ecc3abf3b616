#include "report/axis.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

namespace sedum::report {

void Range::include(double value) {
  if (std::isfinite(value)) include(Range{value, value});
}

void Range::include(const Range& other) {
  if (other.empty()) return;
  if (empty()) {
    *this = other;
    return;
  }
  low = std::min(low, other.low), high = std::max(high, other.high);
}

Range range_of(std::span<const double> values, bool positive_only) {
  Range range;
  for (const double value : values)
    if (!positive_only || value > 0) range.include(value);
  return range;
}

double nice_step(double length, int about) {
  const double raw = length / std::max(about, 1);
  const double power = std::pow(10, std::floor(std::log10(raw)));
  for (const double times : {1.0, 2.0, 5.0})
    if (raw <= times * power * (1 + 1e-9)) return times * power;
  return 10 * power;
}

std::string with_minus(std::string text) { return text.starts_with('-') ? "−" + text.substr(1) : text; }

std::string power_of_ten(int exponent) {
  static constexpr const char* kDigits[] = {"⁰", "¹", "²", "³", "⁴", "⁵", "⁶", "⁷", "⁸", "⁹"};
  std::string text = "10";
  if (exponent < 0) text += "⁻";
  for (const char digit : std::to_string(std::abs(exponent))) text += kDigits[digit - '0'];
  return text;
}

namespace {

// "2×10⁶", the mantissa with `digits` digits at most.
std::string scientific(double value, int digits) {
  int exponent = int(std::floor(std::log10(std::abs(value))));
  std::string mantissa = fmt::format("{:.{}g}", value / std::pow(10, exponent), digits);
  if (mantissa == "10" || mantissa == "-10") mantissa.pop_back(), ++exponent;
  if (mantissa == "1") return power_of_ten(exponent);
  if (mantissa == "-1") return "−" + power_of_ten(exponent);
  return with_minus(mantissa) + "×" + power_of_ten(exponent);
}

}  // namespace

std::string tick_label(double value, double step) {
  if (std::abs(value) < 1e-9 * step) return "0";
  if (std::abs(value) >= 1e6 || std::abs(step) < 1e-4)
    return scientific(value,
                      std::max(1, int(std::floor(std::log10(std::abs(value))) - std::floor(std::log10(step))) + 1));
  const int decimals = std::max(0, -int(std::floor(std::log10(step) + 1e-9)));
  return with_minus(fmt::format("{:.{}f}", value, decimals));
}

std::string short_number(double value, int digits) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value > 0 ? "∞" : "−∞";
  if (value == 0) return "0";
  if (std::abs(value) >= 1e6 || std::abs(value) < 1e-4) return scientific(value, digits);
  const int whole = int(std::floor(std::log10(std::abs(value)))) + 1;
  std::string text = fmt::format("{:.{}f}", value, std::max(0, digits - whole));
  if (text.find('.') != std::string::npos) {
    text.erase(text.find_last_not_of('0') + 1);
    if (text.back() == '.') text.pop_back();
  }
  return with_minus(text);
}

Axis::Axis(Range range, Kind kind) : range_(range), kind_(kind) {
  // Beyond this the arithmetic of ticks would leave the numbers.
  constexpr double kFar = 1e290;
  range_.low = std::clamp(range_.low, -kFar, kFar), range_.high = std::clamp(range_.high, -kFar, kFar);
  if (kind == Kind::kLog) {
    if (range_.empty() || range_.high <= 0) range_ = {1, 10};
    range_.high = std::max(range_.high, 1 / kFar);
    if (range_.low <= 0) range_.low = range_.high / 1000;
    if (range_.high / range_.low < 1 + 1e-9) range_.low /= 3, range_.high *= 3;
  } else {
    if (range_.empty()) range_ = {0, 1};
    const double least = 1e-12 * std::max(std::abs(range_.low), std::abs(range_.high));
    if (range_.high - range_.low <= std::max(least, 1 / kFar)) {
      const double room = std::abs(range_.low) < 1 / kFar ? 1 : std::abs(range_.low) / 2;
      range_ = {range_.low - room, range_.high + room};
    }
  }
}

double Axis::place(double value) const {
  if (kind_ == Kind::kLinear) return (value - range_.low) / (range_.high - range_.low);
  if (!(value > 0)) return std::nan("");
  return std::log(value / range_.low) / std::log(range_.high / range_.low);
}

void Axis::widen(double share) {
  if (kind_ == Kind::kLinear) {
    const double room = share * (range_.high - range_.low);
    range_.low -= room, range_.high += room;
  } else {
    const double factor = std::pow(range_.high / range_.low, share);
    range_.low /= factor, range_.high *= factor;
  }
}

void Axis::widen_to_ticks(int about) {
  if (kind_ == Kind::kLog) return;
  const double step = nice_step(range_.high - range_.low, about);
  const double low = std::floor(range_.low / step + 1e-9) * step, high = std::ceil(range_.high / step - 1e-9) * step;
  if (range_.low - low < 0.4 * step) range_.low = low;
  if (high - range_.high < 0.4 * step) range_.high = high;
}

std::vector<Tick> Axis::ticks(int about) const {
  if (kind_ == Kind::kLog) return log_ticks(about);
  const double step = nice_step(range_.high - range_.low, about);
  std::vector<Tick> ticks;
  const double first = std::ceil(range_.low / step - 1e-9);
  for (double k = first; k * step <= range_.high + 1e-9 * step; ++k)
    ticks.push_back({k * step, tick_label(k * step, step)});
  return ticks;
}

// Powers of ten; thinned where there are many, with 2 and 5 between where there are few.
std::vector<Tick> Axis::log_ticks(int about) const {
  const double low = std::log10(range_.low), high = std::log10(range_.high);
  std::vector<Tick> ticks;
  if (high - low < 1) {  // less than a decade: as a linear axis would have them
    for (const Tick& tick : Axis(range_).ticks(about))
      if (tick.value > 0) ticks.push_back(tick);
    return ticks;
  }
  const int first = int(std::ceil(low - 1e-9)), last = int(std::floor(high + 1e-9));
  const int every = std::max(1, int(std::ceil((high - low) / (about + 2))));
  const bool plain = first >= -3 && last <= 4;
  for (int k = first - 1; k <= last; ++k) {
    for (const double times : {1.0, 2.0, 5.0}) {
      const double value = times * std::pow(10, k);
      if (value < range_.low * (1 - 1e-9) || value > range_.high * (1 + 1e-9)) continue;
      if (times != 1 ? high - low > 2 : k % every != 0) continue;
      ticks.push_back({value, plain          ? short_number(value)
                              : times == 1.0 ? power_of_ten(k)
                                             : short_number(times) + "×" + power_of_ten(k)});
    }
  }
  return ticks;
}

}  // namespace sedum::report
