// Kinds of runs, regularisation and batches: what must not depend on how a batch is cut or packed.

#include <cmath>

#include <gmock/gmock.h>

#include "base/file.h"
#include "base/json.h"
#include "data/shards.h"
#include "model/model_testing.h"
#include "train/planner.h"
#include "train/train.h"

namespace sedum {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;
using testing::problem_of;
using testing::ScratchFolder;

class Kinds : public ::testing::Test {
 protected:
  Kinds() {
    std::string rows, pairs, judged, texts;
    for (int i = 0; i < 12; ++i) {
      const std::string question = "What of " + std::to_string(i) + "?",
                        good = "It is " + std::string(size_t(i % 5) * 7 + 1, 'a'),
                        bad = "No" + std::string(size_t(i % 3) * 9, 'b');
      rows += json{{"instruction", question}, {"output", good}}.dump() + "\n";
      pairs += json{{"prompt", question}, {"chosen", good}, {"rejected", bad}}.dump() + "\n";
      judged += json{{"prompt", question}, {"completion", i % 2 ? good : bad}, {"label", i % 2 == 1}}.dump() + "\n";
      texts += json{{"text", question + " " + good}}.dump() + "\n";
    }
    write_file(folder_ / "rows.jsonl", rows), write_file(folder_ / "pairs.jsonl", pairs);
    write_file(folder_ / "judged.jsonl", judged), write_file(folder_ / "texts.jsonl", texts);
    config_.model_name_or_path = testing::tiny_model().string();
    config_.cutoff_len = 96, config_.threads = 1, config_.compute = Compute::kF32;
    config_.lora = {.r = 4, .lora_alpha = 8, .init_lora_weights = "false", .target_modules = {"all-linear"}};
    config_.max_steps = 3, config_.per_device_train_batch_size = 12, config_.learning_rate = 1e-3f;
    config_.lr_scheduler_type = Scheduler::kConstant;
  }
  void set_stage(const std::string& stage) {
    config_.stage = stage;
    const std::string file = stage == "kto"        ? "judged.jsonl"
                             : config_.prefers()   ? "pairs.jsonl"
                             : stage == "pretrain" ? "texts.jsonl"
                                                   : "rows.jsonl";
    config_.train_files = {(folder_ / file).string()};
    config_.teacher_model_name_or_path = stage == "distill" ? testing::tiny_model("llama_linear").string() : "";
  }
  std::vector<double> losses(const TrainConfig& config) {
    std::vector<double> all;
    Events events;
    events.listen([&](const Event& e) {
      if (e.kind == "step") all.push_back(e.data["loss"].get<double>());
    });
    TrainConfig copy = config;
    copy.output_dir = (folder_ / ("run" + std::to_string(runs_++))).string();
    train(copy, events);
    return all;
  }
  static void expect_close(const std::vector<double>& a, const std::vector<double>& b, const std::string& what) {
    ASSERT_EQ(a.size(), b.size());
    // Sums of the same numbers in another order, through three updates.
    for (size_t i = 0; i < a.size(); ++i)
      EXPECT_NEAR(a[i], b[i], 2e-5 * (1 + std::abs(a[i]))) << what << ", step " << i;
  }

