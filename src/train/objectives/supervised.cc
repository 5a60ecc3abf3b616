// sft and pretrain: the next token's cross-entropy. distill: mixed with the distance from a teacher.

#include "compute/ops/elementwise.h"
#include "compute/ops/experts.h"
#include "compute/ops/log_probs.h"
#include "train/objectives/objectives.h"

namespace sedum {
namespace {

double value_of(Context& ctx, const Variable& loss) { return ctx.runs() ? double(*loss.value().data<float>()) : 0; }

ops::Ids targets_of(const data::StepBatch& batch) {
  return std::make_shared<const std::vector<int32_t>>(batch.targets);
}

class Supervised : public Objective {
 public:
  Supervised(const TrainConfig& config, const TrainableModel& trained, const TrainData& data)
      : config_(config), model_(*trained.model), data_(data) {
    const ModelConfig& sizes = model_.config();
    if (config.moe_aux_loss_coef && sizes.num_experts == 0)
      throw Error("moe_aux_loss_coef: the model is no mixture of experts", "remove it");
    if (sizes.num_experts > 0)
      balance_ = config.moe_aux_loss_coef.value_or(sizes.output_router_logits ? sizes.router_aux_loss_coef : 0);
  }

  void begin_step(Context&, int64_t step) override {
    divisor_ = double(data_.train->label_tokens(step));
    balancing_ = 0;
  }

  double train_on(Context& ctx, Tape& tape, const data::StepBatch& batch) override {
    if (batch.label_tokens == 0) return 0;
    Context recording = training_context(ctx, tape, batch);
    std::vector<Variable> router_logits;
    const Variable hidden = states(recording, batch, router_logits);
    const Variable loss =
        balanced(recording,
                 ops::cross_entropy_head(recording, hidden, model_.head(), targets_of(batch), float(scale_ / divisor_),
                                         nullptr, config_.label_smoothing_factor),
                 router_logits);
    const double value = value_of(ctx, loss) / scale_;
    tape.backward(recording, loss);
    return value;
  }

  Metrics metrics() override {
    return balance_ > 0 ? Metrics{{"aux_loss", balancing_ / config_.gradient_accumulation_steps}} : Metrics{};
  }

  double evaluate(Context& ctx, Metrics*) override { return evaluate_loss(ctx, model_, data_.eval); }

 protected:
  Variable states(Context& ctx, const data::StepBatch& from, std::vector<Variable>& router_logits) const {
    Batch batch = to_batch(from, config_);
    if (balance_ > 0) batch.router_logits = &router_logits;
    return model_.hidden_states(ctx, batch);
  }

  // The loss, and of a mixture of experts what its routers' imbalance costs: the mean over the step's micro-batches.
  Variable balanced(Context& ctx, const Variable& loss, const std::vector<Variable>& router_logits) {
    if (router_logits.empty()) return loss;
    const float share = float(balance_ * scale_ / config_.gradient_accumulation_steps);
    const Variable balancing =
        ops::load_balancing_loss(ctx, router_logits, int(model_.config().num_experts_per_tok), share);
    balancing_ += value_of(ctx, balancing) / double(share);
    return ops::add(ctx, loss, balancing);
  }

  const TrainConfig& config_;
  const CausalModel& model_;
  const TrainData& data_;
  double divisor_ = 1;
  float balance_ = 0;     // the weight of the load-balancing loss
  double balancing_ = 0;  // that loss without its weight, the sum over the step's micro-batches
};

class Distillation : public Supervised {
 public:
  Distillation(const TrainConfig& config, const TrainableModel& trained, const TrainData& data, Runtime& runtime,
               Arena& arena)
      : Supervised(config, trained, data), teacher_(config.teacher_model_name_or_path, runtime, arena) {
    const int64_t student = trained.model->config().vocab_size, teacher = teacher_.model->config().vocab_size;
    if (student != teacher)
      throw Error("the teacher's vocabulary has " + std::to_string(teacher) + " tokens, the student's " +
                      std::to_string(student),
                  "choose models of one family");
    if (trained.checkpoint.has_tokenizer() && teacher_.checkpoint.has_tokenizer() &&
        trained.checkpoint.tokenizer()->hash() != teacher_.checkpoint.tokenizer()->hash())
      throw Error("teacher and student have other tokenizers", "choose models of one family");
  }

