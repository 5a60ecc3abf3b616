#include "text/char_cuts.h"

#include "text/unicode.h"

namespace sedum {

namespace {
constexpr char32_t kSpaceMark = 0x2581;  // ▁
constexpr uint64_t kEmpty = ~uint64_t{0};

size_t slot_of(const std::vector<uint64_t>& pairs, uint64_t pair) {
  const size_t mask = pairs.size() - 1;
  size_t slot = (pair * 0x9E3779B97F4A7C15u) >> 20 & mask;
  while (pairs[slot] != pair && pairs[slot] != kEmpty) slot = (slot + 1) & mask;
  return slot;
}
}  // namespace

void CharCuts::insert(uint64_t pair) {
  uint64_t& slot = pairs_[slot_of(pairs_, pair)];
  if (slot == pair) return;
  slot = pair;
  if (2 * ++size_ <= pairs_.size()) return;
  std::vector<uint64_t> wider(2 * pairs_.size(), kEmpty);
  for (const uint64_t p : pairs_)
    if (p != kEmpty) wider[slot_of(wider, p)] = p;
  pairs_.swap(wider);
}

void CharCuts::add(std::string_view token) {
  const char *p = token.data(), *end = p + token.size();
  if (p == end) return;
  unicode::Decoded before = unicode::decode(p, end);
  for (p += before.length; p < end;) {
    const unicode::Decoded c = unicode::decode(p, end);
    insert(pair_of(before.code, c.code));
    if (before.code < followed_.size()) followed_[before.code] = true;
    if (c.code == kSpaceMark && before.code != kSpaceMark) space_inside_ = true;
    before = c;
    p += c.length;
  }
}

bool CharCuts::together(char32_t a, char32_t b) const {
  if (b == kSpaceMark && a != kSpaceMark && !space_inside_) return false;
  return pairs_[slot_of(pairs_, pair_of(a, b))] != kEmpty;
}

const char* CharCuts::next(const char* p, const char* end) const {
  while (true) {
    // Runs of ASCII fly by.
    const char* q = p;
    while (q < end && static_cast<unsigned char>(*q) < 0x80) q++;
    if (q == end) return end;
    if (q > p) {
      const unicode::Decoded c = unicode::decode_multibyte(q, end);
      if (!together(static_cast<unsigned char>(q[-1]), c.code)) return q;
      p = q;
    }
    const unicode::Decoded c = unicode::decode_multibyte(p, end);
    p += c.length;
    if (p == end) return end;
    if (!followed(c.code)) return p;
    const unicode::Decoded after = unicode::decode(p, end);
    if (!together(c.code, after.code)) return p;
  }
}

}  // namespace sedum
