#pragma once
// Byte-level byte-pair encoding of one word.
//
//   BpeModel bpe(tokens, merges, ignore_merges, unknown);
//   bpe.encode_word(word, ids);           // appends
//
// Bytes are the first symbols; merge_table.h merges them.

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "text/merge_table.h"

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
  void add_merge(const Vocabulary& ids, const std::string& line, uint32_t rank);

  MergeTable merges_;
  std::array<int32_t, 256> bytes_{};  // -1: not in the vocabulary
  int32_t unknown_;
  std::unordered_map<std::string, int32_t> words_;  // with ignore_merges: whole words, by their bytes
};

}  // namespace sedum
