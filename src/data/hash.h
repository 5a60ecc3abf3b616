#pragma once
// Hashes of texts that are the same on every machine and in every run, unlike std::hash: splits and reports rest on
// them.

#include <cstdint>
#include <string_view>

namespace sedum::data {

uint64_t hash64(std::string_view text, uint64_t seed = 0);

// Wide enough to take equal hashes for equal texts: 2^-68 for any two of a billion.
struct Hash128 {
  uint64_t low, high;
  bool operator==(const Hash128&) const = default;
};
Hash128 hash128(std::string_view text);

struct HashOfHash {
  size_t operator()(const Hash128& hash) const { return size_t(hash.low); }
};

}  // namespace sedum::data
