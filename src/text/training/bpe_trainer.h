#pragma once
// Training of byte-pair encoding: the most frequent pair of neighbours becomes a token, again and again (Sennrich, Haddow, Birch 2016).
//
//   BpeTraining options;
//   options.vocab_size = 32000;
//   BpeVocabulary result = train_bpe(words, alphabet_characters, options, pool);
//
// Of equally frequent pairs the one with the smaller ids comes first, so that the merges are those of Hugging Face's trainer on the same
// counts, also in its peculiarity: a pair that comes up again after it was merged counts with what it had before.

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "text/training/word_counts.h"

namespace sedum {

struct BpeTraining {
  size_t vocab_size = 30000;
  uint64_t min_frequency = 0;
  std::string continuing_prefix = {};              // WordPiece's "##"
  std::vector<std::string> special_tokens = {};    // the first ids
  std::vector<std::string> initial_alphabet = {};  // characters that are tokens whether they occur or not
  size_t limit_alphabet = 0;                       // 0: every character; else the most frequent
  std::function<void(size_t done, size_t all)> on_progress = {};
};

struct BpeVocabulary {
  std::vector<std::string> tokens;  // by id
  std::vector<std::string> merges;  // "left right"
};

// Words are text in which every character is a symbol: for byte-level BPE, in the byte-level alphabet.
BpeVocabulary train_bpe(const WordCounts& words, const BpeTraining& options, ThreadPool& pool);

}  // namespace sedum
