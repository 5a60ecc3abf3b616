#include "base/thread_pool.h"

#include <numeric>

#include <gtest/gtest.h>

namespace sedum {
namespace {

class ThreadPoolTest : public ::testing::TestWithParam<int> {};

TEST_P(ThreadPoolTest, EveryThreadRunsOncePerRegion) {
  ThreadPool pool(GetParam());
  std::vector<int> counts(size_t(pool.size()), 0);
  for (int i = 0; i < 2000; ++i) pool.run([&](int t) { ++counts[size_t(t)]; });
  for (int c : counts) EXPECT_EQ(c, 2000);
}

TEST_P(ThreadPoolTest, SleepingWorkersWake) {
  ThreadPool pool(GetParam());
  std::atomic<int> total{0};
  for (int i = 0; i < 5; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));  // far beyond the spinning
    pool.run([&](int) { ++total; });
  }
  EXPECT_EQ(total, 5 * pool.size());
}

TEST_P(ThreadPoolTest, BarrierOrdersPhases) {
  ThreadPool pool(GetParam());
  std::vector<int> first(size_t(pool.size()), 0);
  std::atomic<int> wrong{0};
  for (int round = 1; round < 300; ++round)
    pool.run([&](int t) {
      first[size_t(t)] = round;
      pool.barrier();
      for (int v : first) wrong += v != round;
      pool.barrier();
    });
  EXPECT_EQ(wrong, 0);
}

TEST_P(ThreadPoolTest, ParallelForCoversTheRangeOnce) {
  ThreadPool pool(GetParam());
  for (int64_t count : {0, 1, 2, 7, 100, 1001})
    for (int64_t grain : {1, 16}) {
      std::vector<int> seen(size_t(count), 0);
      pool.parallel_for(
          count,
          [&](int64_t b, int64_t e) {
            EXPECT_EQ(b % grain, 0);
            for (; b < e; ++b) ++seen[size_t(b)];
          },
          grain);
      EXPECT_EQ(std::accumulate(seen.begin(), seen.end(), int64_t{0}), count);
      for (int s : seen) EXPECT_EQ(s, 1);
    }
}

INSTANTIATE_TEST_SUITE_P(Threads, ThreadPoolTest, ::testing::Values(1, 2, 3, 8));

TEST(ThreadPool, UsableCoresIsPositive) { EXPECT_GE(usable_cores(), 1); }

}  // namespace
}  // namespace sedum
