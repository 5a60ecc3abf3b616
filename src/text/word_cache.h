#pragma once
// Words that were encoded before: a bounded table from short words to their ids. Text repeats its words (Zipf), so that merging is
// rare; a slot holds the last word that fell on it.
//
//   WordCache::Slot& slot = cache.slot(key);
//   if (slot.holds(key)) ... slot.ids ... else { merge; slot.put(key, ids); }
//
// One cache for each thread that is encoding (TokenCachePool lends them).

#include <bit>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

namespace sedum {

class WordCache {
 public:
  static constexpr size_t kMaxBytes = 15, kMaxIds = 4;

  struct Key {
    uint64_t low, high;  // the bytes, zeros, and the length in the last byte
  };
  // `readable`: bytes that may be read from `word` on, at least `length`. length <= kMaxBytes.
  static Key key(const char* word, size_t length, size_t readable) {
    Key k{0, 0};
    if (readable >= 16) {
      std::memcpy(&k, word, 16);
      const size_t cut = length < 8 ? 8 * (8 - length) : 0;
      if (length < 8) {
        k.low = length ? k.low << cut >> cut : 0;
        k.high = 0;
      } else {
        k.high = length > 8 ? k.high << (8 * (16 - length)) >> (8 * (16 - length)) : 0;
      }
    } else {
      std::memcpy(&k, word, length);
    }
    k.high |= uint64_t(length) << 56;
    return k;
  }

  struct Slot {  // half a cache line
    Key word{0, 0};
    int32_t ids[kMaxIds] = {-1, -1, -1, -1};  // -1 behind the last

    bool holds(Key k) const { return ((word.low ^ k.low) | (word.high ^ k.high)) == 0; }
    void put(Key k, std::span<const int32_t> from) {
      word = k;
      for (size_t i = 0; i < kMaxIds; i++) ids[i] = i < from.size() ? from[i] : -1;
    }
  };
  static_assert(std::endian::native == std::endian::little && sizeof(Slot) == 32);

  // A hash whose lowest bits depend on all of the key.
  static uint64_t mixed(Key k) {
    const uint64_t once = (k.low ^ std::rotl(k.high, 23)) * 0x9E3779B97F4A7C15u;
    const uint64_t twice = (once ^ once >> 29) * 0xBF58476D1CE4E5B9u;
    return twice >> 32 | twice << 32;
  }
  Slot& slot(Key k) { return slots_[mixed(k) & ((size_t{1} << kBits) - 1)]; }

 private:
  static constexpr int kBits = 15;  // 32,768 words, 1 MiB
  std::vector<Slot> slots_ = std::vector<Slot>(size_t{1} << kBits);
};

}  // namespace sedum
