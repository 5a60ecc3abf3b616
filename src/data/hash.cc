#include "data/hash.h"

#include <cstring>

namespace sedum::data {
namespace {

// Products of 64 × 64 bits folded onto themselves, eight bytes at a time; the constants are digits of the golden ratio
// and of √2, √3, odd.
constexpr uint64_t kGolden = 0x9E3779B97F4A7C15, kRoot2 = 0x6A09E667F3BCC909, kRoot3 = 0xBB67AE8584CAA73B;

uint64_t fold(uint64_t a, uint64_t b) {
  const auto product = static_cast<unsigned __int128>(a) * b;
  return uint64_t(product) ^ uint64_t(product >> 64);
}

}  // namespace

uint64_t hash64(std::string_view text, uint64_t seed) {
  uint64_t hash = fold(seed ^ kRoot2, kGolden);
  size_t i = 0;
  for (uint64_t word = 0; i + 8 <= text.size(); i += 8) {
    std::memcpy(&word, text.data() + i, 8);
    hash = fold(hash ^ word ^ kRoot3, kGolden) + word;  // the sum keeps a zero factor from forgetting what came before
  }
  uint64_t tail = 0;
  if (i < text.size()) std::memcpy(&tail, text.data() + i, text.size() - i);
  hash = fold(hash ^ tail ^ kRoot3, kGolden ^ (uint64_t(text.size()) << 1));
  return fold(hash ^ kRoot2, kRoot3);
}

Hash128 hash128(std::string_view text) { return {hash64(text, 1), hash64(text, 2)}; }

}  // namespace sedum::data
