#pragma once
// What merging one pair (left, right) in many words changes in the counts of pairs. Every pair that is lost or gained has the merged pair or one
// of its parts on one side, so that the symbol on the other side is enough to find its number: an array instead of a hash table.
//
//   MergeChanges changes;                        // reused from merge to merge, one for each thread
//   changes.before(x, count, word);              // x left right → x merged: (x, left) is lost, (x, merged) gained
//   changes.after(x, count, word);               // left right x → merged x: (right, x) is lost, (merged, x) gained

#include <cstdint>
#include <vector>

namespace sedum {

class MergeChanges {
 public:
  struct Event {
    uint32_t symbol, word;
  };
  struct Side {
    std::vector<int64_t> counts;    // by symbol; zero where nothing happened
    std::vector<uint32_t> touched;  // symbols, in the order of their first event
    std::vector<Event> events;      // in the order of words

    void add(uint32_t symbol, int64_t count, uint32_t word) {
      if (symbol >= counts.size()) counts.resize(size_t(symbol) * 2 + 1024);
      if (counts[symbol] == 0) touched.push_back(symbol);
      counts[symbol] += count;
      events.push_back({symbol, word});
    }
    void clear() {
      for (const uint32_t symbol : touched) counts[symbol] = 0;
      touched.clear(), events.clear();
    }
  };
  void before(uint32_t symbol, int64_t count, uint32_t word) { left.add(symbol, count, word); }
  void after(uint32_t symbol, int64_t count, uint32_t word) { right.add(symbol, count, word); }
  void clear() { left.clear(), right.clear(); }

  Side left, right;
};

}  // namespace sedum
