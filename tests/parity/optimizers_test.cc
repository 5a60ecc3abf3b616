// Fifty steps of each optimizer, step by step as PyTorch and transformers make them.

#include <gtest/gtest.h>

#include "training_testing.h"

namespace sedum::parity {
namespace {

// The recipe of a golden entry, told in its own words.
TrainConfig config_of(const json& entry, const fs::path& out) {
  json recipe = entry["recipe"];
  recipe["stage"] = "pretrain", recipe["finetuning_type"] = "full", recipe["compute"] = "f32", recipe["threads"] = 1;
  recipe["model_name_or_path"] = golden("train/model").string(), recipe["output_dir"] = out.string();
  recipe["data"] = {{"pretokenized", golden("train/batches.npy").string()}};
  recipe["cutoff_len"] = 24;
  return parse_train_config(recipe.dump(), {}, "golden recipe");
}

TEST(Optimizers, FollowPyTorch) {
  for (const json& entry : golden_json("train/optimizers.json")) {
    SCOPED_TRACE(entry["recipe"].dump());
    const ScratchFolder run;
    const Deviation d = follow(config_of(entry, run.path()), entry);
    std::printf("  %s: loss %.1e, grad_norm %.1e\n", entry["recipe"]["optim"].get<std::string>().c_str(), d.loss,
                d.grad_norm);
    EXPECT_EQ(d.steps, entry["loss"].size());
    EXPECT_LE(d.loss, 1e-4);
    EXPECT_LE(d.grad_norm, 1e-4);
  }
}

// 8-bit moments are another optimizer within AdamW's noise: how far its losses are from AdamW's is what another order of batches also does.
TEST(Optimizers, EightBitMomentsStayWithAdamW) {
  const json entry = golden_json("train/full.json");
  const auto final_losses = [&](const char* optim, std::vector<double>& losses) {
    const ScratchFolder run;
    json recipe{{"optim", optim}, {"learning_rate", entry["peak_learning_rate"]}, {"weight_decay", entry["weight_decay"]},
                {"max_grad_norm", entry["max_grad_norm"]}, {"warmup_steps", entry["warmup_steps"]}};
    Events events;
    events.listen([&](const Event& e) {
      if (e.kind == "step") losses.push_back(e.data["loss"]);
    });
    train(config_of({{"recipe", recipe}}, run.path()), events);
  };
  std::vector<double> exact, coded;
  final_losses("adamw", exact), final_losses("adamw_8bit", coded);
  ASSERT_EQ(coded.size(), exact.size());
  double largest = 0, mean = 0;
  for (size_t i = 0; i < exact.size(); ++i) {
    largest = std::max(largest, std::abs(coded[i] - exact[i]) / exact[i]);
    if (i >= 40) mean += (coded[i] - exact[i]) / exact[i] / 10;
  }
  std::printf("  largest relative deviation of a loss %.1e, mean of the last ten %.1e\n", largest, mean);
  EXPECT_GT(largest, 0);      // it is not the same optimizer
  EXPECT_LE(largest, 0.05);   // a tenth of what the loss of neighbouring batches differs by
  EXPECT_LE(std::abs(mean), 0.01);
}

}  // namespace
}  // namespace sedum::parity
