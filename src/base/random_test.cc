#include "base/random.h"

#include <algorithm>
#include <cmath>

#include <gtest/gtest.h>

namespace sedum {
namespace {

// Known answers published with Random123 (kat_vectors, philox4x32 10 rounds).
TEST(Random, PhiloxKnownAnswers) {
  EXPECT_EQ(philox4x32({0, 0, 0, 0}, {0, 0}),
            (std::array<uint32_t, 4>{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(philox4x32({~0u, ~0u, ~0u, ~0u}, {~0u, ~0u}),
            (std::array<uint32_t, 4>{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox4x32({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (std::array<uint32_t, 4>{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(Random, StreamsDiffer) {
  EXPECT_NE(Random(1, Purpose::kInit).bits64(0), Random(2, Purpose::kInit).bits64(0));
  EXPECT_NE(Random(1, Purpose::kInit).bits64(0), Random(1, Purpose::kDropout).bits64(0));
  EXPECT_NE(Random(1, Purpose::kInit, 0).bits64(0), Random(1, Purpose::kInit, 1).bits64(0));
}

TEST(Random, NormalMoments) {
  const Random rng(7, Purpose::kTest);
  const int n = 100000;
  double sum = 0, squares = 0;
  for (int i = 0; i < n; ++i) sum += rng.normal(i), squares += double(rng.normal(i)) * rng.normal(i);
  EXPECT_NEAR(sum / n, 0, 4 / std::sqrt(n));  // four standard errors
  EXPECT_NEAR(squares / n, 1, 4 * std::sqrt(2.0 / n));
}

TEST(Random, PermutationIsOne) {
  auto p = Random(3, Purpose::kShuffle).permutation(1000);
  EXPECT_FALSE(std::is_sorted(p.begin(), p.end()));
  std::sort(p.begin(), p.end());
  for (uint32_t i = 0; i < 1000; ++i) EXPECT_EQ(p[i], i);
  EXPECT_TRUE(Random(3, Purpose::kShuffle).permutation(0).empty());
}

}  // namespace
}  // namespace sedum
