// sft and pretrain: the next token's cross-entropy. distill: mixed with the distance from a teacher.

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
      : config_(config), model_(*trained.model), data_(data) {}

  void begin_step(Context&, int64_t step) override { divisor_ = double(data_.train->label_tokens(step)); }

  double train_on(Context& ctx, Tape& tape, const data::StepBatch& batch) override {
    if (batch.label_tokens == 0) return 0;
    Context recording = training_context(ctx, tape, batch);
    const Variable hidden = model_.hidden_states(recording, to_batch(batch, config_));
    const Variable loss = ops::cross_entropy_head(recording, hidden, model_.head(), targets_of(batch),
                                                  float(scale_ / divisor_), nullptr, config_.label_smoothing_factor);
    const double value = value_of(ctx, loss) / scale_;
    tape.backward(recording, loss);
    return value;
  }

  double evaluate(Context& ctx, Metrics*) override { return evaluate_loss(ctx, model_, data_.eval); }

 protected:
  const TrainConfig& config_;
  const CausalModel& model_;
  const TrainData& data_;
  double divisor_ = 1;
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
    const Variable hidden = model_.hidden_states(recording, to_batch(batch, config_));
    double kl = 0, cross_entropy = 0;
    const Variable loss = ops::distillation_head(
        recording, hidden, model_.head(), {theirs, teacher_.model->head()}, targets_of(batch),
        {.alpha = config_.alpha, .temperature = config_.temperature}, float(scale_ / divisor_), &kl, &cross_entropy);
    kl_ += kl, cross_entropy_ += cross_entropy;
    const double value = value_of(ctx, loss) / scale_;
    tape.backward(recording, loss);
    return value;
  }

  Metrics metrics() override { return {{"kl", kl_ / divisor_}, {"cross_entropy", cross_entropy_ / divisor_}}; }

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
