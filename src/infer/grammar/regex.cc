#include "infer/grammar/regex.h"

#include <algorithm>
#include <string>

#include "base/error.h"

namespace sedum::grammar {
namespace {

using Ranges = std::vector<std::pair<uint32_t, uint32_t>>;
constexpr uint32_t kLast = 0x10FFFF;

Ranges sorted(Ranges ranges) {
  std::sort(ranges.begin(), ranges.end());
  Ranges joined;
  for (const auto& [low, high] : ranges)
    if (!joined.empty() && low <= joined.back().second + 1)
      joined.back().second = std::max(joined.back().second, high);
    else
      joined.emplace_back(low, high);
  return joined;
}

Ranges opposite(const Ranges& ranges) {
  Ranges result;
  uint32_t next = 0;
  for (const auto& [low, high] : sorted(ranges)) {
    if (low > next) result.emplace_back(next, low - 1);
    next = high + 1;
  }
  if (next <= kLast) result.emplace_back(next, kLast);
  return result;
}

class Parser {
 public:
  Parser(Network& net, std::string_view pattern, const RegexOptions& options)
      : net_(net), pattern_(pattern), options_(options) {}

  Piece parse() {
    const bool tail_open = options_.search;
    Piece piece = alternatives(tail_open);
    if (!at_end()) fail("a ) too many");
    return piece;
  }

 private:
  [[noreturn]] void fail(const std::string& what) const {
    throw Error("the regular expression " + std::string(pattern_.substr(0, 80)) + " at character " +
                    std::to_string(at_) + ": " + what,
                "write it without");
  }
  bool at_end() const { return at_ >= pattern_.size(); }
  bool peek(char c) const { return !at_end() && pattern_[at_] == c; }
  bool take(char c) {
    if (!peek(c)) return false;
    ++at_;
    return true;
  }

  Piece any() { return ranges({{0, kLast}}); }

  // top: ^ and $ are allowed, and what they do not exclude is added (with `search`).
  Piece alternatives(bool top) {
    if (++depth_ > 200) fail("groups nest too deep");
    std::vector<Piece> branches;
    do branches.push_back(branch(top));
    while (take('|'));
    --depth_;
    return net_.any_of(branches);
  }

  Piece branch(bool top) {
    std::vector<Piece> pieces;
    const bool outermost = depth_ == 1;
    bool from_start = false, to_end = false;
    if (outermost && take('^')) from_start = true;
    while (!at_end() && !peek('|') && !peek(')')) {
      if (outermost && peek('$') && (at_ + 1 == pattern_.size() || pattern_[at_ + 1] == '|')) {
        ++at_, to_end = true;
        break;
      }
      pieces.push_back(repeated());
    }
    if (top && !from_start) pieces.insert(pieces.begin(), net_.star(any()));
    if (top && !to_end) pieces.push_back(net_.star(any()));
    return net_.sequence(pieces);
  }

  Piece repeated() {
    Piece piece = atom();
    for (;;) {
      if (take('*')) {
        piece = net_.star(piece);
      } else if (take('+')) {
        piece = net_.plus(piece);
      } else if (take('?')) {
        piece = net_.optional(piece);
      } else if (peek('{') && counted()) {
        piece = net_.repeat(piece, least_, most_);
      } else {
        return piece;
      }
      take('?');  // lazy: the same texts
      if (peek('+')) fail("possessive repetition is not known");
    }
  }

  // {m}, {m,} or {m,n}; anything else is a literal brace.
  bool counted() {
    size_t p = at_ + 1;
    const auto number = [&]() -> int64_t {
      if (p >= pattern_.size() || pattern_[p] < '0' || pattern_[p] > '9') return -1;
      int64_t n = 0;
      for (; p < pattern_.size() && pattern_[p] >= '0' && pattern_[p] <= '9'; ++p)
        n = std::min<int64_t>(n * 10 + (pattern_[p] - '0'), 1 << 30);
      return n;
    };
    const int64_t low = number();
    if (low < 0) return false;
    int64_t high = low;
    if (p < pattern_.size() && pattern_[p] == ',') ++p, high = number();
    if (p >= pattern_.size() || pattern_[p] != '}') return false;
    if (high >= 0 && high < low) fail("{m,n} with n below m");
    if (std::max(low, high) > 100000) fail("more than 100,000 repetitions");
    at_ = p + 1, least_ = low, most_ = high;
    return true;
  }

