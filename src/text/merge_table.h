#pragma once
// Byte-pair merging: which neighbours merge, in which order, into what.
//
//   MergeTable table(expected);
//   table.add(left, right, rank, merged);      // the better rank of two for one pair stands
//   table.merge(symbols, count, out);          // symbols is used up; what remains is appended to `out`
//
// The pair of neighbours with the best rank is merged, the leftmost first, until no pair has a rank: Sennrich, Haddow, Birch
// 2016, "Neural Machine Translation of Rare Words with Subword Units". Short words scan for the best pair; long ones keep a heap
// (n log n), so that a word of a megabyte is no way to stop a server.

#include <cstddef>
#include <cstdint>
#include <vector>

namespace sedum {

class MergeTable {
 public:
  static constexpr int kShortWord = 48;  // symbols; scanning for the best pair beats a heap below
  static constexpr uint32_t kNoRank = ~uint32_t{0};

  explicit MergeTable(size_t expected = 0);
  void add(int32_t left, int32_t right, uint32_t rank, int32_t merged);
  void merge(int32_t* symbols, size_t count, std::vector<int32_t>& out) const;

  // Calls visit(left, right, merged) for every merge, in no order.
  template <class Visit>
  void for_each(Visit visit) const {
    for (const Merge& m : merges_)
      if (m.pair != kNoPair) visit(int32_t(m.pair >> 32), int32_t(uint32_t(m.pair)), m.merged);
  }

 private:
  struct Merge {
    uint64_t pair;  // left << 32 | right
    uint32_t rank;
    int32_t merged;
  };
  static constexpr uint64_t kNoPair = ~uint64_t{0};

  size_t slot_of(uint64_t pair) const {
    size_t slot = (pair * 0x9E3779B97F4A7C15u) >> shift_;
    while (merges_[slot].pair != pair && merges_[slot].pair != kNoPair) slot = (slot + 1) & mask_;
    return slot;
  }
  const Merge& find(int32_t left, int32_t right) const {
    return merges_[slot_of(uint64_t(uint32_t(left)) << 32 | uint32_t(right))];
  }
  void resize(size_t slots);
  void merge_short(int32_t* symbols, int count, std::vector<int32_t>& out) const;
  void merge_long(int32_t* symbols, size_t count, std::vector<int32_t>& out) const;

  std::vector<Merge> merges_;  // open addressing, at most half full
  size_t size_ = 0;
  int shift_ = 0;
  size_t mask_ = 0;
};

}  // namespace sedum
