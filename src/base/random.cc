#include "base/random.h"

#include <cmath>
#include <numbers>
#include <numeric>
#include <utility>

namespace sedum {

std::array<uint32_t, 4> philox4x32(std::array<uint32_t, 4> c, std::array<uint32_t, 2> k) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t p0 = uint64_t{0xD2511F53} * c[0], p1 = uint64_t{0xCD9E8D57} * c[2];
    c = {uint32_t(p1 >> 32) ^ c[1] ^ k[0], uint32_t(p1), uint32_t(p0 >> 32) ^ c[3] ^ k[1], uint32_t(p0)};
    k[0] += 0x9E3779B9, k[1] += 0xBB67AE85;
  }
  return c;
}

std::array<uint32_t, 4> Random::block(uint64_t index) const {
  return philox4x32({uint32_t(index), uint32_t(index >> 32), step_, purpose_},
                    {uint32_t(seed_), uint32_t(seed_ >> 32)});
}

uint32_t Random::bits(uint64_t index) const { return block(index / 4)[index % 4]; }

uint64_t Random::bits64(uint64_t index) const {
  const auto b = block(index / 2);
  return index % 2 ? b[2] | uint64_t(b[3]) << 32 : b[0] | uint64_t(b[1]) << 32;
}

float Random::normal(uint64_t index) const {
  const auto b = block(index / 2);  // two words for each of the pair's values: 32 bits of angle and of radius
  const double radius = std::sqrt(-2 * std::log((double(b[0]) + 1) * 0x1p-32)),
               angle = 2 * std::numbers::pi * b[1] * 0x1p-32;
  return float(radius * (index % 2 ? std::sin(angle) : std::cos(angle)));
}

uint64_t Random::below(uint64_t bound, uint64_t index) const {
  return uint64_t((static_cast<__uint128_t>(bits64(index)) * bound) >> 64);
}

std::vector<uint32_t> Random::permutation(uint32_t n) const {
  std::vector<uint32_t> order(n);
  std::iota(order.begin(), order.end(), 0u);
  for (uint32_t i = n; i > 1; --i) std::swap(order[i - 1], order[below(i, i)]);
  return order;
}

}  // namespace sedum
