#pragma once
// Byte-pair merging of one word.
//
//   BpeModel bpe(tokens, merges, ignore_merges, unknown);
//   bpe.encode_word(word, ids);           // appends
//
// The pair of neighbours with the best rank is merged, the leftmost first, until no pair has a rank: Sennrich, Haddow, Birch
// 2016, "Neural Machine Translation of Rare Words with Subword Units". Short words scan for the best pair; long ones keep a heap
// (n log n), so that a word of a megabyte is no way to stop a server.

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace sedum {

// The byte-level alphabet: each byte as a printable character, as GPT-2's files store tokens.
std::string to_byte_alphabet(std::string_view bytes);
// Back again; false when a character is not of the alphabet.
bool from_byte_alphabet(std::string_view text, std::string& bytes);

class BpeModel {
 public:
  // `ids` finds a token as stored; views into `tokens` of the caller. Throws Error for a merge that the vocabulary contradicts.
  using Vocabulary = std::unordered_map<std::string_view, int32_t>;
  BpeModel(const Vocabulary& ids, std::span<const std::string> merges, bool ignore_merges, int32_t unknown);

  void encode_word(std::string_view word, std::vector<int32_t>& out) const;

 private:
  struct Merge {
    uint64_t pair;  // left << 32 | right
    uint32_t rank;
    int32_t merged;
  };
  static constexpr uint64_t kNoPair = ~uint64_t{0};
  static constexpr uint32_t kNoRank = ~uint32_t{0};

  static uint64_t pair_of(int32_t left, int32_t right) { return uint64_t(uint32_t(left)) << 32 | uint32_t(right); }
  const Merge& find(int32_t left, int32_t right) const {
    const uint64_t pair = pair_of(left, right);
    size_t slot = (pair * 0x9E3779B97F4A7C15u) >> shift_;
    while (merges_[slot].pair != pair && merges_[slot].pair != kNoPair) slot = (slot + 1) & mask_;
    return merges_[slot];
  }
  void add_merge(const Vocabulary& ids, const std::string& line, uint32_t rank);
  void merge_short(int32_t* symbols, int count, std::vector<int32_t>& out) const;
  void merge_long(std::vector<int32_t> symbols, std::vector<int32_t>& out) const;

  std::vector<Merge> merges_;  // open addressing, at most half full
  int shift_ = 0;
  size_t mask_ = 0;
  std::array<int32_t, 256> bytes_{};  // -1: not in the vocabulary
  int32_t unknown_;
  std::unordered_map<std::string, int32_t> words_;  // with ignore_merges: whole words, by their bytes
};

}  // namespace sedum