  void begin_step(Context& ctx, int64_t step) override {
    Supervised::begin_step(ctx, step);
    kl_ = cross_entropy_ = 0;
  }

  double train_on(Context& ctx, Tape& tape, const data::StepBatch& batch) override {
    if (batch.label_tokens == 0) return 0;
    Context recording = training_context(ctx, tape, batch), plain = ctx;
    plain.tape = nullptr, plain.rows = nullptr;
    const Variable theirs = teacher_.model->hidden_states(plain, to_batch(batch, config_));
    std::vector<Variable> router_logits;
    const Variable hidden = states(recording, batch, router_logits);
    double kl = 0, cross_entropy = 0;
    const Variable distance = ops::distillation_head(
        recording, hidden, model_.head(), {theirs, teacher_.model->head()}, targets_of(batch),
        {.alpha = config_.alpha, .temperature = config_.temperature}, float(scale_ / divisor_), &kl, &cross_entropy);
    const Variable loss = balanced(recording, distance, router_logits);
    kl_ += kl, cross_entropy_ += cross_entropy;
    const double value = value_of(ctx, loss) / scale_;
    tape.backward(recording, loss);
    return value;
  }

  Metrics metrics() override {
    Metrics all = Supervised::metrics();
    all.emplace_back("kl", kl_ / divisor_), all.emplace_back("cross_entropy", cross_entropy_ / divisor_);
    return all;
  }

 private:
  FrozenModel teacher_;
  double kl_ = 0, cross_entropy_ = 0;  // sums over the step
};

}  // namespace

std::unique_ptr<Objective> make_supervised(const TrainConfig& config, const TrainableModel& trained,
                                           const TrainData& data) {
  return std::make_unique<Supervised>(config, trained, data);
}

std::unique_ptr<Objective> make_distillation(const TrainConfig& config, const TrainableModel& trained,
                                             const TrainData& data, Runtime& runtime, Arena& arena) {
  return std::make_unique<Distillation>(config, trained, data, runtime, arena);
}

double evaluate_loss(Context& ctx, const CausalModel& model, const std::vector<data::Sample>& samples) {
  double sum = 0;
  int64_t labels = 0;
  data::Loader loader(samples, {.batch_size = 4, .shuffle = false});
  for (int64_t step = 0; step < loader.steps_per_epoch(); ++step) {
    const data::StepBatch batch = loader.batch(step);
    if (batch.label_tokens == 0) continue;
    const Variable hidden = model.hidden_states(ctx, to_batch(batch, {}));
    std::vector<float> losses;
    ops::cross_entropy_head(ctx, hidden, model.head(), targets_of(batch), 1, &losses);
    for (const float loss : losses) sum += double(loss);
    labels += batch.label_tokens;
  }
  return sum / double(std::max<int64_t>(labels, 1));
}

double train_on(Context& ctx, Tape& tape, const CausalModel& model, const data::StepBatch& batch, double divisor,
                bool recompute) {
  if (batch.label_tokens == 0) return 0;
  TrainConfig config;
  config.gradient_checkpointing = recompute;
  Context recording = ctx;
  recording.tape = &tape;
  const Variable hidden = model.hidden_states(recording, to_batch(batch, config));
  const Variable loss = ops::cross_entropy_head(recording, hidden, model.head(), targets_of(batch), float(1 / divisor));
  const double value = value_of(ctx, loss);
  tape.backward(recording, loss);
  return value;
}

}  // namespace sedum
