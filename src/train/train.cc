// The training loop, from top to bottom.

#include "train/train.h"

#include <chrono>
#include <cmath>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file.h"
#include "data/prefetch.h"
#include "train/log.h"
#include "train/objective.h"
#include "train/state.h"

namespace sedum {
namespace fs = std::filesystem;
namespace {

using Clock = std::chrono::steady_clock;
double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

void prepare_folder(const TrainConfig& config) {
  if (config.overwrite_output_dir) fs::remove_all(config.output_dir);
  std::error_code failed;
  fs::create_directories(config.output_dir, failed);
  if (failed) throw Error("cannot create " + config.output_dir + ": " + failed.message(), "choose another output_dir");
}

// A number that is none ends the run before it ruins the parameters.
void guard(double loss, double norm, int64_t step) {
  if (std::isfinite(loss) && std::isfinite(norm)) return;
  throw Error("step " + std::to_string(step + 1) + ": the loss is " + std::to_string(loss) + ", the gradient norm " +
                  std::to_string(norm),
              "lower learning_rate, or use compute: f32; the last checkpoint is intact");
}

}  // namespace

TrainResult train(const TrainConfig& config, Events& events) {
  prepare_folder(config);
  Runtime runtime(config.threads);
  TrainableModel trained = build_trainable(config, runtime, runtime.arena);
  const TrainData data = load_train_data(config, trained.checkpoint);
  const auto objective = make_objective(config, trained, data, runtime, runtime.arena);
  Context ctx = runtime.context(config.compute);
  ctx.seed = config.seed;
  const auto optimizer = make_optimizer(ctx, trained.parameters, optimizer_options(config));

  const fs::path run = config.output_dir;
  const std::string canonical = config.canonical();
  RunState state = load_latest(run, *optimizer, canonical).value_or(RunState{.config = canonical});
  RunLog log(run, state.step, events);
  log.start(config, trained, data, state.step);

  const int64_t total = total_steps(config, data);
  const Schedule schedule = schedule_of(config, total);
  TrainResult result{.steps = total, .eval_loss_before = log.eval_loss_before()};
  const auto evaluate = [&](int64_t step) {
    if (data.eval.empty()) return std::nan("");
    Metrics figures;
    const double loss = objective->evaluate(ctx, &figures);
    log.evaluated(step, loss, figures);
    return loss;
  };
  const auto save = [&] {
    save_state(run / ("checkpoint-" + std::to_string(state.step)), state, *optimizer);
    rotate(run, config.save_total_limit);
    log.saved(state.step);
  };
  objective->prepare(ctx, run, state.step > 0);
  if (state.step == 0) result.eval_loss_before = evaluate(0);

  Tape tape;
  data::Prefetcher batches(*data.train, state.step, total);
  while (state.step < total) {
    const auto start = Clock::now();
    const int64_t step = state.step;
    ctx.step = uint32_t(step);
    objective->begin_step(ctx, step);
    int64_t tokens = 0;
    double loss = 0;
    for (int micro = 0; micro < config.gradient_accumulation_steps; ++micro) {
      const data::StepBatch batch = batches.next();
      loss += objective->train_on(ctx, tape, batch);
      tokens += int64_t(batch.ids.size());
    }
    const double norm = optimizer->gradient_norm(ctx);
    guard(loss, norm, step);
    const float rate = schedule.at(step);
    optimizer->step(ctx, rate, clip_scale(norm, config.max_grad_norm), step);
    ++state.step, state.tokens += uint64_t(tokens);
    result.final_loss = loss;
    log.step({.step = state.step,
              .total = total,
              .loss = loss,
              .grad_norm = norm,
              .learning_rate = rate,
              .tokens = tokens,
              .tokens_seen = state.tokens,
              .seconds = seconds_since(start),
              .waited = batches.take_waited(),
              .figures = objective->metrics()});
    if (config.eval_steps && state.step % config.eval_steps == 0 && state.step < total) evaluate(state.step);
    if (config.save_steps && state.step % config.save_steps == 0 && state.step < total) save();
  }
  result.eval_loss_after = evaluate(total);
  save();
  write_result(trained, run);
  result.peak_bytes = memory_use().anonymous;  // the arena gives nothing back: what is held now is the peak
  log.finish(result);
  return result;
}

}  // namespace sedum
