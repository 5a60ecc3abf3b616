// Keys of the optimizer, its schedule, the numbers' precision and a run's stability.

#include <cmath>

#include "compute/kernels/product_terms.h"
#include "train/config_key.h"

namespace sedum {
namespace {

const std::vector<std::pair<std::string, OptimizerKind>> kOptimizers = {
    {"adamw", OptimizerKind::kAdamW},
    {"adamw_torch", OptimizerKind::kAdamW},
    {"adamw_torch_fused", OptimizerKind::kAdamW},
    {"adamw_8bit", OptimizerKind::kAdamW8Bit},
    {"adamw_bnb_8bit", OptimizerKind::kAdamW8Bit},
    {"adam", OptimizerKind::kAdam},
    {"sgd", OptimizerKind::kSgd},
    {"adafactor", OptimizerKind::kAdafactor},
    {"muon", OptimizerKind::kMuon},
};

Key ramp(RampType& value, const char* key) {
  return choice<RampType>(
      value, key, {{"linear", RampType::kLinear}, {"cosine", RampType::kCosine}, {"1-sqrt", RampType::kOneMinusSqrt}});
}

std::map<std::string, Key> schedule_keys(TrainConfig& c) {
  SchedulerOptions& o = c.lr_scheduler_kwargs;
  const std::string in = "lr_scheduler_kwargs.";
  return {
      {"learning_rate", plain(c.learning_rate)},
      {"lr_scheduler_type", choice<Scheduler>(c.lr_scheduler_type, "lr_scheduler_type",
                                              {{"constant", Scheduler::kConstant},
                                               {"constant_with_warmup", Scheduler::kConstantWithWarmup},
                                               {"linear", Scheduler::kLinear},
                                               {"cosine", Scheduler::kCosine},
                                               {"cosine_with_restarts", Scheduler::kCosineWithRestarts},
                                               {"cosine_with_min_lr", Scheduler::kCosineWithMinLr},
                                               {"polynomial", Scheduler::kPolynomial},
                                               {"inverse_sqrt", Scheduler::kInverseSqrt},
                                               {"warmup_stable_decay", Scheduler::kWarmupStableDecay}})},
      {"warmup_ratio", plain(c.warmup_ratio)},
      {"warmup_steps", plain(c.warmup_steps)},
      {in + "num_cycles", optional(o.num_cycles)},
      {in + "power", plain(o.power)},
      {in + "lr_end", plain(o.lr_end)},
      {in + "min_lr", plain(o.min_lr)},
      {in + "min_lr_rate", plain(o.min_lr_rate)},
      {in + "timescale", plain(o.timescale)},
      {in + "num_decay_steps", plain(o.num_decay_steps)},
      {in + "num_stable_steps", optional(o.num_stable_steps)},
      {in + "warmup_type", ramp(o.warmup_type, "warmup_type")},
      {in + "decay_type", ramp(o.decay_type, "decay_type")},
      {in + "min_lr_ratio", plain(o.min_lr_ratio)},
  };
}

// Stability, and what a run shows of itself.
std::map<std::string, Key> stability_keys(TrainConfig& c) {
  return {
      {"max_grad_norm", plain(c.max_grad_norm)},
      {"max_grad_value", plain(c.max_grad_value)},
      {"skip_update_lossz", plain(c.skip_update_lossz)},
      {"skip_update_gradz", plain(c.skip_update_gradz)},
      {"load_best_model_at_end", plain(c.load_best_model_at_end)},
      {"metric_for_best_model", plain(c.metric_for_best_model)},
      {"greater_is_better", optional(c.greater_is_better)},
      {"early_stopping_patience", plain(c.early_stopping_patience)},
      {"early_stopping_threshold", plain(c.early_stopping_threshold)},
      {"success_gate", plain(c.success_gate)},
      {"debug_nan", plain(c.debug_nan)},
      {"sample_prompts", list(c.sample_prompts)},
      {"sample_steps", plain(c.sample_steps)},
      {"sample_max_tokens", plain(c.sample_max_tokens)},
      {"sample_temperature", plain(c.sample_temperature)},
  };
}

class Requirements {
 public:
  explicit Requirements(const std::string& where) : where_(where) {}
  void operator()(bool good, const std::string& problem, const std::string& mend = "") const {
    if (!good) throw Error(where_ + ": " + problem, mend);
  }

