#pragma once
// A run beside its golden curve.

#include <cmath>

#include <gtest/gtest.h>

#include "base/json.h"
#include "parity_testing.h"
#include "train/train.h"

namespace sedum::parity {

using nlohmann::json;
namespace fs = std::filesystem;

struct Deviation {
  double loss = 0, grad_norm = 0, learning_rate = 0;  // the largest, relative
  size_t steps = 0;
};

// Runs and compares each step with the golden curve.
inline Deviation follow(const TrainConfig& config, const json& golden_run) {
  Deviation d;
  Events events;
  events.listen([&](const Event& e) {
    if (e.kind != "step") return;
    const size_t step = e.data["step"].get<size_t>() - 1;
    ASSERT_LT(step, golden_run["loss"].size());
    const auto relative = [&](const char* key) {
      if (!golden_run.contains(key)) return 0.0;
      const double ours = e.data[key], theirs = golden_run[key][step];
      EXPECT_TRUE(std::isfinite(ours));
      return theirs == 0 ? std::abs(ours) : std::abs(ours - theirs) / std::abs(theirs);
    };
    d.loss = std::max(d.loss, relative("loss"));
    d.grad_norm = std::max(d.grad_norm, relative("grad_norm"));
    d.learning_rate = std::max(d.learning_rate, relative("learning_rate"));
    ++d.steps;
  });
  train(config, events);
  return d;
}

}  // namespace sedum::parity
