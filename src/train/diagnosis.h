#pragma once
// Where a number that is none comes from.
//
//   NanWatch watch(ctx);
//   const ScopedObserver watching(watch.observer());
//   objective.train_on(…);
//   if (watch.found()) …watch.what()…   // "linear of model.layers.3.mlp.up_proj.weight gave nan at token 7 of 96"

#include <optional>
#include <string>

#include "compute/autograd/observe.h"
#include "train/objective.h"

namespace sedum {

class NanWatch {
 public:
  explicit NanWatch(const Context& ctx) : ctx_(ctx) {}
  Observer observer();
  bool found() const { return found_; }
  const std::string& what() const { return what_; }
  int64_t token() const { return token_; }  // of the batch; −1: not known

 private:
  void look(const Seen& seen);
  const Context& ctx_;
  bool found_ = false;
  std::string what_, last_name_;
  int64_t token_ = -1;
};

// "": all parameters are finite.
std::string parameter_that_is_no_number(const Context& ctx, const std::vector<Variable>& parameters);

// The step again, its results looked at one after the other: the first tensor that holds a number that is none, the layer (by the last weight
// with a name), the rows of the batch. Drops the gradients.
std::string diagnose(Context& ctx, const TrainConfig& config, const TrainableModel& trained, const data::Loader& loader,
                     Objective& objective, int64_t step);

// "the batch's training rows are 3, 8 and 12", counted from 1; `token` ≥ 0: the row that this token of the batch is in.
std::string name_rows(const data::StepBatch& batch, int64_t token);

}  // namespace sedum
