// Numbers and letters as JSON writes them.

#include <algorithm>
#include <string>

#include <fmt/format.h>

#include "infer/grammar/json_schema.h"

namespace sedum::grammar {
namespace {

Piece digits(Network& net, int64_t count) { return net.repeat(net.bytes('0', '9'), count, count); }
Piece digit(Network& net, char low, char high) {
  return low > high ? net.any_of({}) : net.bytes(uint8_t(low), uint8_t(high));
}

// Texts of as many digits from s on: at least s (up), or at most.
Piece beyond(Network& net, std::string_view s, bool up) {
  if (s.empty()) return net.empty();
  const Piece same = net.sequence({net.text(s.substr(0, 1)), beyond(net, s.substr(1), up)});
  const Piece other = up ? digit(net, char(s[0] + 1), '9') : digit(net, '0', char(s[0] - 1));
  return net.any_of({same, net.sequence({other, digits(net, int64_t(s.size()) - 1)})});
}

// Between two texts of the same length.
Piece between(Network& net, std::string_view low, std::string_view high) {
  if (low.empty()) return net.empty();
  const std::string_view low_rest = low.substr(1), high_rest = high.substr(1);
  if (low[0] == high[0]) return net.sequence({net.text(low.substr(0, 1)), between(net, low_rest, high_rest)});
  return net.any_of(
      {net.sequence({net.text(low.substr(0, 1)), beyond(net, low_rest, true)}),
       net.sequence({digit(net, char(low[0] + 1), char(high[0] - 1)), digits(net, int64_t(low_rest.size()))}),
       net.sequence({net.text(high.substr(0, 1)), beyond(net, high_rest, false)})});
}

// 0 ≤ low ≤ high, without leading zeros.
Piece integers(Network& net, int64_t low, int64_t high) {
  std::vector<Piece> pieces;
  for (int64_t first = 0, last = 9; first <= high; first = last + 1, last = last * 10 + 9)
    if (last >= low)
      pieces.push_back(between(net, std::to_string(std::max(low, first)), std::to_string(std::min(high, last))));
  return net.any_of(pieces);
}

Piece unsigned_range(Network& net, int64_t low, int64_t high, int decimals) {
  if (decimals == 0) return integers(net, low, high);
  int64_t one = 1;
  for (int i = 0; i < decimals; ++i) one *= 10;
  const auto fraction = [&](int64_t from, int64_t to) {
    return net.sequence(
        {net.text("."), between(net, fmt::format("{:0{}}", from, decimals), fmt::format("{:0{}}", to, decimals))});
  };
  const int64_t first = low / one, last = high / one;
  if (first == last) return net.sequence({integers(net, first, first), fraction(low % one, high % one)});
  std::vector<Piece> pieces{net.sequence({integers(net, first, first), fraction(low % one, one - 1)}),
                            net.sequence({integers(net, last, last), fraction(0, high % one)})};
  if (first + 1 < last)
    pieces.push_back(net.sequence({integers(net, first + 1, last - 1), net.text("."), digits(net, decimals)}));
  return net.any_of(pieces);
}

}  // namespace

Piece decimal_range(Network& net, int64_t low, int64_t high, int decimals) {
  std::vector<Piece> pieces;
  if (low <= std::min<int64_t>(high, -1))
    pieces.push_back(net.sequence({net.text("-"), unsigned_range(net, -std::min<int64_t>(high, -1), -low, decimals)}));
  if (std::max<int64_t>(low, 0) <= high)
    pieces.push_back(unsigned_range(net, std::max<int64_t>(low, 0), high, decimals));
  return net.any_of(pieces);
}

Piece json_code_points(Network& net, uint32_t low, uint32_t high) {
  std::vector<Piece> pieces;
  for (const auto& [first, last] : {std::pair<uint32_t, uint32_t>{0x20, 0x21}, {0x23, 0x5B}, {0x5D, 0x10FFFF}})
    if (std::max(low, first) <= std::min(high, last))
      pieces.push_back(net.code_points(std::max(low, first), std::min(high, last)));
  for (const char c : {'"', '\\'})
    if (low <= uint32_t(c) && uint32_t(c) <= high) pieces.push_back(net.text(std::string("\\") + c));
  for (uint32_t c = low; c <= std::min(high, 0x1Fu); ++c) {
    constexpr std::string_view kShort = "\b\t\n\f\r", kLetters = "btnfr";
    const size_t at = kShort.find(char(c));
    pieces.push_back(at != kShort.npos ? net.text(std::string("\\") + kLetters[at])
                                       : net.text(fmt::format("\\u{:04x}", c)));
  }
  return net.any_of(pieces);
}

}  // namespace sedum::grammar
