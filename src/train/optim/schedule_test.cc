#include "train/optim/schedule.h"

#include <gtest/gtest.h>

#include "base/file.h"
#include "base/json.h"
#include "model/model_testing.h"
#include "train/config.h"

namespace sedum {
namespace {

using nlohmann::json;

TrainConfig config_of(const json& entry) {
  json recipe{{"model_name_or_path", "m"}, {"output_dir", "o"}, {"data", {{"train", "d"}}}};
  recipe["lr_scheduler_type"] = entry["type"], recipe["learning_rate"] = entry["learning_rate"];
  recipe["warmup_steps"] = entry["warmup_steps"], recipe["lr_scheduler_kwargs"] = entry["lr_scheduler_kwargs"];
  return parse_train_config(recipe.dump(), {}, "r.yaml");
}

// transformers.get_scheduler, by tools/golden/train_schedules.py, told in the words of a recipe.
TEST(Schedule, RatesOfTransformers) {
  for (const json& entry : parse_json(read_file(testing::golden("train/schedules.json")))) {
    const Schedule schedule = schedule_of(config_of(entry), entry["total"]);
    for (size_t step = 0; step < entry["rates"].size(); ++step) {
      // Both compute in double; the peak and the result are f32 here. A cosine that ends at 0 ends at rounding's 0.
      const double expected = entry["rates"][step];
      EXPECT_NEAR(schedule.at(int64_t(step)), expected, 2 * 0x1p-24 * expected + 1e-16 * schedule.learning_rate)
          << entry["type"] << entry["lr_scheduler_kwargs"] << " step " << step;
    }
  }
}

TEST(Schedule, WarmupInStepsOrRatio) {
  TrainConfig c;
  c.warmup_ratio = 0.03;
  EXPECT_EQ(schedule_of(c, 100).warmup, 3);
  EXPECT_EQ(schedule_of(c, 101).warmup, 4);  // the ratio rounded up, as transformers does
  c.warmup_steps = 7;
  EXPECT_EQ(schedule_of(c, 100).warmup, 7);
}

TEST(Schedule, PolynomialOfNothingButWarmupEnds) {
  const Schedule s{.type = Scheduler::kPolynomial, .learning_rate = 1, .warmup = 4, .total = 4};
  EXPECT_FLOAT_EQ(s.at(4), 1e-7f);
}

}  // namespace
}  // namespace sedum
