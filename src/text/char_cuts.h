#pragma once
// Where text can be cut so that no token crosses the cut: between two characters that stand side by side in no token. The parts can be
// tokenized alone and remembered, with the same ids as the whole.
//
//   CharCuts cuts;
//   for (const std::string& token : tokens) cuts.add(token);
//   for (const char* p = begin; p < end; p = q) { q = cuts.next(p, end); part(p, q); }

#include <cstdint>
#include <string_view>
#include <vector>

namespace sedum {

class CharCuts {
 public:
  void add(std::string_view token);  // its neighbours stay together

  // The first cut behind p, or end. Between two ASCII characters there is none.
  const char* next(const char* p, const char* end) const;

 private:
  static uint64_t pair_of(char32_t a, char32_t b) { return uint64_t(a) << 32 | b; }
  bool together(char32_t a, char32_t b) const;
  bool followed(char32_t a) const { return a >= followed_.size() || followed_[a]; }
  void insert(uint64_t pair);

  std::vector<uint64_t> pairs_ = std::vector<uint64_t>(64, ~uint64_t{0});  // open addressing, at most half full
  size_t size_ = 0;
  bool space_inside_ = false;  // some token has ▁ behind another character
  // Whether a character up to U+FFFF has another behind it in any token: most ideographs have none, and need no look-up.
  std::vector<bool> followed_ = std::vector<bool>(0x10000);
};

}  // namespace sedum
