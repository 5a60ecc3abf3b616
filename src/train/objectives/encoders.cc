// mlm: the cross-entropy of masked tokens. seq2seq: of a target given its source. embed: of a text's partner among all of the batch.

#include <algorithm>
#include <cmath>

#include "compute/ops/elementwise.h"
#include "compute/ops/loss.h"
#include "compute/ops/norm.h"
#include "compute/ops/pooling.h"
#include "data/masking.h"
#include "model/nn/row_keys.h"
#include "train/objectives/objectives.h"

namespace sedum {
namespace {

using Ids32 = std::vector<int32_t>;

double value_of(Context& ctx, const Variable& loss) { return ctx.runs() ? double(*loss.value().data<float>()) : 0; }

ops::Ids shared(Ids32 ids) { return std::make_shared<const Ids32>(std::move(ids)); }

int32_t mask_token(const Checkpoint& checkpoint) {
  for (const char* name : {"[MASK]", "<mask>"})
    if (const auto id = checkpoint.tokenizer()->id_of(name)) return *id;
  throw Error("the tokenizer has no [MASK] and no <mask>", "stage: mlm needs one: choose another tokenizer");
}

class MaskedLm : public Objective {
 public:
  MaskedLm(const TrainConfig& config, const TrainableModel& trained, const TrainData& data)
      : config_(config),
        model_(*trained.encoder),
        data_(data),
        masks_{.share = double(config.mlm_probability),
               .mask_token = mask_token(trained.checkpoint),
               .vocab_size = trained.encoder->config().vocab_size,
               .seed = config.seed} {}

  // Masks are drawn twice: to know how many tokens the whole step guesses, and to guess them.
  void begin_step(Context&, int64_t step) override {
    int64_t count = 0;
    for (int micro = 0; micro < config_.gradient_accumulation_steps; ++micro)
      count += int64_t(data::mask_tokens(data_.train->batch(step, micro), masks_, step).rows.size());
    divisor_ = double(std::max<int64_t>(1, count));
  }

  double train_on(Context& ctx, Tape& tape, const data::StepBatch& batch) override {
    Context recording = training_context(ctx, tape, batch);
    const data::Masked masked = data::mask_tokens(batch, masks_, ctx.step);
    if (masked.rows.empty()) return 0;
    const Variable loss = loss_of(recording, batch, masked, divisor_ / scale_);
    const double value = value_of(ctx, loss) / scale_;
    tape.backward(recording, loss);
    return value;
  }

  // Over masks that are the same at every evaluation.
  double evaluate(Context& ctx, Metrics*) override {
    double sum = 0, count = 0;
    data::Loader loader(data_.eval, {.batch_size = 4, .shuffle = false});
    for (int64_t step = 0; step < loader.steps_per_epoch(); ++step) {
      const data::StepBatch batch = loader.batch(step);
      const data::Masked masked = data::mask_tokens(batch, masks_, kEvaluation);
      if (masked.rows.empty()) continue;
      sum += value_of(ctx, loss_of(ctx, batch, masked, 1)), count += double(masked.rows.size());
    }
    return sum / std::max(count, 1.0);
  }

 private:
  static constexpr int64_t kEvaluation = 0xFFFFFFFF;  // a step that no run reaches

  Variable loss_of(Context& ctx, const data::StepBatch& batch, const data::Masked& masked, double divisor) const {
    Batch seen = to_batch(batch, config_);
    seen.ids = shared(masked.ids);
    const Variable hidden = ops::select_rows(ctx, model_.hidden_states(ctx, seen), shared(masked.rows));
    Context of_rows = context_of_rows(ctx, masked.rows);
    return ops::cross_entropy(ctx, model_.masked_lm_logits(of_rows, hidden), shared(masked.labels), float(1 / divisor));
  }

  const TrainConfig& config_;
  const BertModel& model_;
  const TrainData& data_;
  const data::MaskOptions masks_;
  double divisor_ = 1;
};

// Samples hold a source and a target as two sequences: see load_pairs_of_texts(). Here they are two batches again.
struct SourcesAndTargets {
  data::StepBatch sources, targets;
};
SourcesAndTargets apart(const data::StepBatch& batch) {
  SourcesAndTargets both;
  for (size_t s = 0; s < batch.segments.size(); ++s) {
    data::StepBatch& to = s % 2 == 0 ? both.sources : both.targets;
    const data::Segment& segment = batch.segments[s];
    to.segments.push_back({int32_t(to.ids.size()), segment.count});
    to.samples.push_back(batch.samples[s]), to.offsets.push_back(batch.offsets[s]);
    for (int32_t i = segment.begin; i < segment.begin + segment.count; ++i) {
      to.ids.push_back(batch.ids[size_t(i)]), to.targets.push_back(batch.targets[size_t(i)]);
      to.positions.push_back(batch.positions[size_t(i)]);
      to.label_tokens += batch.targets[size_t(i)] != data::kIgnored;
    }
  }
  return both;
}

class Seq2Seq : public Objective {
 public:
  Seq2Seq(const TrainConfig& config, const TrainableModel& trained, const TrainData& data)
      : config_(config), model_(*trained.seq2seq), data_(data) {}

  void begin_step(Context&, int64_t step) override { divisor_ = double(data_.train->label_tokens(step)); }

