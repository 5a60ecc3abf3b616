#pragma once
// Training of a unigram language model (Kudo 2018, "Subword Regularization", section 3.2): many candidates from the words' substrings,
// their probabilities by expectation maximisation, and again and again the quarter that the text misses least is dropped.
//
//   UnigramTraining options;
//   options.vocab_size = 8000;
//   UnigramVocabulary result = train_unigram(words, options, pool);
//
// The same words give the same vocabulary, whatever the number of threads.

#include <functional>
#include <string>
#include <vector>

#include "text/training/word_counts.h"

namespace sedum {

struct UnigramTraining {
  size_t vocab_size = 8000;  // pieces, without special tokens
  size_t seeds = 0;          // 0: sixteen for each piece wanted
  size_t max_characters = 16;
  double shrinking = 0.75;
  std::function<void(size_t pieces, size_t wanted)> on_progress = {};
};

struct UnigramVocabulary {
  std::vector<std::pair<std::string, double>> pieces;  // the best first; scores are log-probabilities
  double loss = 0;                                     // minus the log-likelihood for each word of the text
};

UnigramVocabulary train_unigram(const WordCounts& words, const UnigramTraining& options, ThreadPool& pool);

}  // namespace sedum
