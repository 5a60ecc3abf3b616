#include "text/byte_trie.h"

namespace sedum {

namespace {

// Places for children, first fit: `free` are the places that nobody has, in order, searched from the first that is not nearly full.
struct Places {
  std::vector<bool> used = {true};
  size_t from = 1;

  size_t find(const std::vector<unsigned char>& bytes) {
    while (from < used.size() && used[from]) from++;
    for (size_t at = std::max<size_t>(from, bytes[0] + 1u), tries = 0;; at++, tries++) {
      // What does not fit for long is left behind: a few holes for linear time.
      if (tries > 4096) at = std::max<size_t>(used.size(), bytes[0] + 1u), tries = 0;
      const size_t base = at - bytes[0];
      const bool fits = std::all_of(bytes.begin(), bytes.end(),
                                    [&](unsigned char b) { return base + b >= used.size() || !used[base + b]; });
      if (!fits) continue;
      if (base + bytes.back() >= used.size()) used.resize(base + bytes.back() + 1);
      for (const unsigned char b : bytes) used[base + b] = true;
      return base;
    }
  }
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
    const size_t base = places.find(bytes);
    if (places.used.size() > units_.size()) units_.resize(places.used.size());
    units_[range.node].base = int32_t(base);
    for (size_t i = 0; i < bytes.size(); i++) {
      units_[base + bytes[i]].parent = int32_t(range.node);
      open.push_back({base + bytes[i], begins[i], begins[i + 1], range.depth + 1});
    }
  }
}

}  // namespace sedum
