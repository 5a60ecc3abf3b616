#pragma once
// What a training run is told: a YAML file in the words of TrainingArguments, PEFT and LLaMA-Factory.
//
//   TrainConfig config = read_train_config("recipe.yaml", {"learning_rate=2e-4", "data.train=[mine.jsonl]"});
//
// Unknown keys are refused with the nearest known one; values are checked before anything is loaded.

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "compute/kernels/products.h"
#include "model/adapters/lora_config.h"
#include "train/objectives/preference_loss.h"
#include "train/optim/optimizer.h"
#include "train/optim/schedule.h"

namespace sedum {

struct TrainConfig {
  std::string stage = "sft";  // sft | pretrain | mlm | embed | classify | seq2seq | dpo | orpo | kto | distill
  std::string finetuning_type = "lora";  // lora | qlora | full
  std::string model_name_or_path, adapter_name_or_path, output_dir;
  bool train_from_scratch = false;     // random weights: model_name_or_path gives the sizes alone
  std::string model;                   // or they stand in the recipe: keys of config.json, as JSON
  std::string tokenizer_name_or_path;  // of a model from scratch; else the model's own

  PreferenceOptions preference;       // of dpo, orpo, kto; see preference_options()
  std::string pref_loss = "sigmoid";  // of dpo
  std::string ref_model;              // instead of the model as it is stored, for dpo and kto
  std::string teacher_model_name_or_path;
  float temperature = 2, alpha = 0.5f;  // of distill

  float mlm_probability = 0.15f;  // of mlm: the share of tokens that are guessed

  std::optional<float> attention_dropout, resid_pdrop, embd_pdrop;  // else the model's own
  std::optional<float>
      moe_aux_loss_coef;  // of a mixture of experts' load-balancing loss; else as its config.json asks for it
  float label_smoothing_factor = 0, neftune_noise_alpha = 0;

  std::vector<std::string> train_files, eval_files;
  std::string pretokenized;  // .npy of (steps, batch, sequence) int32
  double eval_fraction = 0;  // held out of the training rows when there are no eval files
  int64_t max_samples = 0;   // 0: all
  int cutoff_len = 1024;
  bool packing = false, group_by_length = false, shuffle = true, train_on_prompt = false;

  int per_device_train_batch_size = 4, gradient_accumulation_steps = 1;
  double num_train_epochs = 1;
  int64_t max_steps = 0;  // 0: by epochs

  float learning_rate = 2e-4f, weight_decay = 0, max_grad_norm = 1;
  OptimizerKind optim = OptimizerKind::kAdamW;
  std::optional<float> momentum;  // of sgd (0) and muon (0.95)
  std::optional<bool> nesterov;   // of sgd (false) and muon (true)
  int ns_steps = 5;
  MuonAdjustment adjust_lr_fn = MuonAdjustment::kMatchRmsAdamW;
  float adam_beta1 = 0.9f, adam_beta2 = 0.999f, adam_epsilon = 1e-8f;
  Scheduler lr_scheduler_type = Scheduler::kCosine;
  double warmup_ratio = 0;
  int64_t warmup_steps = 0;  // above 0: instead of the ratio
  SchedulerOptions lr_scheduler_kwargs;

  float max_grad_value = 0;                             // 0: no clipping by value; before that by norm
  double skip_update_lossz = 0, skip_update_gradz = 0;  // z-scores above which a step is left out; 0: none is
  bool load_best_model_at_end = false;
  std::string metric_for_best_model = "eval_loss";
  std::optional<bool> greater_is_better;  // not given: not for losses and perplexities
  int early_stopping_patience = 0;        // 0: no early stopping
  double early_stopping_threshold = 0;
  bool success_gate = true;  // a run that ended without having learnt is a failure
  bool debug_nan = false;    // every operator's result is looked at

  LoraConfig lora;  // r, lora_alpha, target_modules …

  Compute compute = Compute::kBF16;
  int initial_scale_power = 16;      // of f16: the loss scale begins at two to this power,
  int64_t loss_scale_window = 1000;  // is doubled after so many steps without overflow,
  double min_loss_scale = 1;         // and never halved below this
  bool pure_bf16 = false;            // parameters and states in bf16, rounded stochastically: no f32 masters
  bool gradient_checkpointing = true;
  uint64_t seed = 42;
  int threads = 0;

  int64_t logging_steps = 1, save_steps = 0, eval_steps = 0;  // 0: at the end only
  int save_total_limit = 2;
  std::vector<std::string> sample_prompts;  // continued during the run
  int64_t sample_steps = 0;                 // 0: at the end only
  int sample_max_tokens = 64;
  float sample_temperature = 0;       // greedy
  bool overwrite_output_dir = false;  // false: a run that was interrupted goes on

  bool picks_best() const { return load_best_model_at_end || early_stopping_patience > 0; }
  bool best_is_greater() const;

  // The same configuration again as one JSON text: part of run.json, and what a resumed run must agree with.
  std::string canonical() const;
  bool from_scratch() const;  // train_from_scratch, or a `model` block
  bool prefers() const;       // dpo, orpo, kto
  bool encodes() const { return stage == "mlm" || stage == "embed" || stage == "classify" || stage == "seq2seq"; }
  PreferenceOptions preference_options() const;
};

// What make_optimizer is told. And the learning rates of a run of `total` steps. A warm-up given as a ratio is rounded up, as transformers does.
OptimizerOptions optimizer_options(const TrainConfig& config);
OptimizerKind parse_optimizer(const std::string& name);  // as `optim` has it; Error for another
Schedule schedule_of(const TrainConfig& config, int64_t total);

TrainConfig parse_train_config(const std::string& yaml, const std::vector<std::string>& overrides,
                               const std::string& where);
TrainConfig read_train_config(const std::filesystem::path& path, const std::vector<std::string>& overrides);

}  // namespace sedum
