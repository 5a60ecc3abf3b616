#pragma once
// How often words came: short ones in slots of 32 bytes that hold the word itself, so that counting one is a hash, one cache line and a
// comparison; the few long ones in an ordinary map.
//
//   WordTable table;
//   table.add(word, readable, 1);     // readable: bytes that may be read from word.data() on, at least word.size()
//   table.for_each([](std::string_view word, uint64_t count) { … });

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "text/word_cache.h"

namespace sedum {

class WordTable {
 public:
  void add(std::string_view word, size_t readable, uint64_t count) {
    if (word.size() > WordCache::kMaxBytes) {
      add_long(word, count);
      return;
    }
    const WordCache::Key key = WordCache::key(word.data(), word.size(), readable);
    size_t at = place(slots_, key);
    if (slots_[at].count == 0) {
      if (2 * (size_ + 1) > slots_.size()) grow(), at = place(slots_, key);
      size_++;
      slots_[at].word = key;
    }
    slots_[at].count += count;
  }
  void add(const WordTable& other) {
    for (const Slot& slot : other.slots_)
      if (slot.count > 0) {
        char bytes[16];
        const std::string_view word = text_of(slot, bytes);
        add(word, sizeof(bytes), slot.count);
      }
    for (const auto& [word, count] : other.long_) add_long(word, count);
  }
  size_t size() const { return size_ + long_.size(); }

  template <class Visit>
  void for_each(Visit visit) const {
    char bytes[16];
    for (const Slot& slot : slots_)
      if (slot.count > 0) visit(text_of(slot, bytes), slot.count);
    for (const auto& [word, count] : long_) visit(std::string_view(word), count);
  }

 private:
  struct Slot {
    WordCache::Key word{0, 0};
    uint64_t count = 0;
  };
  struct Hash {
    using is_transparent = void;
    size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
  };
  static std::string_view text_of(const Slot& slot, char (&bytes)[16]) {
    std::memcpy(bytes, &slot.word, 16);
    return {bytes, size_t(slot.word.high >> 56)};
  }
  static size_t place(const std::vector<Slot>& slots, WordCache::Key key) {
    const size_t mask = slots.size() - 1;
    size_t at = size_t(WordCache::mixed(key)) & mask;
    while (slots[at].count > 0 && (slots[at].word.low != key.low || slots[at].word.high != key.high))
      at = (at + 1) & mask;
    return at;
  }
  void grow() {
    std::vector<Slot> wider(2 * slots_.size());
    for (const Slot& slot : slots_)
      if (slot.count > 0) wider[place(wider, slot.word)] = slot;
    slots_ = std::move(wider);
  }
  void add_long(std::string_view word, uint64_t count) {
    const auto found = long_.find(word);
    if (found != long_.end())
      found->second += count;
    else
      long_.emplace(word, count);
  }
  std::vector<Slot> slots_ = std::vector<Slot>(size_t{1} << 14);  // a power of two, at most half full
  size_t size_ = 0;
  std::unordered_map<std::string, uint64_t, Hash, std::equal_to<>> long_;
};

}  // namespace sedum