  ScratchFolder folder_;
  TrainConfig config_;
  int runs_ = 0;
};

// A mixture of experts: its load-balancing loss is reported, weighs what is asked, and recomputation and threads change nothing.
TEST_F(Kinds, MixturesOfExperts) {
  set_stage("pretrain");
  config_.model_name_or_path.clear(), config_.finetuning_type = "full", config_.max_steps = 4;
  config_.tokenizer_name_or_path = testing::tiny_model().string();
  config_.model = json{{"model_type", "mixtral"},  {"vocab_size", 320},      {"hidden_size", 32},
                       {"intermediate_size", 32},  {"num_hidden_layers", 2}, {"num_attention_heads", 4},
                       {"num_key_value_heads", 2}, {"num_local_experts", 4}, {"num_experts_per_tok", 2}}
                      .dump();
  const std::vector<double> plain = losses(config_);
  TrainConfig balanced = config_;
  balanced.moe_aux_loss_coef = 0.5f;
  const std::vector<double> with = losses(balanced);
  EXPECT_NEAR(with[0] - plain[0], 0.5 * 2, 0.05);  // new routers are nearly even: k
  EXPECT_LT(with[3], with[0]);
  for (const bool recompute : {false, true})
    for (const int threads : {1, 3}) {
      TrainConfig other = balanced;
      other.gradient_checkpointing = recompute, other.threads = threads;
      if (recompute) {
        EXPECT_EQ(losses(other), with) << threads;
      } else {
        expect_close(losses(other), with, "not computed again");
      }
    }
  TrainConfig dense = balanced;
  dense.model.clear(), dense.model_name_or_path = testing::tiny_model().string(), dense.output_dir = folder_ / "dense";
  EXPECT_THAT(problem_of([&] {
                Events events;
                train(dense, events);
              }),
              HasSubstr("no mixture of experts"));
}

// Rows of unequal length, undivided, in unequal micro-batches, packed: the same losses, with every kind of noise.
TEST_F(Kinds, LossesDoNotDependOnTheCut) {
  for (const char* stage : {"sft", "dpo", "orpo", "kto", "distill"}) {
    set_stage(stage);
    TrainConfig noisy = config_;
    noisy.lora.lora_dropout = 0.2f, noisy.attention_dropout = 0.1f, noisy.resid_pdrop = 0.1f, noisy.embd_pdrop = 0.1f;
    noisy.neftune_noise_alpha = 5;
    const std::vector<double> whole = losses(noisy);
    EXPECT_NE(whole, losses(config_)) << stage;  // the noise is there
    TrainConfig parts = noisy;
    parts.per_device_train_batch_size = 3, parts.gradient_accumulation_steps = 4;
    expect_close(whole, losses(parts), std::string(stage) + " in parts");
    TrainConfig packed = noisy;
    packed.packing = true, packed.gradient_checkpointing = !noisy.gradient_checkpointing;
    expect_close(whole, losses(packed), std::string(stage) + " packed");
  }
}

TEST_F(Kinds, ThreadsChangeNoBitOfNoise) {
  set_stage("sft");
  config_.lora.lora_dropout = 0.2f, config_.attention_dropout = 0.1f, config_.neftune_noise_alpha = 5;
  const std::vector<double> one = losses(config_);
  config_.threads = 2;
  EXPECT_EQ(one, losses(config_));
}

// A uniform guess over 320 tokens: ln 320, up to what small random logits add.
TEST_F(Kinds, FromRandomWeights) {
  set_stage("pretrain");
  config_.finetuning_type = "full", config_.model_name_or_path = "";
  config_.model = R"({"model_type": "llama", "vocab_size": 320, "hidden_size": 32, "intermediate_size": 64,
                      "num_hidden_layers": 2, "num_attention_heads": 4, "max_position_embeddings": 128})";
  config_.tokenizer_name_or_path = testing::tiny_model().string();
  const std::vector<double> a = losses(config_);
  EXPECT_NEAR(a[0], std::log(320.0), 0.05);
  EXPECT_LT(a[2], a[0]);
  EXPECT_EQ(a, losses(config_));
  const std::filesystem::path model = folder_ / "run0" / "model";
  EXPECT_EQ(Checkpoint::open(model).config().num_hidden_layers, 2);
  EXPECT_TRUE(Checkpoint::open(model).has_tokenizer());
  config_.seed = 7;
  EXPECT_NE(a, losses(config_));
  // The same sizes out of a config.json.
  config_.seed = 42, config_.model_name_or_path = (model / "config.json").string(), config_.model = "";
  config_.train_from_scratch = true;
  EXPECT_EQ(a, losses(config_));
  config_.model_name_or_path = (folder_ / "none").string();
  EXPECT_THAT(problem_of([&] { losses(config_); }), HasSubstr("does not exist"));
}

// Texts in memory and packed on disk are the same blocks, whether documents see one another or not.
TEST_F(Kinds, ShardsAreTheTexts) {
  set_stage("pretrain");
  config_.finetuning_type = "full", config_.cutoff_len = 40, config_.per_device_train_batch_size = 2;
  const Checkpoint checkpoint = Checkpoint::open(testing::tiny_model());
  data::SampleEncoder encoder(*checkpoint.tokenizer(), nullptr, {.train_on_prompt = true});
  data::pack_tokens({folder_ / "texts.jsonl"}, encoder, *checkpoint.tokenizer(), folder_ / "tokens", {});
  for (const bool packing : {false, true}) {
    config_.packing = packing;
    config_.train_files = {(folder_ / "texts.jsonl").string()};
    const std::vector<double> texts = losses(config_);
    config_.train_files = {(folder_ / "tokens").string()};
    EXPECT_EQ(texts, losses(config_)) << packing;
  }
  config_.stage = "sft";
  EXPECT_THAT(problem_of([&] { losses(config_); }), HasSubstr("stage: pretrain"));
}

// The reference is asked once: a run that goes on reads what it said.
TEST_F(Kinds, PreferencesGoOn) {
  set_stage("dpo");
  config_.lora.init_lora_weights = "true";
  config_.output_dir = (folder_ / "run").string(), config_.save_steps = 1, config_.per_device_train_batch_size = 4;
  config_.eval_files = config_.train_files;
  Events events;
  std::vector<double> last;
  events.listen([&](const Event& e) {
    if (e.kind != "eval") return;
    last.push_back(e.data["eval_loss"].get<double>());
    EXPECT_TRUE(e.data.contains("eval_rewards/accuracies"));
  });
  const TrainResult first = train(config_, events);
  ASSERT_TRUE(std::filesystem::exists(folder_ / "run" / "reference_log_probs.npy"));
  std::filesystem::remove_all(folder_ / "run" / "checkpoint-3");
  EXPECT_EQ(train(config_, events).eval_loss_after, first.eval_loss_after);
  EXPECT_NEAR(last[0], std::log(2.0), 1e-6);  // policy and reference begin as one
}

// In the shape-only mode every stage runs its own operators.
TEST_F(Kinds, EveryStageIsPlanned) {
  config_.output_dir = (folder_ / "run").string();
  for (const char* stage : {"sft", "pretrain", "dpo", "orpo", "kto", "distill"}) {
    set_stage(stage);
    const Plan p = plan(config_);
    EXPECT_EQ(p.steps, 3) << stage;
    EXPECT_GT(p.longest_step, 0) << stage;
    uint64_t sum = 0;
    for (const PlanLine& line : p.memory) sum += line.bytes;
    EXPECT_EQ(p.anonymous_bytes, sum) << stage;
  }
}

TEST_F(Kinds, AnotherTeachersVocabularyIsRefused) {
  set_stage("distill");
  config_.teacher_model_name_or_path = testing::tiny_model("llama_scaled").string();
  EXPECT_THAT(problem_of([&] { losses(config_); }), HasSubstr("vocabulary"));
}

}  // namespace
}  // namespace sedum
