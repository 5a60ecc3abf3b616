// What happens to one batch: forward, loss, backward.

#include "compute/ops/loss.h"
#include "train/train.h"

namespace sedum {
namespace {

Batch to_batch(const data::StepBatch& from, bool recompute) {
  auto segments = std::make_shared<std::vector<AttentionSegment>>();
  for (const data::Segment& s : from.segments) segments->push_back({s.begin, s.count, s.begin, s.count});
  Batch batch;
  batch.ids = std::make_shared<const std::vector<int32_t>>(from.ids);
  batch.positions = from.positions;
  batch.segments = std::move(segments);
  batch.recompute = recompute;
  return batch;
}

Variable loss_of(Context& ctx, const CausalModel& model, const data::StepBatch& batch, double divisor, bool recompute) {
  const Variable hidden = model.hidden_states(ctx, to_batch(batch, recompute));
  return ops::cross_entropy_head(ctx, hidden, model.head(), std::make_shared<const std::vector<int32_t>>(batch.targets),
                                 float(1 / divisor));
}

double value_of(Context& ctx, const Variable& loss) { return ctx.runs() ? double(*loss.value().data<float>()) : 0; }

}  // namespace

double train_on(Context& ctx, Tape& tape, const CausalModel& model, const data::StepBatch& batch, double divisor,
                bool recompute) {
  if (batch.label_tokens == 0) return 0;
  Context recording = ctx;
  recording.tape = &tape;
  const Variable loss = loss_of(recording, model, batch, divisor, recompute);
  const double value = value_of(ctx, loss);
  tape.backward(recording, loss);
  return value;
}

double evaluate_loss(Context& ctx, const CausalModel& model, const std::vector<data::Sample>& samples) {
  double sum = 0;
  int64_t labels = 0;
  data::Loader loader(samples, {.batch_size = 4, .shuffle = false});
  for (int64_t step = 0; step < loader.steps_per_epoch(); ++step) {
    const data::StepBatch batch = loader.batch(step);
    if (batch.label_tokens == 0) continue;
    sum += value_of(ctx, loss_of(ctx, model, batch, double(batch.label_tokens), false)) * double(batch.label_tokens);
    labels += batch.label_tokens;
  }
  return sum / double(std::max<int64_t>(labels, 1));
}

}  // namespace sedum
