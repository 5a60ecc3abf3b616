#pragma once
// Which rows are kept from training, to measure on.
//
//   Split split = split_rows(keys, {.eval_fraction = 0.1, .seed = 42});   // one key a row: its content, topic, family …
//   for (size_t row : split.eval) …
//
// Rows with equal keys land on the same side, so that no question is in both. Keys are ranked by a hash of key and
// seed, and rows are held out in this order while they fit the fraction: the result does not depend on the order of
// rows, and the count is as near to the fraction as whole groups allow.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace sedum::data {

struct SplitOptions {
  double eval_fraction = 0.1;  // [0, 1)
  uint64_t seed = 42;
};

struct Split {
  std::vector<size_t> train, eval;  // ascending
};

// With a fraction above 0 and at least two different keys, neither side is empty. Throws Error for a fraction outside
// [0, 1).
Split split_rows(std::span<const std::string> keys, const SplitOptions& options = {});

}  // namespace sedum::data
