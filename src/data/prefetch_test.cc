#include "data/prefetch.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace sedum::data {
namespace {

std::vector<Sample> samples(int count) {
  std::vector<Sample> all;
  for (int i = 0; i < count; ++i) all.push_back({{i, i + 1, i + 2}, {i, i + 1, i + 2}});
  return all;
}

class Failing : public SampleSource {
 public:
  size_t size() const override { return 8; }
  uint32_t length(size_t) const override { return 2; }
  uint32_t targets(size_t) const override { return 1; }
  Sample get(size_t i) const override {
    if (i == 5) throw Error("the disk is gone", "find it");
    return {{1, 2}, {1, 2}};
  }
};

TEST(Prefetcher, GivesWhatTheLoaderGives) {
  const Loader loader(samples(23), {.batch_size = 3, .gradient_accumulation_steps = 2});
  Prefetcher batches(loader, 2, 9);
  for (int64_t step = 2; step < 9; ++step)
    for (int micro = 0; micro < 2; ++micro) {
      const StepBatch a = batches.next(), b = loader.batch(step, micro);
      EXPECT_EQ(a.ids, b.ids);
      EXPECT_EQ(a.samples, b.samples);
    }
  EXPECT_THROW(batches.next(), ApiError);
  EXPECT_GE(batches.take_waited(), 0);
  EXPECT_EQ(batches.take_waited(), 0);
}

TEST(Prefetcher, PassesFailuresOn) {
  const Loader loader(std::make_shared<Failing>(), {.batch_size = 1, .shuffle = false});
  Prefetcher batches(loader, 0, 8);
  for (int i = 0; i < 5; ++i) batches.next();
  EXPECT_THROW(batches.next(), Error);
}

TEST(Prefetcher, CanBeLeftEarly) {
  const Loader loader(samples(100), {.batch_size = 1});
  Prefetcher batches(loader, 0, 1000);
  batches.next();
}

}  // namespace
}  // namespace sedum::data
