#pragma once
// An encoder ready to run: checkpoint, adapter, and the head that the adapter was trained with.
//
//   Runtime runtime;
//   const RuntimeEncoder encoder(runtime, "runs/reviews");       // a model's folder, an adapter's, or that of a run with either
//   Variable hidden = encoder.model().hidden_states(ctx, batch);

#include <filesystem>
#include <memory>

#include "model/architectures/bert.h"
#include "model/runtime_model.h"

namespace sedum {

class RuntimeEncoder {
 public:
  // Error for a model that is neither BERT's nor RoBERTa's.
  RuntimeEncoder(Runtime& runtime, const std::filesystem::path& path, Compute compute = Compute::kF32,
                 std::filesystem::path adapter = {});
  const BertModel& model() const { return *model_; }
  const Checkpoint& checkpoint() const { return checkpoint_; }
  Compute compute() const { return compute_; }
  Runtime& runtime() const { return runtime_; }
  int64_t most_tokens() const {
    return model_->config().max_position_embeddings - model_->config().encoder.position_offset;
  }

 private:
  Runtime& runtime_;
  Compute compute_;
  Checkpoint checkpoint_;
  std::unique_ptr<BertModel> model_;
};

// The labels of an adapter that was trained to classify, beside its weights: PEFT has no place for them. labels.json:
// {"head": "sequence" or "token", "id2label": {"0": …}}.
void write_labels(const std::filesystem::path& adapter, const EncoderConfig& encoder);
// The checkpoint as that adapter wants it: with a classifier of its labels, if it has any.
Checkpoint with_labels_of(const Checkpoint& checkpoint, const std::filesystem::path& adapter);

}  // namespace sedum