 private:
  const std::string& where_;
};

void check_schedule(const TrainConfig& c, const Requirements& require) {
  const SchedulerOptions& o = c.lr_scheduler_kwargs;
  require(std::isfinite(c.learning_rate) && c.learning_rate > 0, "learning_rate must be above 0");
  require(c.warmup_steps >= 0 && o.num_decay_steps >= 0 && o.num_stable_steps.value_or(0) >= 0 && o.timescale >= 0,
          "steps cannot be negative");
  require(c.warmup_ratio >= 0 && c.warmup_ratio <= 1, "warmup_ratio must be between 0 and 1");
  require(c.lr_scheduler_type != Scheduler::kConstant || (c.warmup_steps == 0 && c.warmup_ratio == 0),
          "lr_scheduler_type: constant has no warm-up", "choose constant_with_warmup");
  require(o.lr_end >= 0 && (c.lr_scheduler_type != Scheduler::kPolynomial || o.lr_end < double(c.learning_rate)),
          "lr_scheduler_kwargs.lr_end must be at least 0 and below learning_rate");
  require(std::isfinite(o.power) && o.power > 0, "lr_scheduler_kwargs.power must be above 0");
  require(o.min_lr >= 0 && o.min_lr <= double(c.learning_rate) && o.min_lr_rate >= 0 && o.min_lr_rate <= 1 &&
              o.min_lr_ratio >= 0 && o.min_lr_ratio <= 1,
          "the least learning rate must be between 0 and the peak");
  require(c.lr_scheduler_type != Scheduler::kCosineWithMinLr || o.min_lr > 0 || o.min_lr_rate > 0,
          "cosine_with_min_lr needs a least learning rate", "give lr_scheduler_kwargs: {min_lr_rate: 0.1}");
  require(c.lr_scheduler_type != Scheduler::kWarmupStableDecay || o.num_decay_steps > 0,
          "warmup_stable_decay needs the length of its decay", "give lr_scheduler_kwargs: {num_decay_steps: 100}");
  require(std::isfinite(o.num_cycles.value_or(0)) && o.num_cycles.value_or(0) >= 0,
          "lr_scheduler_kwargs.num_cycles cannot be negative");
}

void check_stability(const TrainConfig& c, const Requirements& require) {
  require(c.max_grad_norm >= 0 && c.max_grad_value >= 0, "max_grad_norm and max_grad_value cannot be negative");
  require(c.skip_update_lossz >= 0 && c.skip_update_gradz >= 0,
          "skip_update_lossz and skip_update_gradz cannot be negative");
  require(c.sample_steps >= 0 && c.sample_max_tokens > 0 && c.sample_temperature >= 0,
          "sample_steps and sample_temperature cannot be negative, sample_max_tokens must be above 0");
  require(c.early_stopping_patience >= 0 && c.early_stopping_threshold >= 0,
          "early_stopping_patience and early_stopping_threshold cannot be negative");
  require(!c.picks_best() || (c.eval_steps > 0 && (!c.eval_files.empty() || c.eval_fraction > 0)),
          "the best model is chosen by evaluations, and there are none",
          "set eval_steps and data: {eval: [file.jsonl]}");
}

}  // namespace

std::map<std::string, Key> optimizer_keys(TrainConfig& c) {
  std::map<std::string, Key> keys = {
      {"optim", choice<OptimizerKind>(c.optim, "optim", kOptimizers)},
      {"compute",
       choice<Compute>(
           c.compute, "compute",
           {{"bf16", Compute::kBF16}, {"f32", Compute::kF32}, {"f16", kF16Products}, {"int8", Compute::kInt8}})},
      {"initial_scale_power", plain(c.initial_scale_power)},
      {"loss_scale_window", plain(c.loss_scale_window)},
      {"min_loss_scale", plain(c.min_loss_scale)},
      {"pure_bf16", plain(c.pure_bf16)},
      {"momentum", optional(c.momentum)},
      {"nesterov", optional(c.nesterov)},
      {"ns_steps", plain(c.ns_steps)},
      {"adjust_lr_fn", choice<MuonAdjustment>(c.adjust_lr_fn, "adjust_lr_fn",
                                              {{"match_rms_adamw", MuonAdjustment::kMatchRmsAdamW},
                                               {"original", MuonAdjustment::kOriginal}})},
      {"weight_decay", plain(c.weight_decay)},
      {"adam_beta1", plain(c.adam_beta1)},
      {"adam_beta2", plain(c.adam_beta2)},
      {"adam_epsilon", plain(c.adam_epsilon)},
  };
  keys.merge(schedule_keys(c));
  keys.merge(stability_keys(c));
  return keys;
}

void check_optimizer_keys(const TrainConfig& c, const std::string& where) {
  const Requirements require(where);
  check_schedule(c, require);
  check_stability(c, require);
  require(std::isfinite(c.adam_epsilon) && c.adam_epsilon > 0, "adam_epsilon must be above 0");
  require(c.weight_decay >= 0, "weight_decay cannot be negative");
  require(c.adam_beta1 >= 0 && c.adam_beta1 < 1 && c.adam_beta2 >= 0 && c.adam_beta2 < 1,
          "adam_beta1 and adam_beta2 must be at least 0 and below 1");
  const bool has_momentum = c.optim == OptimizerKind::kSgd || c.optim == OptimizerKind::kMuon;
  require(has_momentum || (!c.momentum && !c.nesterov), "momentum and nesterov are of optim: sgd and optim: muon",
          "AdamW's are adam_beta1 and adam_beta2");
  require(c.momentum.value_or(0) >= 0 && c.momentum.value_or(0) < 1, "momentum must be at least 0 and below 1");
  require(c.optim != OptimizerKind::kSgd || !c.nesterov.value_or(false) || c.momentum.value_or(0) > 0,
          "nesterov needs a momentum", "set momentum: 0.9");
  require(!c.pure_bf16 || (c.compute == Compute::kBF16 && c.finetuning_type == "full"),
          "pure_bf16 needs compute: bf16 and finetuning_type: full", "an adapter's parameters are f32 and few");
  require(c.initial_scale_power >= 0 && c.initial_scale_power <= 32, "initial_scale_power must be between 0 and 32");
  require(c.loss_scale_window >= 1, "loss_scale_window must be above 0");
  require(c.min_loss_scale > 0 && c.min_loss_scale <= std::ldexp(1, c.initial_scale_power),
          "min_loss_scale must be above 0 and no more than 2^initial_scale_power");
  require(c.compute != kF16Products || !c.debug_nan, "f16 meets infinities on its way to a good loss scale",
          "look for them with compute: bf16 or f32");
  require(c.ns_steps >= 1 && c.ns_steps < 100, "ns_steps must be between 1 and 99");
}

bool TrainConfig::best_is_greater() const {
  const std::string& name = metric_for_best_model;
  return greater_is_better.value_or(!name.ends_with("loss") && !name.ends_with("perplexity"));
}

OptimizerKind parse_optimizer(const std::string& name) {
  OptimizerKind kind = OptimizerKind::kAdamW;
  choice<OptimizerKind>(kind, "optim", kOptimizers).read(YAML::Node(name));
  return kind;
}

OptimizerOptions optimizer_options(const TrainConfig& c) {
  return {.kind = c.optim,
          .beta1 = c.adam_beta1,
          .beta2 = c.adam_beta2,
          .eps = c.adam_epsilon,
          .weight_decay = c.weight_decay,
          .momentum = c.momentum.value_or(0),
          .nesterov = c.nesterov.value_or(false),
          .muon_momentum = c.momentum.value_or(0.95f),
          .muon_nesterov = c.nesterov.value_or(true),
          .muon_steps = c.ns_steps,
          .muon_adjustment = c.adjust_lr_fn,
          .state_dtype = c.pure_bf16 ? DType::kBF16 : DType::kF32};
}

Schedule schedule_of(const TrainConfig& c, int64_t total) {
  return {.type = c.lr_scheduler_type,
          .learning_rate = double(c.learning_rate),
          .warmup = c.warmup_steps > 0 ? c.warmup_steps : int64_t(std::ceil(c.warmup_ratio * double(total))),
          .total = total,
          .options = c.lr_scheduler_kwargs};
}

}  // namespace sedum
