// The training loop, from top to bottom.

#include "train/train.h"

#include <algorithm>
#include <chrono>
#include <cmath>

#include <fmt/format.h>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "compute/kernels/product_terms.h"
#include "data/prefetch.h"
#include "train/diagnosis.h"
#include "train/gate.h"
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

class Run {
 public:
  Run(const TrainConfig& config, Events& events, const TrainHooks& hooks);
  TrainResult make();

 private:
  StepReport step();
  double micro_batches(int64_t step, int64_t& tokens);
  void guard(double loss, double norm);
  std::string outlier(double loss, double norm);
  bool scaled() const { return config_.compute == kF16Products; }
  std::string overflow(double loss, double norm);
  void evaluate();
  void sample();
  void save();
  void finish();
  bool stopped() const {
    return config_.early_stopping_patience > 0 && state_.best.without_progress >= config_.early_stopping_patience;
  }

  const TrainConfig& config_;
  const TrainHooks& hooks_;
  const fs::path folder_;
  Runtime runtime_;
  TrainableModel trained_;
  TrainData data_;
  std::unique_ptr<Objective> objective_;
  Context ctx_;
  std::unique_ptr<Optimizer> optimizer_;
  RunState state_;
  RunLog log_;
  int64_t total_;
  Schedule schedule_;
  data::Prefetcher batches_;
  Tape tape_;
  TrainResult result_;
  std::vector<double> losses_;  // of the steps that were made here
  int64_t saved_step_ = -1;
};

Context context_of(const TrainConfig& config, Runtime& runtime) {
  Context ctx = runtime.context(config.compute);
  ctx.seed = config.seed;
  return ctx;
}

// Of a run that begins.
RunState first_state(const TrainConfig& config) {
  RunState state{.config = config.canonical()};
  if (config.compute == kF16Products) state.loss_scale.value = std::ldexp(1.0, config.initial_scale_power);
  return state;
}

Run::Run(const TrainConfig& config, Events& events, const TrainHooks& hooks)
    : config_(config),
      hooks_(hooks),
      folder_(config.output_dir),
      runtime_(config.threads),
      trained_(build_trainable(config, runtime_, runtime_.arena)),
      data_(load_train_data(config, trained_.checkpoint)),
      objective_(make_objective(config, trained_, data_, runtime_, runtime_.arena)),
      ctx_(context_of(config, runtime_)),
      optimizer_(make_optimizer(ctx_, trained_.parameters, optimizer_options(config))),
      state_(load_latest(folder_, *optimizer_, config.canonical()).value_or(first_state(config))),
      log_(folder_, state_.step, events),
      total_(total_steps(config, data_)),
      schedule_(schedule_of(config, total_)),
      batches_(*data_.train, state_.step, total_) {
  log_.start(config_, trained_, data_, state_.step);
  result_ = {.steps = total_, .eval_loss_before = log_.eval_loss_before(), .eval_loss_after = std::nan("")};
}

TrainResult Run::make() {
  const uint64_t before = trained_.lora ? fingerprint(trained_.parameters) : 0;
  objective_->prepare(ctx_, folder_, state_.step > 0);
  if (state_.step == 0) evaluate(), result_.eval_loss_before = result_.eval_loss_after;
  while (state_.step < total_ && !stopped()) {
    log_.step(step());
    const bool last = state_.step == total_;
    if (!last && config_.eval_steps && state_.step % config_.eval_steps == 0) evaluate();
    if (!last && config_.sample_steps && state_.step % config_.sample_steps == 0) sample();
    if (!last && config_.save_steps && state_.step % config_.save_steps == 0) save();
  }
  const bool changed = !trained_.lora || fingerprint(trained_.parameters) != before;
  finish();
  if (config_.success_gate)
    result_.failures = failures(config_, trained_.checkpoint.config().vocab_size, result_, losses_, changed);
  log_.finish(result_);
  return result_;
}

StepReport Run::step() {
  const auto start = Clock::now();
  const int64_t step = state_.step;
  ctx_.step = uint32_t(step);
  const double scale = scaled() ? state_.loss_scale.value : 1;
  objective_->scale_gradients(scale);
  int64_t tokens = 0;
  const double loss = micro_batches(step, tokens);
  const double scaled_norm = optimizer_->gradient_norm(ctx_);  // before values are clipped, which hides an overflow
  std::string skipped = scaled() ? overflow(loss, scaled_norm) : "";
  double norm = scaled_norm / scale;
  if (skipped.empty()) {
    optimizer_->clip_gradient_values(ctx_, config_.max_grad_value * float(scale));
    if (config_.max_grad_value > 0) norm = optimizer_->gradient_norm(ctx_) / scale;
    guard(loss, norm);
    skipped = outlier(loss, norm);
  }
  const float rate = schedule_.at(step);
  losses_.push_back(loss), result_.final_loss = loss;
  if (skipped.empty())
    optimizer_->step(ctx_, rate, float(clip_scale(norm, config_.max_grad_norm) / scale),
                     step - state_.loss_scale.skipped);
  else
    optimizer_->drop_gradients();
  Metrics figures = objective_->metrics();
  if (scaled()) figures.emplace_back("loss_scale", scale);
  ++state_.step, state_.tokens += uint64_t(tokens);
  return {.step = state_.step,
          .total = total_,
          .loss = loss,
          .grad_norm = norm,
          .learning_rate = rate,
          .tokens = tokens,
          .tokens_seen = state_.tokens,
          .seconds = seconds_since(start),
          .waited = batches_.take_waited(),
          .figures = std::move(figures),
          .skipped = skipped};
}

