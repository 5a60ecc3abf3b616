// The run as a whole: rows, steps, log, plan.

#include "train/train.h"

#include <cmath>
#include <set>

#include <gmock/gmock.h>

#include "base/file.h"
#include "base/json.h"
#include "base/random.h"
#include "compute/kernels/product_terms.h"
#include "model/model_testing.h"
#include "train/diagnosis.h"
#include "train/gate.h"
#include "train/log.h"
#include "train/planner.h"

namespace sedum {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;
using testing::problem_of;
using testing::ScratchFolder;

class Run : public ::testing::Test {
 protected:
  Run() {
    std::string rows;
    for (int i = 0; i < 12; ++i)
      rows +=
          json{{"instruction", std::to_string(i) + "?"}, {"output", std::string(size_t(i % 4) + 1, 'a')}}.dump() + "\n";
    write_file(folder_ / "rows.jsonl", rows);
    config_.model_name_or_path = testing::tiny_model().string(), config_.output_dir = (folder_ / "run").string();
    config_.train_files = {(folder_ / "rows.jsonl").string()};
    config_.finetuning_type = "full", config_.cutoff_len = 64, config_.threads = 1, config_.compute = Compute::kF32;
    config_.lora = {.r = 4, .lora_alpha = 8, .target_modules = {"all-linear"}};
    config_.max_steps = 4, config_.per_device_train_batch_size = 2, config_.learning_rate = 1e-3f;
  }
  std::vector<json> metrics() const {
    std::vector<json> lines;
    std::istringstream in(read_file(folder_ / "run" / "metrics.jsonl"));
    for (std::string line; std::getline(in, line);) lines.push_back(parse_json(line));
    return lines;
  }
  ScratchFolder folder_;
  TrainConfig config_;
  Events events_;
};

TEST_F(Run, SplitsEvaluationRowsOff) {
  config_.eval_fraction = 0.25;
  const TrainData data = load_train_data(config_, Checkpoint::open(testing::tiny_model()));
  EXPECT_EQ(data.eval.size(), 3u);
  EXPECT_EQ(data.train->rows(), 9);
}

TEST_F(Run, StepsFollowFromEpochsOrAreGiven) {
  const Checkpoint checkpoint = Checkpoint::open(testing::tiny_model());
  const TrainData data = load_train_data(config_, checkpoint);
  EXPECT_EQ(total_steps(config_, data), 4);
  config_.max_steps = 0, config_.num_train_epochs = 2.5;
  EXPECT_EQ(total_steps(config_, data), 15);
  config_.num_train_epochs = 0.01;
  EXPECT_EQ(total_steps(config_, data), 1);
  config_.max_samples = 5, config_.num_train_epochs = 1;
  EXPECT_EQ(total_steps(config_, load_train_data(config_, checkpoint)), 3);
}

// A batch in one piece or in micro-batches of unequal size: the same gradient, up to the order of sums.
TEST_F(Run, AccumulationIsWeightedByTokens) {
  const auto gradients = [&](int batch, int accumulation) {
    TrainConfig c = config_;
    c.per_device_train_batch_size = batch, c.gradient_accumulation_steps = accumulation, c.shuffle = false;
    Runtime runtime(1);
    const TrainableModel t = build_trainable(c, runtime, runtime.arena);
    const TrainData data = load_train_data(c, t.checkpoint);
    Context ctx = runtime.context(Compute::kF32);
    Tape tape;
    double loss = 0;
    for (int micro = 0; micro < accumulation; ++micro)
      loss +=
          train_on(ctx, tape, *t.model, data.train->batch(0, micro), double(data.train->label_tokens(0)), micro % 2);
    std::vector<double> out{loss};
    for (const Variable& p : t.parameters) {
      double squares = 0;
      for (int64_t i = 0; i < p.gradient().count(); ++i) squares += std::pow(double(p.gradient().data<float>()[i]), 2);
      out.push_back(std::sqrt(squares));
    }
    return out;
  };
  const auto whole = gradients(12, 1);
  EXPECT_GT(whole[0], 1);
  for (const auto& pieces : {gradients(4, 3), gradients(3, 4), gradients(1, 12)})
    for (size_t i = 0; i < whole.size(); ++i) EXPECT_NEAR(pieces[i], whole[i], 1e-5 * whole[i] + 1e-7) << i;
}

TEST_F(Run, RecomputationGivesTheSameBits) {
  const auto norms = [&](bool recompute) {
    Runtime runtime(1);
    const TrainableModel t = build_trainable(config_, runtime, runtime.arena);
    const TrainData data = load_train_data(config_, t.checkpoint);
    Context ctx = runtime.context(Compute::kF32);
    Tape tape;
    std::vector<double> out{train_on(ctx, tape, *t.model, data.train->batch(0), 10, recompute)};
    for (const Variable& p : t.parameters)
      for (int64_t i = 0; i < p.gradient().count(); ++i) out.push_back(p.gradient().data<float>()[i]);
    return out;
  };
  EXPECT_EQ(norms(true), norms(false));
}

// A frozen base multiplied in int8: activations and gradients are rounded to 1/254 of their block's largest at most, so loss and gradients
// stay near the exact ones; and the base really is multiplied that way, forward and backward.
TEST_F(Run, AFrozenBaseMultipliedInInt8StaysNearTheExactOne) {
  config_.finetuning_type = "lora";
  const auto gradients = [&](Compute compute) {
    TrainConfig c = config_;
    c.compute = compute;
    Runtime runtime(1);
    const TrainableModel t = build_trainable(c, runtime, runtime.arena);
    EXPECT_EQ(t.packed_bytes > 0, compute == Compute::kInt8);
    const TrainData data = load_train_data(c, t.checkpoint);
    Context ctx = runtime.context(compute);
    for (Variable p : t.parameters)  // B begins with zeros, and A would have no gradient
      for (int64_t i = 0; i < p.value().count(); ++i)
        p.value().data<float>()[i] += 0.02f * Random(5, Purpose::kTest).normal(uint64_t(i));
    Tape tape;
    std::vector<double> out{train_on(ctx, tape, *t.model, data.train->batch(0), 10, false)};
    for (const Variable& p : t.parameters)
      for (int64_t i = 0; i < p.gradient().count(); ++i) out.push_back(p.gradient().data<float>()[i]);
    return out;
  };
  const auto exact = gradients(Compute::kF32), rounded = gradients(Compute::kInt8);
  EXPECT_NEAR(rounded[0], exact[0], 0.01 * exact[0]);
  double product = 0, squares = 0, other = 0;
  for (size_t i = 1; i < exact.size(); ++i)
    product += exact[i] * rounded[i], squares += exact[i] * exact[i], other += rounded[i] * rounded[i];
  EXPECT_GT(product / std::sqrt(squares * other), 0.995);  // the angle between the two gradients
  EXPECT_NE(rounded, exact);
}

TEST_F(Run, EvaluationIsTheMeanOverLabels) {
  Runtime runtime(1);
  const TrainableModel t = build_trainable(config_, runtime, runtime.arena);
  config_.eval_files = config_.train_files;
  const TrainData data = load_train_data(config_, t.checkpoint);
  Context ctx = runtime.context(Compute::kF32);
  double sum = 0, labels = 0;
  for (const data::Sample& sample : data.eval) {
    const double n = double(
        std::count_if(sample.labels.begin(), sample.labels.end(), [](int32_t l) { return l != data::kIgnored; }));
    sum += n * evaluate_loss(ctx, *t.model, {sample}), labels += n;
  }
  EXPECT_NEAR(evaluate_loss(ctx, *t.model, data.eval), sum / labels, 1e-5);
}

TEST_F(Run, LossFallsAndTheLogTellsIt) {
  config_.max_steps = 30, config_.learning_rate = 1e-2f, config_.eval_files = config_.train_files;
  std::vector<std::string> kinds;
  events_.listen([&](const Event& e) { kinds.push_back(e.kind); });
  const TrainResult result = train(config_, events_);
  EXPECT_LT(result.eval_loss_after, 0.5 * result.eval_loss_before);
  EXPECT_EQ(kinds.front(), "start");
  EXPECT_EQ(kinds.back(), "end");
  EXPECT_EQ(std::count(kinds.begin(), kinds.end(), "step"), 30);
  const auto lines = metrics();
  ASSERT_EQ(lines.size(), 32u);  // and two evaluations
  for (size_t i = 1; i <= 30; ++i) {
    EXPECT_EQ(lines[i]["step"], i);
    for (const char* key : {"loss", "grad_norm", "learning_rate", "tokens", "tokens_seen", "tokens_per_second"})
      EXPECT_TRUE(lines[i].contains(key)) << key;
  }
  const json run = parse_json(read_file(folder_ / "run" / "run.json"));
  EXPECT_EQ(run["result"]["steps"], 30);
  EXPECT_FALSE(run["tokenizer_hash"].get<std::string>().empty());
  EXPECT_TRUE(std::filesystem::exists(folder_ / "run" / "model" / "config.json"));
}

// A run that is started again at its end changes nothing in its log.
TEST_F(Run, AFinishedRunAgain) {
  config_.eval_files = config_.train_files, config_.eval_steps = 2, config_.save_steps = 2;
  train(config_, events_);
  const auto before = metrics();
  const TrainResult again = train(config_, events_);
  EXPECT_EQ(metrics(), before);
  EXPECT_NEAR(again.eval_loss_before, before[0]["eval_loss"].get<double>(), 1e-12);
}

TEST_F(Run, TheLogForgetsWhatWillBeDoneAgain) {
  std::filesystem::create_directories(folder_ / "run");
  write_file(folder_ / "run" / "metrics.jsonl",
             "{\"step\":0,\"eval_loss\":2.5}\n{\"step\":1,\"loss\":1}\n{\"step\":2,\"loss\":1}\n{\"step\":3,\"loss\":1}"
             "\n{\"step\":4,\"lo");
  const RunLog log(folder_ / "run", 2, events_);
  const auto kept = metrics();
  ASSERT_EQ(kept.size(), 3u);
  EXPECT_EQ(kept[2]["step"], 2);
  EXPECT_EQ(log.eval_loss_before(), 2.5);
}

TEST_F(Run, ALossThatIsNoNumberEndsItAndIsTracedBack) {
  config_.learning_rate = 1e30f, config_.max_grad_norm = 0, config_.max_steps = 20,
  config_.lr_scheduler_type = Scheduler::kConstant;
  const std::string problem = problem_of([&] { train(config_, events_); });
  EXPECT_THAT(problem, HasSubstr("lower learning_rate"));
  EXPECT_THAT(problem, HasSubstr("step 2: the loss is"));
  EXPECT_THAT(problem, HasSubstr("row"));
  EXPECT_FALSE(std::filesystem::exists(folder_ / "run" / "model"));
}

// One weight is made infinite: the operator of that layer is named, and the row of the token.
TEST_F(Run, ANumberThatIsNoneIsNamedWithLayerAndRow) {
  Runtime runtime(1);
  const TrainableModel t = build_trainable(config_, runtime, runtime.arena);
  const TrainData data = load_train_data(config_, t.checkpoint);
  Context ctx = runtime.context(Compute::kF32);
  const auto objective = make_objective(config_, t, data, runtime, runtime.arena);
  for (Variable p : t.parameters)
    if (p.name() == "model.layers.1.mlp.up_proj.weight") {
      p.value().data<float>()[3] = INFINITY;
      EXPECT_THAT(diagnose(ctx, config_, t, *data.train, *objective, 0),
                  HasSubstr("the parameter model.layers.1.mlp.up_proj.weight"));
      std::fill_n(p.value().data<float>(), 40, 3e38f);  // numbers themselves, but not their products
    }
  const std::string found = diagnose(ctx, config_, t, *data.train, *objective, 0);
  EXPECT_THAT(found, HasSubstr("linear of model.layers.1.mlp.up_proj.weight gave"));
  EXPECT_THAT(found, HasSubstr("in the training row "));
}

TEST_F(Run, EveryResultIsLookedAtWhenAsked) {
  config_.debug_nan = true;
  train(config_, events_);  // nothing to be found
  config_.overwrite_output_dir = true, config_.learning_rate = 1e30f, config_.max_grad_norm = 0;
  EXPECT_THAT(problem_of([&] { train(config_, events_); }), HasSubstr(" gave "));
}

TEST_F(Run, StopsEarlyAndKeepsTheBest) {
  config_.eval_files = config_.train_files, config_.eval_steps = 2, config_.max_steps = 40;
  config_.learning_rate = 1e-2f, config_.lr_scheduler_type = Scheduler::kConstant;
  config_.early_stopping_patience = 2, config_.early_stopping_threshold = 100;  // nothing is ever enough
  config_.load_best_model_at_end = true, config_.save_total_limit = 1;
  const TrainResult result = train(config_, events_);
  EXPECT_EQ(result.steps, 6);  // the first evaluation sets the mark, two later ones do not pass it
  const auto lines = metrics();
  double best = 1e9;
  for (const json& line : lines)
    if (line.contains("eval_loss") && line["step"] > 0) best = std::min(best, line["eval_loss"].get<double>());
  EXPECT_NEAR(result.eval_loss_after, best, 1e-9);
  EXPECT_EQ(train(config_, events_).steps, 6);  // again: stopped is stopped
  EXPECT_EQ(metrics(), lines);
}

TEST_F(Run, TheBestIsNotTheLast) {
  config_.eval_files = config_.train_files, config_.eval_steps = 1, config_.max_steps = 6;
  config_.lr_scheduler_type = Scheduler::kConstant, config_.load_best_model_at_end = true;
  config_.metric_for_best_model = "loss", config_.greater_is_better = true;  // the worst, that is
  const TrainResult result = train(config_, events_);
  EXPECT_EQ(result.best_step, 1);
  EXPECT_TRUE(std::filesystem::exists(folder_ / "run" / "checkpoint-1"));
  Runtime runtime(1);
  TrainConfig written = config_;
  written.model_name_or_path = (folder_ / "run" / "model").string();
  const TrainableModel t = build_trainable(written, runtime, runtime.arena);
  Context ctx = runtime.context(Compute::kF32);
  const TrainData data = load_train_data(written, t.checkpoint);
  EXPECT_NEAR(evaluate_loss(ctx, *t.model, data.eval), metrics()[2]["eval_loss"].get<double>(), 1e-6);
  config_.overwrite_output_dir = true, config_.metric_for_best_model = "accuracy";
  EXPECT_THAT(problem_of([&] { train(config_, events_); }), HasSubstr("evaluations have no accuracy"));
}

TEST_F(Run, OutliersAreLeftOut) {
  // Nothing is learnt: by this threshold every loss above the mean of the last 128 is an outlier.
  config_.max_steps = 140, config_.skip_update_lossz = 1e-9, config_.learning_rate = 1e-9f;
  train(config_, events_);
  int skipped = 0;
  for (const json& line : metrics()) {
    if (!line.contains("skipped")) continue;
    ++skipped;
    EXPECT_GT(line["step"].get<int>(), 128);
    EXPECT_THAT(line["skipped"].get<std::string>(), HasSubstr("deviations"));
  }
  EXPECT_TRUE(skipped > 0 && skipped < 12) << skipped;
}

TEST_F(Run, AFailureIsOne) {
  TrainResult result{.eval_loss_after = std::nan("")};
  config_.finetuning_type = "lora";
  EXPECT_TRUE(failures(config_, 320, result, {9, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1}, true).empty());
  EXPECT_THAT(failures(config_, 320, result, {6, 6}, true), ::testing::ElementsAre(HasSubstr("ln(vocabulary) = 5.77")));
  EXPECT_THAT(failures(config_, 320, result, {1}, false), ::testing::ElementsAre("the adapter never changed"));
  EXPECT_TRUE(failures(config_, 320, result, {}, false).empty());  // nothing was left to do
  result.eval_loss_after = 6;
  EXPECT_EQ(failures(config_, 320, result, {1}, true).size(), 1u);
}

// Every optimizer and every precision: a run that was torn off in the middle ends with the same bits as one that was not.
TEST_F(Run, ResumesToTheSameBits) {
  const TrainConfig plain = config_;
  std::vector<TrainConfig> cases;
  for (const OptimizerKind optim : {OptimizerKind::kAdamW, OptimizerKind::kAdamW8Bit, OptimizerKind::kAdam,
                                    OptimizerKind::kSgd, OptimizerKind::kAdafactor, OptimizerKind::kMuon}) {
    TrainConfig c = plain;
    c.optim = optim;
    if (optim == OptimizerKind::kSgd) c.momentum = 0.9f;
    cases.push_back(c);
    c.compute = Compute::kBF16, c.pure_bf16 = true;
    cases.push_back(c);
  }
  for (const Compute compute : {Compute::kBF16, kF16Products}) {
    TrainConfig c = plain;
    c.compute = compute, c.initial_scale_power = 18, c.loss_scale_window = 2;  // overflows, and grows again
    cases.push_back(c);
    c.finetuning_type = "lora";
    cases.push_back(c);
  }
  for (TrainConfig c : cases) {
    SCOPED_TRACE(c.canonical());
    c.max_steps = 6, c.save_steps = 2, c.save_total_limit = 9, c.weight_decay = 0.1f, c.skip_update_gradz = 3;
    c.gradient_accumulation_steps = 2, c.gradient_checkpointing = false;
    c.output_dir = (folder_ / "whole").string(), c.overwrite_output_dir = true;
    train(c, events_);
    c.output_dir = (folder_ / "torn").string();
    Events tearing;
    tearing.listen([](const Event& e) {
      if (e.kind == "step" && e.data["step"] == 5) throw Error("torn off");
    });
    EXPECT_EQ(problem_of([&] { train(c, tearing); }), "torn off");
    c.overwrite_output_dir = false;
    train(c, events_);
    const auto state = [&](const char* run) { return read_file(folder_ / run / "checkpoint-6" / "state.safetensors"); };
    EXPECT_TRUE(state("whole") == state("torn"));
    EXPECT_FALSE(state("whole") == read_file(folder_ / "whole" / "checkpoint-4" / "state.safetensors"));
    EXPECT_EQ(read_file(folder_ / "whole" / "checkpoint-6" / "state.json"),
              read_file(folder_ / "torn" / "checkpoint-6" / "state.json"));
  }
}

// Beyond f16 a step is left out and the scale halved; after `loss_scale_window` good steps it is doubled. Adam counts the updates that were made.
TEST_F(Run, F16FindsItsLossScaleAndLearnsAsF32Does) {
  config_.max_steps = 40, config_.learning_rate = 1e-2f, config_.eval_files = config_.train_files;
  const TrainResult exact = train(config_, events_);
  config_.compute = kF16Products, config_.overwrite_output_dir = true;
  config_.initial_scale_power = 20, config_.loss_scale_window = 5;
  const TrainResult result = train(config_, events_);
  // Some steps are left out; the loss falls all the same.
  EXPECT_LT(result.eval_loss_after, 0.5 * result.eval_loss_before);
  EXPECT_NEAR(result.eval_loss_before, exact.eval_loss_before, 2e-3 * exact.eval_loss_before);
  double scale = 0x1p20;
  int skipped = 0, good = 0;
  bool grew = false;
  for (const json& line : metrics()) {
    if (!line.contains("loss")) continue;
    EXPECT_EQ(line["loss_scale"].get<double>(), scale);
    if (line.contains("skipped")) {
      EXPECT_THAT(line["skipped"].get<std::string>(), HasSubstr("beyond f16 at loss scale"));
      EXPECT_TRUE(line["grad_norm"].is_null());
      scale /= 2, good = 0, ++skipped;
    } else if (++good == 5) {
      scale *= 2, good = 0, grew = true;
    }
  }
  EXPECT_TRUE(skipped > 0 && skipped < 20 && grew) << skipped;
}

// Without a scale gradients below f16's least number (6e-8) vanish; with it they are f32's to f16's eleven bits.
TEST_F(Run, TheLossScaleKeepsSmallGradients) {
  const auto gradients = [&](Compute compute, double scale) {
    Runtime runtime(1);
    const TrainableModel t = build_trainable(config_, runtime, runtime.arena);
    const TrainData data = load_train_data(config_, t.checkpoint);
    Context ctx = runtime.context(compute);
    Tape tape;
    train_on(ctx, tape, *t.model, data.train->batch(0), 1e6 / scale, false);  // as if a million tokens shared the mean
    std::vector<double> out;
    for (const Variable& p : t.parameters)
      for (int64_t i = 0; i < p.gradient().count(); ++i) out.push_back(double(p.gradient().data<float>()[i]) / scale);
    return out;
  };
  const auto exact = gradients(Compute::kF32, 1);
  const auto distance = [&](const std::vector<double>& g) {
    double error = 0, size = 0;
    for (size_t i = 0; i < g.size(); ++i) error += std::pow(g[i] - exact[i], 2), size += exact[i] * exact[i];
    return std::sqrt(error / size);
  };
  EXPECT_EQ(gradients(Compute::kF32, 0x1p20), exact);
  EXPECT_LT(distance(gradients(kF16Products, 0x1p20)), 0.005);
  EXPECT_GT(distance(gradients(kF16Products, 1)), 0.05);
}

TEST_F(Run, ALossScaleThatHelpsNothingEndsTheRun) {
  config_.compute = kF16Products, config_.initial_scale_power = 32, config_.min_loss_scale = 0x1p31;
  EXPECT_THAT(problem_of([&] { train(config_, events_); }), HasSubstr("the gradient norm"));
}

TEST_F(Run, PureBf16LearnsAndHasNoF32Matrices) {
  config_.compute = Compute::kBF16, config_.pure_bf16 = true, config_.max_steps = 30, config_.learning_rate = 1e-2f;
  config_.eval_files = config_.train_files;
  const TrainResult result = train(config_, events_);
  EXPECT_LT(result.eval_loss_after, 0.5 * result.eval_loss_before);
  Runtime runtime(1);
  for (const Variable& p : build_trainable(config_, runtime, runtime.arena).parameters)
    EXPECT_EQ(p.dtype(), p.shape().rank() == 2 ? DType::kBF16 : DType::kF32) << p.name();
  const Plan pure = plan(config_);
  config_.pure_bf16 = false;
  const Plan mixed = plan(config_);
  EXPECT_LT(double(pure.memory[0].bytes), 0.52 * double(mixed.memory[0].bytes));
  EXPECT_LT(double(pure.memory[2].bytes), 0.55 * double(mixed.memory[2].bytes));
  // What it wrote is a model that others read.
  config_.model_name_or_path = (folder_ / "run" / "model").string(), config_.pure_bf16 = true;
  EXPECT_EQ(build_trainable(config_, runtime, runtime.arena).checkpoint.tensor("model.embed_tokens.weight").dtype(),
            DType::kBF16);
}

TEST_F(Run, SamplesAreMadeAndWrittenDown) {
  config_.sample_prompts = {"a", "b"}, config_.sample_steps = 2, config_.max_steps = 5;
  std::vector<std::string> heard;
  events_.listen([&](const Event& e) {
    if (e.kind == "sample") heard.push_back(e.data["step"].dump() + e.data["text"].get<std::string>());
  });
  TrainHooks hooks;
  hooks.sample_text = [](const Context& ctx, const TrainableModel& trained, const std::string& prompt) {
    EXPECT_EQ(ctx.tape, nullptr);
    EXPECT_GT(trained.trainable_count(), 0);
    return "after " + prompt;
  };
  train(config_, events_, hooks);
  EXPECT_EQ(heard, (std::vector<std::string>{"2after a", "2after b", "4after a", "4after b", "5after a", "5after b"}));
  const std::string written = read_file(folder_ / "run" / "samples.jsonl");
  EXPECT_EQ(std::count(written.begin(), written.end(), '\n'), 6);
  train(config_, events_, hooks);  // a run that is at its end has sampled already
  EXPECT_EQ(read_file(folder_ / "run" / "samples.jsonl"), written);
}

TEST_F(Run, PlanAddsUpAndKnowsTheParts) {
  for (const char* kind : {"full", "lora"}) {
    config_.finetuning_type = kind;
    const Plan p = plan(config_);
    uint64_t sum = 0;
    for (const PlanLine& line : p.memory) sum += line.bytes;
    EXPECT_EQ(p.anonymous_bytes, sum);
    EXPECT_EQ(p.steps, 4);
    Runtime runtime(1);
    const auto trainable = uint64_t(build_trainable(config_, runtime, runtime.arena).trainable_count());
    EXPECT_EQ(p.memory[0].bytes, 4 * trainable);
    EXPECT_GE(p.memory[2].bytes, 8 * trainable);
  }
  const double one = plan(config_).flops;
  config_.max_steps = 8;
  EXPECT_DOUBLE_EQ(plan(config_).flops, 2 * one);
}

TEST_F(Run, MoreTokensAtATimeTakeMore) {
  config_.gradient_checkpointing = false;
  const auto activations = [&](int batch) {
    config_.per_device_train_batch_size = batch;
    return plan(config_).memory[3].bytes;
  };
  EXPECT_GT(activations(12), activations(1));
}

}  // namespace
}  // namespace sedum
