#pragma once
// Random numbers that are counted, not drawn: a value is a function of (seed, purpose, step, index), so that it does not depend
// on threads, ranks, batch composition or on how often a run was interrupted.
//
//   Random rng(seed, Purpose::kDropout, step);
//   float u = rng.uniform(index);            // [0, 1), the same whenever it is asked
//
// Philox4x32-10: Salmon, Moraes, Dror, Shaw: "Parallel Random Numbers: As Easy as 1, 2, 3", SC 2011.

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

namespace sedum {

enum class Purpose : uint32_t { kInit = 1, kShuffle, kDropout, kSampling, kRounding, kSplit, kNoise, kTest };

// A number for a name (FNV-1a): what is random about a thing that has a name follows from that, not from the order of construction.
constexpr uint32_t stream_of(std::string_view name) {
  uint32_t h = 2166136261u;
  for (const char c : name) h = (h ^ uint8_t(c)) * 16777619u;
  return h;
}

std::array<uint32_t, 4> philox4x32(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key);

class Random {
 public:
  Random(uint64_t seed, Purpose purpose, uint32_t step = 0) : seed_(seed), purpose_(uint32_t(purpose)), step_(step) {}
  uint32_t bits(uint64_t index) const;
  uint64_t bits64(uint64_t index) const;
  float uniform(uint64_t index) const { return float(bits(index) >> 8) * 0x1p-24f; }  // [0, 1), 24 bits
  double uniform_double(uint64_t index) const { return double(bits64(index) >> 11) * 0x1p-53; }
  float normal(uint64_t index) const;                    // Box-Muller
  uint64_t below(uint64_t bound, uint64_t index) const;  // [0, bound), unbiased to 2^-64·bound
  std::vector<uint32_t> permutation(uint32_t n) const;   // Fisher-Yates

 private:
  std::array<uint32_t, 4> block(uint64_t index) const;
  uint64_t seed_;
  uint32_t purpose_, step_;
};

}  // namespace sedum