double Run::micro_batches(int64_t step, int64_t& tokens) {
  double loss = 0;
  objective_->begin_step(ctx_, step);
  for (int micro = 0; micro < config_.gradient_accumulation_steps; ++micro) {
    NanWatch watch(ctx_);
    const ScopedObserver watching(config_.debug_nan ? watch.observer() : nullptr);
    const data::StepBatch batch = batches_.next();
    loss += objective_->train_on(ctx_, tape_, batch);
    tokens += int64_t(batch.ids.size());
    if (watch.found())
      throw Error(fmt::format("step {}: {}; {}", step + 1, watch.what(), name_rows(batch, watch.token())),
                  "look at these rows and at the parameters before them; the last checkpoint is intact");
  }
  return loss;
}

// A number that is none ends the run before it ruins the parameters, and says where it comes from.
void Run::guard(double loss, double norm) {
  if (std::isfinite(loss) && std::isfinite(norm)) return;
  throw Error(fmt::format("step {}: the loss is {}, the gradient norm {}; {}", state_.step + 1, loss, norm,
                          diagnose(ctx_, config_, trained_, *data_.train, *objective_, state_.step)),
              "lower learning_rate, or use compute: f32; the last checkpoint is intact");
}

// f16: whether a gradient was beyond it, and what the next step's loss scale is. A loss that is none comes from the forward pass, which no scale
// mends, and gradients that are none at the least scale do not come from it: guard() sees to both.
std::string Run::overflow(double loss, double norm) {
  const double used = state_.loss_scale.value;
  if (!std::isfinite(loss) || (!std::isfinite(norm) && used <= config_.min_loss_scale)) return "";
  if (state_.loss_scale.update(std::isfinite(norm), config_.loss_scale_window, config_.min_loss_scale)) return "";
  return fmt::format("a gradient is beyond f16 at loss scale {:g}", used);
}

// Why this step is left out; "": it is not.
std::string Run::outlier(double loss, double norm) {
  const auto loss_z = state_.losses.update(loss), norm_z = state_.gradient_norms.update(norm);
  if (config_.skip_update_lossz > 0 && loss_z && *loss_z > config_.skip_update_lossz)
    return fmt::format("the loss is {:.1f} deviations from the last {}", *loss_z, OutlierDetector::kWindow);
  if (config_.skip_update_gradz > 0 && norm_z && *norm_z > config_.skip_update_gradz)
    return fmt::format("the gradient norm is {:.1f} deviations from the last {}", *norm_z, OutlierDetector::kWindow);
  return "";
}

void Run::evaluate() {
  if (data_.eval.empty()) return;
  Metrics figures;
  const double loss = objective_->evaluate(ctx_, &figures);
  log_.evaluated(state_.step, loss, figures);
  result_.eval_loss_after = loss;
  if (!config_.picks_best()) return;
  figures.emplace_back("loss", loss), figures.emplace_back("perplexity", std::exp(loss));
  const std::string& named = config_.metric_for_best_model;
  const std::string wanted = named.starts_with("eval_") ? named.substr(5) : named;
  const auto found = std::find_if(figures.begin(), figures.end(), [&](const auto& f) { return f.first == wanted; });
  if (found == figures.end())
    throw Error("metric_for_best_model: evaluations have no " + named, "choose eval_loss, or another of metrics.jsonl");
  if (state_.step > 0 &&
      state_.best.update(state_.step, found->second, config_.best_is_greater(), config_.early_stopping_threshold))
    save();
}

void Run::sample() {
  if (!hooks_.sample_text || losses_.empty()) return;  // losses: what a run that goes on at its end has sampled already
  for (const std::string& prompt : config_.sample_prompts)
    log_.sampled(state_.step, prompt, hooks_.sample_text(ctx_, trained_, prompt));
}

void Run::save() {
  if (saved_step_ == state_.step) return;
  save_state(folder_ / ("checkpoint-" + std::to_string(state_.step)), state_, *optimizer_);
  rotate(folder_, config_.save_total_limit, config_.picks_best() ? state_.best.step : -1);
  log_.saved(state_.step);
  saved_step_ = state_.step;
}

// The last evaluation and checkpoint; then the result, which has the best parameters where that is asked for.
void Run::finish() {
  if (state_.step == total_) evaluate();
  sample();
  save();
  result_.steps = state_.step;
  if (config_.load_best_model_at_end && state_.best.value && state_.best.step != state_.step) {
    load_parameters(folder_, state_.best.step, trained_.parameters);
    result_.best_step = state_.best.step;
    if (!data_.eval.empty()) result_.eval_loss_after = objective_->evaluate(ctx_, nullptr);
  }
  write_result(trained_, folder_);
  result_.peak_bytes = memory_use().anonymous;  // the arena gives nothing back: what is held now is the peak
}

}  // namespace

TrainResult train(const TrainConfig& config, Events& events, const TrainHooks& hooks) {
  prepare_folder(config);
  return Run(config, events, hooks).make();
}

}  // namespace sedum
