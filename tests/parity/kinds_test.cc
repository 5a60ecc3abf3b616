// Kinds of adapters as PEFT trains them, and kinds of runs as PyTorch makes them, step by step.

#include "formats/numpy.h"
#include "model/checkpoint/export.h"
#include "model/checkpoint/merge.h"
#include "training_testing.h"

namespace sedum::parity {
namespace {

TrainConfig base_config(const fs::path& out) {
  TrainConfig config;
  config.output_dir = out.string();
  config.finetuning_type = "full";
  config.model_name_or_path = golden("models/llama").string();
  config.cutoff_len = 128;
  config.learning_rate = 5e-3f, config.weight_decay = 0, config.max_grad_norm = 1;
  config.lr_scheduler_type = Scheduler::kConstant;
  config.compute = Compute::kF32;
  config.shuffle = false, config.threads = 1;
  return config;
}

Difference adapter_logits(const fs::path& model, const fs::path& adapter, const std::string& name) {
  const NpyArray batches = read_npy(golden("kinds/batches.npy"));
  const auto ids = batches.values<int32_t>();
  const auto rows = size_t(batches.shape[1]), length = size_t(batches.shape[2]);
  std::vector<std::vector<int32_t>> sequences;
  for (size_t r = 0; r < rows; ++r)
    sequences.emplace_back(ids.begin() + long(r * length), ids.begin() + long((r + 1) * length));
  Runtime runtime(1);
  const RuntimeModel loaded(runtime, model, {.compute = Compute::kF32, .adapter = adapter});
  return difference(logits_of(loaded, sequences), read_npy(golden("kinds/" + name)).values<float>());
}

class AdapterKinds : public testing::TestWithParam<const char*> {};

// The curve of twenty steps; the trained adapter read again, beside the model and merged into it.
TEST_P(AdapterKinds, FollowPeft) {
  const std::string name = GetParam();
  const ScratchFolder run;
  TrainConfig config = base_config(run.path());
  config.stage = "pretrain", config.finetuning_type = "lora";
  config.model_name_or_path = golden("models/qwen2").string();
  config.adapter_name_or_path = golden("kinds/" + name).string();
  config.pretokenized = golden("kinds/batches.npy").string();
  const Deviation d = follow(config, golden_json("kinds/" + name + ".json"));
  EXPECT_EQ(d.steps, 20u);
  EXPECT_LE(d.loss, 1e-4);
  EXPECT_LE(d.grad_norm, 1e-3);  // a sum of squares of differences that rounding moves
  const Difference apart = adapter_logits(golden("models/qwen2"), run.path() / "adapter", name + ".logits.npy");
  EXPECT_LE(apart.relative(), 10 * kTolerance);
  Runtime runtime(1);
  const Checkpoint checkpoint = Checkpoint::open(golden("models/qwen2"));
  write_folder(run.path() / "merged", checkpoint, DType::kF32,
               merged_values(checkpoint, read_adapter(run.path() / "adapter", runtime.arena), runtime));
  const Difference merged = adapter_logits(run.path() / "merged", "", name + ".logits.npy");
  EXPECT_LE(merged.relative(), 10 * kTolerance);
  // The start is far from the end: what is compared was learnt.
  EXPECT_GT(adapter_logits(golden("models/qwen2"), golden("kinds/" + name), name + ".logits.npy").relative(), 0.01);
}

INSTANTIATE_TEST_SUITE_P(Peft, AdapterKinds,
                         testing::Values("dora", "rslora_bias", "saved", "patterns", "dora_norms"),
                         [](const auto& each) { return std::string(each.param); });

// LoRA on weights that bitsandbytes took to NF4 and back.
TEST(AdapterKinds, QloraFollowsBitsandbytes) {
  const ScratchFolder run;
  TrainConfig config = base_config(run.path());
  config.stage = "pretrain", config.finetuning_type = "qlora";
  config.model_name_or_path = golden("kinds/nf4_base").string();
  config.adapter_name_or_path = golden("kinds/nf4").string();
  config.pretokenized = golden("kinds/batches.npy").string();
  const Deviation d = follow(config, golden_json("kinds/nf4.json"));
  EXPECT_EQ(d.steps, 20u);
  EXPECT_LE(d.loss, 1e-4);
  EXPECT_LE(d.grad_norm, 1e-3);
  config.finetuning_type = "lora", config.output_dir = (run.path() / "lora").string();
  EXPECT_GT(follow(config, golden_json("kinds/nf4.json")).loss, 1e-3);  // the base as it is stored is another one
}

// PEFT makes two of a tied model's embeddings and head when it trains the former.
TEST(AdapterKinds, EmbeddingsOfTheirOwnOnATiedModel) {
  EXPECT_LE(adapter_logits(golden("models/qwen2_tied"), golden("kinds/untied"), "untied.logits.npy").relative(),
            kTolerance);
}

struct StageCase {
  const char *name, *stage, *pref_loss;
  double beta;
};
class Stages : public testing::TestWithParam<StageCase> {};

TrainConfig stage_config(const StageCase& c, const fs::path& out, bool packing) {
  TrainConfig config = base_config(out);
  config.stage = c.stage, config.pref_loss = c.pref_loss, config.preference.beta = c.beta;
  const std::string stage = c.stage;
  config.train_files = {
      golden(stage == "kto" ? "kinds/judged.jsonl" : config.prefers() ? "kinds/pairs.jsonl" : "kinds/rows.jsonl").string()};
  config.per_device_train_batch_size = packing ? 4 : 2, config.gradient_accumulation_steps = packing ? 1 : 2;
  config.max_steps = 12;
  const std::string name = c.name;
  if (name == "dpo_smoothed") config.preference.label_smoothing = 0.2;
  if (name == "ipo") config.learning_rate /= 5;
  if (name == "simpo") config.preference.gamma = 0.5;
  if (name == "kto") config.preference.undesirable_weight = 1.2;
  if (name == "smoothed") config.label_smoothing_factor = 0.1f;
  if (stage == "distill") {
    config.teacher_model_name_or_path = golden("models/llama_linear").string();
    config.temperature = 3, config.alpha = 0.7f;
  }
  return config;
}

// Cut into two micro-batches and undivided: means over pairs and over tokens are those of the whole update.
TEST_P(Stages, FollowPyTorch) {
  for (const bool whole : {false, true}) {
    const ScratchFolder run;
    TrainConfig config = stage_config(GetParam(), run.path(), whole);
    config.gradient_checkpointing = whole;
    const Deviation d = follow(config, golden_json("kinds/" + std::string(GetParam().name) + ".json"));
    EXPECT_EQ(d.steps, 12u);
    EXPECT_LE(d.loss, 1e-4) << (whole ? "undivided" : "in two parts");
    EXPECT_LE(d.grad_norm, 1e-3) << (whole ? "undivided" : "in two parts");
  }
}

INSTANTIATE_TEST_SUITE_P(PyTorch, Stages,
                         testing::Values(StageCase{"dpo", "dpo", "sigmoid", 0.3},
                                         StageCase{"dpo_smoothed", "dpo", "sigmoid", 0.3},
                                         StageCase{"ipo", "dpo", "ipo", 0.5}, StageCase{"hinge", "dpo", "hinge", 0.3},
                                         StageCase{"simpo", "dpo", "simpo", 2}, StageCase{"orpo", "orpo", "sigmoid", 0.3},
                                         StageCase{"kto", "kto", "sigmoid", 0.3},
                                         StageCase{"distill", "distill", "sigmoid", 0.1},
                                         StageCase{"smoothed", "sft", "sigmoid", 0.1}),
                         [](const auto& each) { return std::string(each.param.name); });

// What the log says beside the loss, as TRL names it.
TEST(Stages, DpoReportsMarginsAndAccuracy) {
  const ScratchFolder run;
  const json golden_run = golden_json("kinds/dpo.json");
  const TrainConfig config = stage_config({"dpo", "dpo", "sigmoid", 0.3}, run.path(), false);
  Events events;
  size_t steps = 0;
  events.listen([&](const Event& e) {
    if (e.kind != "step") return;
    const double margin = golden_run["rewards/margins"][steps], accuracy = golden_run["rewards/accuracies"][steps];
    EXPECT_NEAR(e.data["rewards/margins"].get<double>(), margin, 1e-4 * (1 + std::abs(margin))) << steps;
    if (steps > 0) {  // at the start policy and reference are one, up to rounding
      EXPECT_EQ(e.data["rewards/accuracies"].get<double>(), accuracy) << steps;
    }
    EXPECT_TRUE(e.data.contains("logps/chosen") && e.data.contains("data_share"));
    ++steps;
  });
  train(config, events);
  EXPECT_EQ(steps, 12u);
}

}  // namespace
}  // namespace sedum::parity
