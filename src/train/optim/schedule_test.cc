#include "train/optim/schedule.h"

#include <gtest/gtest.h>

namespace sedum {
namespace {

TEST(Schedule, Formulas) {
  EXPECT_FLOAT_EQ(learning_rate_at(Scheduler::kConstant, 1, 0, 4, 10), 0);
  EXPECT_FLOAT_EQ(learning_rate_at(Scheduler::kConstant, 1, 2, 4, 10), 0.5f);
  EXPECT_FLOAT_EQ(learning_rate_at(Scheduler::kConstant, 1, 9, 4, 10), 1);
  EXPECT_FLOAT_EQ(learning_rate_at(Scheduler::kLinear, 1, 4, 4, 10), 1);
  EXPECT_FLOAT_EQ(learning_rate_at(Scheduler::kLinear, 1, 7, 4, 10), 0.5f);
  EXPECT_FLOAT_EQ(learning_rate_at(Scheduler::kCosine, 1, 7, 4, 10), 0.5f);
  EXPECT_FLOAT_EQ(learning_rate_at(Scheduler::kCosine, 2, 0, 0, 10), 2);
  EXPECT_NEAR(learning_rate_at(Scheduler::kCosine, 1, 10, 4, 10), 0, 1e-7);
  EXPECT_FLOAT_EQ(learning_rate_at(Scheduler::kLinear, 1, 12, 4, 10), 0);
}

TEST(Schedule, WarmupInStepsOrRatio) {
  TrainConfig c;
  c.warmup_ratio = 0.03;
  EXPECT_EQ(warmup_steps(c, 100), 3);
  EXPECT_EQ(warmup_steps(c, 101), 4);
  c.warmup_steps = 7;
  EXPECT_EQ(warmup_steps(c, 100), 7);
}

}  // namespace
}  // namespace sedum
