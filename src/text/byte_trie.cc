#include "text/byte_trie.h"

namespace sedum {

namespace {

// Places for children, first fit over those that nobody has.
class Places {
 public:
  size_t size() const { return next_.size(); }

  // The base at which `bytes` (rising, not empty) have their places, which are theirs from now on. A node with one child takes the
  // first free place; one with more gives up after kTries: a few holes for linear time.
  size_t take(const std::vector<unsigned char>& bytes) {
    size_t at = free_from(bytes[0] + 1u);
    for (int tries = 0; !fits(at - bytes[0], bytes); tries++) {
      at = tries < kTries ? free_from(at + 1) : std::max<size_t>(size(), bytes[0] + 1u);
    }
    const size_t base = at - bytes[0];
    while (size() <= base + bytes.back()) next_.push_back(uint32_t(size()));
    for (const unsigned char b : bytes) next_[base + b]++;
    return base;
  }

 private:
  static constexpr int kTries = 64;

  // The first free place from `at` on. The chains of taken places are halved on the way (Tarjan 1975), so they stay short.
  size_t free_from(size_t at) {
    while (at < size() && next_[at] != at) {
      const uint32_t next = next_[at];
      if (next < size()) next_[at] = next_[next];
      at = next;
    }
    return at;
  }

  bool fits(size_t base, const std::vector<unsigned char>& bytes) const {
    return std::all_of(bytes.begin(), bytes.end(),
                       [&](unsigned char b) { return base + b >= size() || next_[base + b] == base + b; });
  }

  std::vector<uint32_t> next_ = {1};  // of a free place itself, of a taken one some later place; place 0 is the root's
};

}  // namespace

ByteTrie::ByteTrie(std::vector<std::pair<std::string_view, int32_t>> entries) {
  std::erase_if(entries, [](const auto& entry) { return entry.first.empty(); });
  if (entries.empty()) return;
  std::stable_sort(entries.begin(), entries.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  entries.erase(
      std::unique(entries.begin(), entries.end(), [](const auto& a, const auto& b) { return a.first == b.first; }),
      entries.end());
  struct Range {
    size_t node, begin, end, depth;
  };
  units_.resize(1);
  Places places;
  std::vector<Range> open = {{0, 0, entries.size(), 0}};
  std::vector<unsigned char> bytes;
  std::vector<size_t> begins;
  while (!open.empty()) {
    Range range = open.back();
    open.pop_back();
    if (entries[range.begin].first.size() == range.depth) units_[range.node].value = entries[range.begin++].second;
    if (range.begin == range.end) continue;
    bytes.clear(), begins.clear();
    for (size_t i = range.begin; i < range.end; i++) {
      const auto byte = static_cast<unsigned char>(entries[i].first[range.depth]);
      if (bytes.empty() || bytes.back() != byte) bytes.push_back(byte), begins.push_back(i);
    }
    begins.push_back(range.end);
    const size_t base = places.take(bytes);
    units_.resize(places.size());
    units_[range.node].base = int32_t(base);
    for (size_t i = 0; i < bytes.size(); i++) {
      units_[base + bytes[i]].parent = int32_t(range.node);
      open.push_back({base + bytes[i], begins[i], begins[i + 1], range.depth + 1});
    }
  }
}

}  // namespace sedum
