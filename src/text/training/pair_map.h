#pragma once
// Numbers by pair of symbols: open addressing, one load for most look-ups.
//
//   PairMap counts;
//   counts[pair_of(left, right)] += 3;      // 0 when new
//   counts.for_each([](Pair pair, int64_t value) { … });
//
// No pair of two symbols 2^32 - 1 can be held: that is an empty slot.

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace sedum {

using Pair = uint64_t;  // left << 32 | right
inline Pair pair_of(uint32_t left, uint32_t right) { return uint64_t(left) << 32 | right; }

class PairMap {
 public:
  // Valid until the next call with a new pair.
  int64_t& operator[](Pair pair) {
    size_t at = place(slots_, pair);
    if (slots_[at].pair == kEmpty) {
      if (2 * (size_ + 1) > slots_.size()) grow(), at = place(slots_, pair);
      ++size_;
      slots_[at] = {pair, 0};
    }
    return slots_[at].value;
  }
  size_t size() const { return size_; }

  template <class Visit>
  void for_each(Visit visit) const {
    for (const Slot& slot : slots_)
      if (slot.pair != kEmpty) visit(slot.pair, slot.value);
  }

 private:
  static constexpr Pair kEmpty = ~Pair{0};
  struct Slot {
    Pair pair = kEmpty;
    int64_t value = 0;
  };
  static size_t place(const std::vector<Slot>& slots, Pair pair) {
    const uint64_t mixed = pair * 0x9E3779B97F4A7C15u;
    const size_t mask = slots.size() - 1;
    size_t at = (mixed ^ mixed >> 32) & mask;
    while (slots[at].pair != pair && slots[at].pair != kEmpty) at = (at + 1) & mask;
    return at;
  }
  void grow() {
    std::vector<Slot> wider(2 * slots_.size());
    for (const Slot& slot : slots_)
      if (slot.pair != kEmpty) wider[place(wider, slot.pair)] = slot;
    slots_ = std::move(wider);
  }
  std::vector<Slot> slots_ = std::vector<Slot>(1024);  // a power of two, at most half full
  size_t size_ = 0;
};

}  // namespace sedum
