#pragma once
// A training run from its configuration to its result.
//
//   Events events;                       // "start", "step", "eval", "sample", "save", "end": the terminal, metrics.jsonl and TensorBoard listen
//   TrainResult result = train(config, events);
//
// output_dir receives metrics.jsonl, samples.jsonl, TensorBoard events, checkpoint-N/, run.json and the result: adapter/ or model/. A run that was killed
// goes on from its newest checkpoint when it is started again, with the same numbers to the bit.

#include <functional>
#include <string>
#include <vector>

#include "base/events.h"
#include "data/loader.h"
#include "train/trainable.h"

namespace sedum {

struct TrainResult {
  int64_t steps = 0;
  double final_loss = 0, eval_loss_before = 0, eval_loss_after = 0;  // eval: nan without evaluation data
  uint64_t peak_bytes = 0;                                           // anonymous memory
  int64_t best_step = 0;                   // whose parameters the result has, if it is not the last
  std::vector<std::string> failures = {};  // why the run, though it came to its end, is no success (success_gate)
};

// What a run takes from rooms above this one. sample_text: how the model at hand continues a prompt (sample_prompts); the context is the
// run's own, without a tape.
struct TrainHooks {
  std::function<std::string(const Context&, const TrainableModel&, const std::string& prompt)> sample_text = nullptr;
};
TrainResult train(const TrainConfig& config, Events& events, const TrainHooks& hooks = {});

// The rows that a run trains and evaluates on, as token ids.
struct TrainData {
  std::unique_ptr<data::Loader> train;
  std::vector<data::Sample> eval;  // preferences: chosen and rejected, one after the other
  int64_t pretokenized_steps = 0;
  // For KTO: whether an answer is wanted, and each training row's question with another row's answer.
  std::vector<bool> desirable, eval_desirable;
  std::vector<data::Sample> mismatched;
};
TrainData load_train_data(const TrainConfig& config, const Checkpoint& checkpoint);
int64_t total_steps(const TrainConfig& config, const TrainData& data);

// One micro-batch forward and backward: Σ −log p / divisor. Gradients gather in the parameters. Without dropout and noise, whatever the model's
// shares: the rows are not named, which is what random numbers are counted by. Objective::train_on() of train/objective.h has both.
double train_on(Context& ctx, Tape& tape, const CausalModel& model, const data::StepBatch& batch, double divisor,
                bool recompute);
// Mean −log p over the label tokens of samples.
double evaluate_loss(Context& ctx, const CausalModel& model, const std::vector<data::Sample>& samples);

}  // namespace sedum
