#include "train/stability.h"

#include <cmath>

#include <gtest/gtest.h>

#include "base/json.h"

namespace sedum {
namespace {

TEST(OutlierDetector, DeviationsFromTheWindow) {
  OutlierDetector detector;
  for (int i = 0; i < 128; ++i) EXPECT_FALSE(detector.update(i % 2 ? 1.0 : -1.0));  // mean 0, deviation 1
  // 127 of the old values and the new one: mean 9/128 and 1/128 for the −1 that went.
  const double mean = 10.0 / 128, deviation = std::sqrt((127 + 81) / 128.0 - mean * mean);
  EXPECT_NEAR(*detector.update(9), (9 - mean) / deviation, 1e-12);
  OutlierDetector flat;
  for (int i = 0; i < 128; ++i) flat.update(2);
  EXPECT_EQ(flat.update(2), 0);
}

TEST(BestMetric, AsEarlyStoppingCallbackCounts) {
  BestMetric best;
  EXPECT_TRUE(best.update(1, 2.0, false, 0.1));
  EXPECT_TRUE(best.update(2, 1.95, false, 0.1));  // better, but not by the threshold
  EXPECT_EQ(best.without_progress, 1);
  EXPECT_FALSE(best.update(3, 2.5, false, 0.1));
  EXPECT_EQ(best.without_progress, 2);
  EXPECT_EQ(best.step, 2);
  EXPECT_FALSE(best.update(3, 0.5, false, 0.1));  // heard already
  EXPECT_TRUE(best.update(4, 1.0, false, 0.1));
  EXPECT_EQ(best.without_progress, 0);
  BestMetric accuracy;
  accuracy.update(1, 0.5, true, 0);
  EXPECT_TRUE(accuracy.update(2, 0.6, true, 0));
  EXPECT_FALSE(accuracy.update(3, 0.4, true, 0));
}

// torch.amp.GradScaler(init_scale=8, growth_interval=3) over the same steps; ours stays at 4, the least that it was told.
TEST(LossScale, AsGradScalerCounts) {
  LossScale scale{.value = 8};
  std::vector<double> seen;
  for (const bool finite : {true, true, true, false, true, true, false, false, true}) {
    seen.push_back(scale.value);
    EXPECT_EQ(scale.update(finite, 3, 4), finite);
  }
  EXPECT_EQ(seen, (std::vector<double>{8, 8, 8, 16, 8, 8, 8, 4, 4}));
  EXPECT_EQ(scale.skipped, 3);
  LossScale again;
  again.from_json(scale.to_json());
  EXPECT_EQ(again.to_json(), scale.to_json());
}

}  // namespace
}  // namespace sedum
