#pragma once
// The model that a run trains: its checkpoint, its layers, and the parameters that move.

#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "model/architectures/bert.h"
#include "model/architectures/t5.h"
#include "model/runtime_model.h"
#include "train/config.h"

namespace sedum {

struct TrainableModel {
  Checkpoint checkpoint;
  std::unique_ptr<CausalModel> model;
  std::unique_ptr<BertModel> encoder;  // with stages mlm, embed and classify, instead of `model`
  std::unique_ptr<T5Model> seq2seq;    // with stage seq2seq
  std::vector<Variable> parameters;
  std::optional<LoraConfig> lora;               // none: all parameters
  std::map<std::string, Tensor> first_weights;  // of an adapter that changed the base: LoraFactory::first_weights()
  size_t packed_bytes = 0;                      // a frozen base's int8 forms
  int64_t trainable_count() const;
};

// What model_name_or_path or the `model:` block means; with stage classify as a classifier of the labels that the rows have.
Checkpoint open_checkpoint(const TrainConfig& config);
// Parameters live in `arena`: the runtime's own, or one without memory to plan a run.
TrainableModel build_trainable(const TrainConfig& config, Runtime& runtime, Arena& arena);
// The result in the form that others load: PEFT's folder, or Hugging Face's.
void write_result(const TrainableModel& trained, const std::filesystem::path& output_dir);

}  // namespace sedum
