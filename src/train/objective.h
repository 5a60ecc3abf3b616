#pragma once
// What a stage makes of a batch: its loss, its gradients, and the figures that it reports beside the loss.
//
//   auto objective = make_objective(config, trained, data, runtime, arena);
//   objective->prepare(ctx, run, progress);                   // once: what a reference model says of every row
//   objective->begin_step(ctx, step);
//   for (micro…) loss += objective->train_on(ctx, tape, batch);   // gradients gather; the sum is the undivided batch's loss
//   objective->metrics();                                     // means of the step, by name

#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "train/train.h"

namespace sedum {

using Metrics = std::vector<std::pair<std::string, double>>;

class Objective {
 public:
  virtual ~Objective() = default;
  // What has to be known before the first step. `resumed`: what an earlier start of the run wrote may be read.
  virtual void prepare(Context& /*ctx*/, const std::filesystem::path& /*run*/, bool /*resumed*/) {}
  // From now on gradients are `scale` times what they are, so that few of them vanish in f16; losses are what they are. A power of two.
  void scale_gradients(double scale) { scale_ = scale; }
  // Divisors, and what is estimated over the whole update.
  virtual void begin_step(Context& ctx, int64_t step) = 0;
  // Forward and backward of one micro-batch of the step: its share of the loss.
  virtual double train_on(Context& ctx, Tape& tape, const data::StepBatch& batch) = 0;
  // Figures of the step's micro-batches so far, beside the loss.
  virtual Metrics metrics() { return {}; }
  // The loss over the evaluation rows, and figures beside it.
  virtual double evaluate(Context& ctx, Metrics* figures) = 0;

 protected:
  double scale_ = 1;
};

// For the planner `arena` is one without memory: what the objective itself holds is counted there. All references must outlive the result.
std::unique_ptr<Objective> make_objective(const TrainConfig& config, const TrainableModel& trained,
                                          const TrainData& data, Runtime& runtime, Arena& arena);

// A model as it is stored, that is not trained: a reference, a teacher.
struct FrozenModel {
  FrozenModel(const std::string& path, Runtime& runtime, Arena& arena, bool nf4 = false);
  Checkpoint checkpoint;
  std::unique_ptr<CausalModel> model;
};

// A batch for a model, and the context that training it wants: rows are named for dropout and noise.
Batch to_batch(const data::StepBatch& from, const TrainConfig& config);
Context training_context(const Context& ctx, Tape& tape, const data::StepBatch& batch);

}  // namespace sedum
