#include "base/arena.h"

#include <cstring>
#include <vector>

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/random.h"

namespace sedum {
namespace {

TEST(Arena, EqualStepsGetEqualAddresses) {
  Arena arena;
  std::vector<void*> first;
  for (int step = 0; step < 3; ++step) {
    std::vector<void*> now;
    for (size_t n : {100, 5000, 64, 1 << 20}) now.push_back(arena.allocate(n)), std::memset(now.back(), 1, n);
    if (step == 0) first = now;
    EXPECT_EQ(now, first);
    size_t i = 0;
    for (size_t n : {100, 5000, 64, 1 << 20}) arena.release(now[i++], n);
    EXPECT_EQ(arena.live_bytes(), 0u);
  }
}

// Random allocations never overlap, everything joins again, and an arena without memory reports the same peak.
TEST(Arena, RandomUseMatchesItsShapeOnlyTwin) {
  Arena real, plan(Arena::Backing::kNone);
  struct Piece {
    char *p, *q;
    size_t n;
    char mark;
  };
  std::vector<Piece> live;
  const Random rng(1, Purpose::kTest);
  for (uint64_t i = 0; i < 3000; ++i) {
    if (live.size() < 40 && rng.uniform(2 * i) < 0.6f) {
      const size_t n = rng.below(20000, 2 * i + 1);
      Piece piece{static_cast<char*>(real.allocate(n)), static_cast<char*>(plan.allocate(n)), n, char(i)};
      std::memset(piece.p, piece.mark, n);
      live.push_back(piece);
    } else if (!live.empty()) {
      const size_t at = rng.below(live.size(), 2 * i + 1);
      const Piece piece = live[at];
      for (size_t j = 0; j < piece.n; ++j) ASSERT_EQ(piece.p[j], piece.mark);
      real.release(piece.p, piece.n), plan.release(piece.q, piece.n);
      live.erase(live.begin() + long(at));
    }
    ASSERT_EQ(real.peak_bytes(), plan.peak_bytes());
  }
  for (const auto& piece : live) real.release(piece.p, piece.n);
  EXPECT_EQ(real.live_bytes(), 0u);
}

TEST(Arena, LimitIsRefusedWithTheMend) {
  Arena arena;
  arena.set_limit(1 << 20);
  EXPECT_NO_THROW(arena.allocate(1 << 19));
  EXPECT_THROW(arena.allocate(1 << 20), Error);
}

TEST(ArenaDeathTest, ReleasedTwice) {
  Arena arena;
  void* p = arena.allocate(1000);
  arena.release(p, 1000);
  EXPECT_DEATH(arena.release(p, 1000), "released twice");
}

TEST(Buffer, ZeroedAndMovable) {
  Buffer a(10000);
  for (size_t i = 0; i < a.size(); ++i) ASSERT_EQ(a.as<char>()[i], 0);
  Buffer b = std::move(a);
  EXPECT_EQ(b.size(), 10000u);
  EXPECT_EQ(a.size(), 0u);
}

TEST(Memory, IsKnown) {
  EXPECT_GT(memory_use().resident, 1u << 20);
  EXPECT_GT(machine_memory(), 1u << 28);
}

}  // namespace
}  // namespace sedum
