#pragma once
#include "text/training/word_counts.h"

namespace sedum {

// Every character with its frequency, then the `seeds` substrings of two to `max_characters` characters that cover most, with
// frequency times length.
std::vector<std::pair<std::string, double>> unigram_seeds(const WordCounts& words, size_t max_characters, size_t seeds,
                                                          ThreadPool& pool);

}  // namespace sedum
