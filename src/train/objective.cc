#include "train/objective.h"

#include "model/checkpoint/nf4_factory.h"
#include "train/objectives/objectives.h"

namespace sedum {

FrozenModel::FrozenModel(const std::string& path, Runtime& runtime, Arena& arena, bool nf4)
    : checkpoint(Checkpoint::open(path)) {
  CheckpointFactory stored(checkpoint, CheckpointFactory::Use::kFrozen, runtime.pool, arena);
  Nf4Factory quantised(stored, runtime.pool, arena);
  model = build_model(checkpoint.config(), nf4 ? static_cast<LayerFactory&>(quantised) : stored);
}

Batch to_batch(const data::StepBatch& from, const TrainConfig& config) {
  auto segments = std::make_shared<std::vector<AttentionSegment>>();
  for (const data::Segment& s : from.segments) segments->push_back({s.begin, s.count, s.begin, s.count});
  Batch batch;
  batch.ids = std::make_shared<const std::vector<int32_t>>(from.ids);
  batch.positions = from.positions;
  batch.segments = std::move(segments);
  batch.recompute = config.gradient_checkpointing;
  batch.neftune_noise_alpha = config.neftune_noise_alpha;
  return batch;
}

Context training_context(const Context& ctx, Tape& tape, const data::StepBatch& batch) {
  Context recording = ctx;
  recording.tape = &tape;
  auto rows = std::make_shared<RowKeys>();
  for (size_t s = 0; s < batch.segments.size(); ++s)
    for (int32_t i = 0; i < batch.segments[s].count; ++i)
      rows->sequence.push_back(batch.samples[s]), rows->position.push_back(uint32_t(batch.offsets[s] + i));
  recording.rows = std::move(rows);
  return recording;
}

std::unique_ptr<Objective> make_objective(const TrainConfig& config, const TrainableModel& trained,
                                          const TrainData& data, Runtime& runtime, Arena& arena) {
  if (config.prefers()) return make_preference(config, trained, data, runtime, arena);
  if (config.stage == "distill") return make_distillation(config, trained, data, runtime, arena);
  if (config.stage == "mlm") return make_masked_lm(config, trained, data);
  if (config.stage == "embed") return make_paired_texts(config, trained, data);
  if (config.stage == "classify") return make_classification(config, trained, data);
  if (config.stage == "seq2seq") return make_seq2seq(config, trained, data);
  return make_supervised(config, trained, data);
}

}  // namespace sedum
