#pragma once
// Deterministic damage to inputs.
//
//   Mutator mutator(seed, dictionary);
//   std::string next = mutator.mutate(input, other, max_size);   // a function of seed and of the calls so far

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/random.h"

namespace sedum::fuzz {

class Mutator {
 public:
  Mutator(uint64_t seed, std::vector<std::string> dictionary)
      : random_(seed, Purpose::kTest), dictionary_(std::move(dictionary)) {}

  // One to eight changes; `other` is spliced from.
  std::string mutate(std::string input, std::string_view other, size_t max_size);
  uint64_t below(uint64_t bound) { return bound ? random_.below(bound, index_++) : 0; }

 private:
  void change(std::string& input, std::string_view other);
  void overwrite_number(std::string& input);
  void change_digits(std::string& input);
  void nest(std::string& input);
  Random random_;
  uint64_t index_ = 0;
  std::vector<std::string> dictionary_;
};

// libFuzzer's dictionary format: one "token" a line, \xNN and \\ and \" as escapes, # begins a comment.
std::vector<std::string> parse_dictionary(std::string_view text);

}  // namespace sedum::fuzz