  Piece atom() {
    if (take('(')) {
      if (take('?')) {
        if (take('P')) {
          if (!take('<')) fail("only named groups may begin with (?P");
          skip_name();
        } else if (take('<')) {
          if (peek('=') || peek('!')) fail("look-behind");
          skip_name();
        } else if (!take(':')) {
          fail("look-ahead and flags");
        }
      }
      const Piece piece = alternatives(false);
      if (!take(')')) fail("a ( is not closed");
      return piece;
    }
    if (take('[')) return ranges(char_class());
    if (take('.')) return ranges(opposite({{'\n', '\n'}, {'\r', '\r'}, {0x2028, 0x2029}}));
    if (take('\\')) return ranges(escape(false));
    if (peek('^') || peek('$')) fail("^ and $ within");
    if (peek('*') || peek('+') || peek('?')) fail("nothing to repeat");
    const uint32_t c = code_point();
    return ranges({{c, c}});
  }

  void skip_name() {
    while (!at_end() && !peek('>')) ++at_;
    if (!take('>')) fail("the group's name is not closed");
  }

  uint32_t code_point() {
    if (at_end()) fail("it ends too early");
    const auto byte = [&](size_t i) { return uint32_t(static_cast<unsigned char>(pattern_[i])); };
    const uint32_t first = byte(at_++);
    if (first < 0x80) return first;
    const int more = first >= 0xF0 ? 3 : first >= 0xE0 ? 2 : 1;
    uint32_t c = first & (0x3Fu >> more);
    for (int i = 0; i < more; ++i) {
      if (at_end() || (byte(at_) & 0xC0) != 0x80) fail("no UTF-8");
      c = c << 6 | (byte(at_++) & 0x3F);
    }
    return c;
  }

  uint32_t hexadecimal(int digits) {
    uint32_t value = 0;
    for (int i = 0; i < digits; ++i) {
      const char c = at_end() ? 'x' : pattern_[at_++];
      const int d = c >= '0' && c <= '9'   ? c - '0'
                    : c >= 'a' && c <= 'f' ? c - 'a' + 10
                    : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                           : -1;
      if (d < 0) fail("hexadecimal digits are missing");
      value = value * 16 + uint32_t(d);
    }
    return value;
  }

  // After the backslash. \d, \w and \s are ASCII's, as in ECMA-262.
  Ranges escape(bool in_class) {
    const Ranges digit{{'0', '9'}}, word{{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}},
        space{{'\t', '\r'}, {' ', ' '}};
    const uint32_t c = code_point();
    switch (c) {
      case 'd':
        return digit;
      case 'D':
        return opposite(digit);
      case 'w':
        return word;
      case 'W':
        return opposite(word);
      case 's':
        return space;
      case 'S':
        return opposite(space);
      case 'n':
        return {{'\n', '\n'}};
      case 'r':
        return {{'\r', '\r'}};
      case 't':
        return {{'\t', '\t'}};
      case 'f':
        return {{'\f', '\f'}};
      case 'v':
        return {{'\v', '\v'}};
      case '0':
        return {{0, 0}};
      case 'x': {
        const uint32_t v = hexadecimal(2);
        return {{v, v}};
      }
      case 'u': {
        const uint32_t v = hexadecimal(4);
        return {{v, v}};
      }
      default:
        break;
    }
    if (c == 'b' && in_class) return {{'\b', '\b'}};
    if (c < 0x80 && ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '1' && c <= '9')))
      fail(std::string("\\") + char(c) + " is not known here");
    return {{c, c}};
  }

  Ranges char_class() {
    const bool negated = take('^');
    Ranges result;
    for (bool first = true; !peek(']') || first; first = false) {
      if (at_end()) fail("a [ is not closed");
      if (first && peek(']')) break;  // ECMA-262: [] matches nothing
      const auto item = [&]() -> Ranges {
        if (take('\\')) return escape(true);
        const uint32_t c = code_point();
        return {{c, c}};
      };
      Ranges low = item();
      if (peek('-') && at_ + 1 < pattern_.size() && pattern_[at_ + 1] != ']') {
        ++at_;
        const Ranges high = item();
        if (low.size() != 1 || high.size() != 1 || low[0].first != low[0].second || high[0].first != high[0].second)
          fail("a range between classes");
        if (high[0].first < low[0].first) fail("a range that goes backwards");
        low = {{low[0].first, high[0].first}};
      }
      result.insert(result.end(), low.begin(), low.end());
    }
    ++at_;
    return negated ? opposite(result) : result;
  }

  Piece ranges(const Ranges& set) {
    std::vector<Piece> pieces;
    for (const auto& [low, high] : sorted(set))
      pieces.push_back(options_.code_points ? options_.code_points(net_, low, high) : net_.code_points(low, high));
    return net_.any_of(pieces);
  }

  Network& net_;
  const std::string_view pattern_;
  const RegexOptions& options_;
  size_t at_ = 0;
  int depth_ = 0;
  int64_t least_ = 0, most_ = 0;
};

}  // namespace

Piece compile_regex(Network& net, std::string_view pattern, const RegexOptions& options) {
  if (pattern.size() > 100000) throw Error("the regular expression is longer than 100,000 bytes", "shorten it");
  return Parser(net, pattern, options).parse();
}

}  // namespace sedum::grammar
