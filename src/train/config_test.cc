#include "train/config.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace sedum {
namespace {

const char* const kSmall = "model_name_or_path: m.gguf\noutput_dir: runs/a\ndata: {train: [a.jsonl]}\n";

std::string problem(const std::string& yaml, const std::vector<std::string>& overrides = {}) {
  try {
    parse_train_config(yaml, overrides, "r.yaml");
    return "";
  } catch (const Error& e) {
    return e.what();
  }
}

TEST(TrainConfig, ReadsAndOverrides) {
  const TrainConfig c =
      parse_train_config(std::string(kSmall) + "learning_rate: 1e-3\ntarget_modules: [q_proj, v_proj]\n",
                         {"learning_rate=2e-4", "data.eval=e.jsonl", "compute=f32"}, "r.yaml");
  EXPECT_FLOAT_EQ(c.learning_rate, 2e-4f);
  EXPECT_EQ(c.eval_files, std::vector<std::string>{"e.jsonl"});
  EXPECT_EQ(c.train_files, std::vector<std::string>{"a.jsonl"});
  EXPECT_EQ(c.lora.target_modules, (std::vector<std::string>{"q_proj", "v_proj"}));
  EXPECT_EQ(c.compute, Compute::kF32);
}

TEST(TrainConfig, MisspeltKeysGetTheNearest) {
  EXPECT_EQ(problem(std::string(kSmall) + "learning_rte: 1\n"),
            "r.yaml:4: the key \"learning_rte\" is not known. did you mean learning_rate?");
  EXPECT_EQ(problem(kSmall, {"data.trian=x"}),
            "the override data.trian=x: the key \"data.trian\" is not known. did you mean data.train?");
}

TEST(TrainConfig, ValuesAreChecked) {
  EXPECT_NE(problem(std::string(kSmall) + "learning_rate: fast\n").find("r.yaml:4: the value of learning_rate"),
            std::string::npos);
  EXPECT_NE(problem(std::string(kSmall) + "learning_rate: -1\n").find("above 0"), std::string::npos);
  EXPECT_NE(problem(std::string(kSmall) + "lr_scheduler_type: cosin\n")
                .find("choose one of constant, constant_with_warmup, linear, cosine"),
            std::string::npos);
  EXPECT_NE(
      problem(std::string(kSmall) + "lr_scheduler_type: constant\nwarmup_ratio: 0.1\n").find("constant_with_warmup"),
      std::string::npos);
  EXPECT_NE(problem(std::string(kSmall) + "lr_scheduler_kwargs: {num_cycle: 2}\n")
                .find("did you mean lr_scheduler_kwargs.num_cycles?"),
            std::string::npos);
  EXPECT_NE(problem(std::string(kSmall) + "lr_scheduler_type: warmup_stable_decay\n").find("num_decay_steps"),
            std::string::npos);
  EXPECT_NE(problem("output_dir: x\n").find("model_name_or_path is missing"), std::string::npos);
  EXPECT_NE(problem("a: [1\n").find("r.yaml:"), std::string::npos);
  EXPECT_NE(problem("[]").find("not a mapping"), std::string::npos);
  EXPECT_NE(problem(kSmall, {"threads"}).find("key=value"), std::string::npos);
}

TEST(TrainConfig, CanonicalIgnoresWhatChangesNoNumber) {
  const auto text = [](const std::string& more) { return parse_train_config(kSmall + more, {}, "r").canonical(); };
  EXPECT_EQ(text("threads: 1\n"), text("threads: 2\n"));
  EXPECT_NE(text("seed: 1\n"), text("seed: 2\n"));
}

TEST(TrainConfig, TargetsAsPeftTakesThem) {
  const auto lora = [](const std::string& more) { return parse_train_config(kSmall + more, {}, "r").lora; };
  EXPECT_EQ(lora("").target_modules, std::vector<std::string>{"all-linear"});
  EXPECT_EQ(lora("target_modules: [q_proj, v_proj]\n").target_modules, (std::vector<std::string>{"q_proj", "v_proj"}));
  EXPECT_EQ(lora("target_modules: q_proj, v_proj\n").target_modules, (std::vector<std::string>{"q_proj", "v_proj"}));
  const LoraConfig pattern = lora("target_modules: '.*\\.(q|v)_proj'\n");
  EXPECT_EQ(pattern.target_pattern, ".*\\.(q|v)_proj");
  EXPECT_TRUE(pattern.target_modules.empty());
  EXPECT_EQ(lora("rank_pattern: {v_proj: 4}\n").rank_pattern.at("v_proj"), 4);
  EXPECT_EQ(lora("init_lora_weights: False\n").init_lora_weights, "false");
  EXPECT_NE(problem(std::string(kSmall) + "bias: some\n").find("choose one of none, all, lora_only"),
            std::string::npos);
  EXPECT_NE(problem(std::string(kSmall) + "target_modules: '(q'\n").find("no regular expression"), std::string::npos);
}

TEST(TrainConfig, KindsOfRuns) {
  const std::string dpo = std::string(kSmall) + "stage: dpo\n";
  EXPECT_EQ(parse_train_config(dpo + "pref_loss: ipo\n", {}, "r").preference_options().loss, "ipo");
  EXPECT_EQ(parse_train_config(std::string(kSmall) + "stage: orpo\n", {}, "r").preference_options().loss, "orpo");
  EXPECT_NE(problem(dpo + "pref_beta: 0\n").find("pref_beta"), std::string::npos);
  EXPECT_NE(problem(dpo + "label_smoothing_factor: 0.1\n").find("sft and pretrain"), std::string::npos);
  EXPECT_NE(problem(std::string(kSmall) + "stage: distill\n").find("teacher_model_name_or_path is missing"),
            std::string::npos);
  EXPECT_NE(problem(std::string(kSmall) + "attention_dropout: 1\n").find("attention_dropout"), std::string::npos);
  EXPECT_NE(problem(std::string(kSmall) + "train_from_scratch: true\n").find("finetuning_type: full"),
            std::string::npos);
}

TEST(TrainConfig, AModelsSizesInTheRecipe) {
  const TrainConfig c = parse_train_config(
      "model: {model_type: llama, hidden_size: 64, rms_norm_eps: 1e-5, tie_word_embeddings: true, name: '7'}\n"
      "finetuning_type: full\noutput_dir: x\ndata: {train: a}\n",
      {}, "r");
  EXPECT_TRUE(c.from_scratch());
  EXPECT_EQ(c.model,
            R"({"model_type":"llama","hidden_size":64,"rms_norm_eps":1e-05,"tie_word_embeddings":true,"name":"7"})");
}

}  // namespace
}  // namespace sedum
