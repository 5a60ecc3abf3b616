#pragma once
// What turns a pre-token into ids, whatever the algorithm.

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "text/word_cache.h"

namespace sedum {

class WordModel {
 public:
  virtual ~WordModel() = default;
  // Appends the ids of `word`; `cache` belongs to this model and to one thread.
  virtual void encode(std::string_view word, WordCache& cache, std::vector<int32_t>& out) const = 0;
};

using TokenIds = std::unordered_map<std::string_view, int32_t>;

// Ids of <0x00> … <0xFF>, or empty when one is missing: what unknown characters fall back to.
std::vector<int32_t> byte_tokens(const TokenIds& ids);
// The byte that a token of the form <0x0A> stands for, or -1.
int byte_of_token(std::string_view token);

}  // namespace sedum
