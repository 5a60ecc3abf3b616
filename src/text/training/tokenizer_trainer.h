#pragma once
// A tokenizer of one's own, from text files.
//
//   TokenizerTraining options;
//   options.type = "bpe";
//   options.vocab_size = 32000;
//   TokenizerSpec spec = train_tokenizer({"corpus.txt"}, options, pool);
//   write_file("out/tokenizer.json", write_tokenizer_json(spec));
//
// bpe: byte-level, cut by a known pre-tokenizer. unigram: characters after NFKC, spaces as ▁. wordpiece: BERT's cleaning and cutting.

#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "base/thread_pool.h"
#include "text/tokenizer.h"

namespace sedum {

struct TokenizerTraining {
  std::string type = "bpe";                      // bpe, unigram, wordpiece
  size_t vocab_size = 32000;                     // with special tokens
  uint64_t min_frequency = 2;                    // of a pair that is merged
  std::string pre_tokenizer = "gpt-2";           // bpe
  bool lowercase = true;                         // wordpiece: also without accents
  std::vector<std::string> special_tokens = {};  // empty: the type's usual ones
  std::function<void(size_t done, size_t all)> on_progress = {};
};

struct TokenizerTrainingResult {
  TokenizerSpec spec;
  size_t distinct_words = 0;
  uint64_t words = 0;
  double loss = 0;  // unigram: minus the log-likelihood of a word
};

// Error for a type or pre-tokenizer that nobody knows, for files that cannot be read and for a vocabulary too small.
TokenizerTrainingResult train_tokenizer(std::span<const std::filesystem::path> files, const TokenizerTraining& options,
                                        ThreadPool& pool);

}  // namespace sedum
