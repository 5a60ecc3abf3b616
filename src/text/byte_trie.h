#pragma once
// A double-array trie from byte strings to numbers (Aoe 1989, "An efficient digital search algorithm by using a double-array
// structure"): one load and one comparison for each byte of a look-up.
//
//   ByteTrie trie(pairs);                                   // (text, value ≥ 0), any order
//   trie.prefixes(p, end, [&](size_t length, int32_t value) { … });   // shortest first

#include <algorithm>
#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

namespace sedum {

class ByteTrie {
 public:
  ByteTrie() = default;
  explicit ByteTrie(std::vector<std::pair<std::string_view, int32_t>> entries);  // of equal texts the first stands

  template <class Found>
  void prefixes(const char* p, const char* end, Found found) const {
    if (units_.empty()) return;
    size_t node = 0;
    for (const char* begin = p; p < end; p++) {
      const size_t next = size_t(units_[node].base) + static_cast<unsigned char>(*p);
      if (next >= units_.size() || units_[next].parent != int32_t(node)) return;
      node = next;
      if (units_[node].value >= 0) found(size_t(p + 1 - begin), units_[node].value);
    }
  }

  size_t size() const { return units_.size(); }  // places, in use or not

  // Whether some entry begins with the whole of [p, end), which is not empty.
  bool begins(const char* p, const char* end) const {
    if (units_.empty()) return false;
    size_t node = 0;
    for (; p < end; p++) {
      const size_t next = size_t(units_[node].base) + static_cast<unsigned char>(*p);
      if (next >= units_.size() || units_[next].parent != int32_t(node)) return false;
      node = next;
    }
    return true;
  }

  // The longest entry that `p` begins with: its length (0: none) and value.
  std::pair<size_t, int32_t> longest(const char* p, const char* end) const {
    std::pair<size_t, int32_t> best{0, -1};
    prefixes(p, end, [&best](size_t length, int32_t value) { best = {length, value}; });
    return best;
  }

 private:
  struct Unit {
    int32_t base = 0, parent = -1, value = -1;  // children stand at base + byte
  };
  std::vector<Unit> units_;
};

}  // namespace sedum