  double train_on(Context& ctx, Tape& tape, const data::StepBatch& batch) override {
    if (batch.label_tokens == 0) return 0;
    const SourcesAndTargets both = apart(batch);
    Context reading = training_context(ctx, tape, both.sources), writing = training_context(ctx, tape, both.targets);
    const Variable loss = loss_of(reading, writing, both, divisor_ / scale_, config_.label_smoothing_factor);
    const double value = value_of(ctx, loss) / scale_;
    tape.backward(writing, loss);
    return value;
  }

  double evaluate(Context& ctx, Metrics*) override {
    double sum = 0, count = 0;
    data::Loader loader(data_.eval, {.batch_size = 4, .shuffle = false});
    for (int64_t step = 0; step < loader.steps_per_epoch(); ++step) {
      const data::StepBatch batch = loader.batch(step);
      if (batch.label_tokens == 0) continue;
      sum += value_of(ctx, loss_of(ctx, ctx, apart(batch), 1, 0)), count += double(batch.label_tokens);
    }
    return sum / std::max(count, 1.0);
  }

 private:
  Variable loss_of(Context& reading, Context& writing, const SourcesAndTargets& both, double divisor,
                   float smoothing) const {
    const Batch sources = to_batch(both.sources, config_), targets = to_batch(both.targets, config_);
    const Variable hidden = model_.decode(writing, targets, model_.encode(reading, sources), sources);
    return ops::cross_entropy_head(writing, hidden, model_.head(), shared(both.targets.targets), float(1 / divisor),
                                   nullptr, smoothing);
  }

  const TrainConfig& config_;
  const T5Model& model_;
  const TrainData& data_;
  double divisor_ = 1;
};

// Pairs of texts that belong together: each first text must find its second among those of the micro-batch, by the cosine of mean-pooled
// states, times 20 (Henderson et al.: "Efficient Natural Language Response Suggestion", 2017; sentence-transformers'
// MultipleNegativesRankingLoss).
class PairedTexts : public Objective {
 public:
  PairedTexts(const TrainConfig& config, const TrainableModel& trained, const TrainData& data)
      : config_(config), model_(*trained.encoder), data_(data) {}

  void begin_step(Context&, int64_t step) override { divisor_ = double(data_.train->label_tokens(step)); }

  double train_on(Context& ctx, Tape& tape, const data::StepBatch& batch) override {
    if (batch.segments.empty()) return 0;
    Context recording = training_context(ctx, tape, batch);
    const Variable loss = loss_of(recording, batch, divisor_ / scale_, nullptr);
    const double value = value_of(ctx, loss) / scale_;
    tape.backward(recording, loss);
    return value;
  }

  double evaluate(Context& ctx, Metrics* figures) override {
    double sum = 0, found = 0;
    const auto pairs = double(data_.eval.size());
    data::Loader loader(data_.eval, {.batch_size = config_.per_device_train_batch_size, .shuffle = false});
    for (int64_t step = 0; step < loader.steps_per_epoch(); ++step)
      sum += value_of(ctx, loss_of(ctx, loader.batch(step), 1, &found));
    if (figures) figures->emplace_back("accuracy", found / pairs);
    return sum / pairs;
  }

 private:
  // found: grows by the pairs whose partner is the nearest.
  Variable loss_of(Context& ctx, const data::StepBatch& batch, double divisor, double* found) const {
    constexpr float kScale = 20;
    const Batch texts = to_batch(batch, config_);
    const int64_t width = model_.config().hidden_size;
    Tensor to_unit = ctx.empty(DType::kF32, {width});  // rms_norm times 1/√width has length 1
    if (ctx.runs()) std::fill_n(to_unit.data<float>(), width, 1 / std::sqrt(float(width)));
    const Variable pooled = ops::segment_mean(ctx, model_.hidden_states(ctx, texts), texts.segments);
    const Variable unit = ops::rms_norm(ctx, pooled, Variable(to_unit), 1e-12f);
    Ids32 first, second, labels;
    for (int32_t i = 0; i < int32_t(batch.segments.size()); i += 2)
      first.push_back(i), second.push_back(i + 1), labels.push_back(i / 2);
    const ops::Weight partners{ops::select_rows(ctx, unit, shared(second))};
    Context exact = ctx;
    exact.compute = Compute::kF32;  // small, and cosines near 1 want their bits
    const Variable logits =
        ops::scale(ctx, ops::linear(exact, ops::select_rows(ctx, unit, shared(first)), partners), kScale);
    if (found && ctx.runs())
      for (size_t i = 0; i < labels.size(); ++i) {
        const float* row = logits.value().data<float>() + i * labels.size();
        *found += std::max_element(row, row + labels.size()) - row == labels[i];
      }
    return ops::cross_entropy(ctx, logits, shared(labels), float(1 / divisor));
  }

  const TrainConfig& config_;
  const BertModel& model_;
  const TrainData& data_;
  double divisor_ = 1;
};

}  // namespace

std::unique_ptr<Objective> make_paired_texts(const TrainConfig& config, const TrainableModel& trained,
                                             const TrainData& data) {
  return std::make_unique<PairedTexts>(config, trained, data);
}

std::unique_ptr<Objective> make_masked_lm(const TrainConfig& config, const TrainableModel& trained,
                                          const TrainData& data) {
  return std::make_unique<MaskedLm>(config, trained, data);
}

std::unique_ptr<Objective> make_seq2seq(const TrainConfig& config, const TrainableModel& trained,
                                        const TrainData& data) {
  return std::make_unique<Seq2Seq>(config, trained, data);
}

}  // namespace sedum
