#pragma once
// Layers built of a checkpoint's weights, or of random numbers.

#include <map>

#include "base/progress.h"
#include "model/causal_model.h"
#include "model/checkpoint/checkpoint.h"
#include "model/checkpoint/packed_store.h"

namespace sedum {

// Which packed int8 forms frozen matrices get: for the forward product (the stored bits again), and for the backward one as well. In an
// arena without memory their sizes are known and nothing is filled.
enum class Pack { kNone, kForward, kBoth };

class CheckpointFactory : public LayerFactory {
 public:
  enum class Use {
    kFrozen,     // weights as they are stored, mapped
    kTrainable,  // every weight a parameter: decoded to f32
  };
  // `store`: where packed forms for the forward product come from and go to; may be null.
  CheckpointFactory(const Checkpoint& checkpoint, Use use, ThreadPool& pool, Arena& arena, Pack pack = Pack::kNone,
                    PackedStore* store = nullptr);

  std::unique_ptr<Linear> linear(const std::string& name, int64_t out_features, int64_t in_features,
                                 bool bias) override;
  Variable vector(const std::string& name, int64_t size) override;
  ops::Weight table(const std::string& name, int64_t rows, int64_t cols) override;

  const std::vector<Variable>& parameters() const {
    return parameters_;
  }  // with kTrainable, named as in Hugging Face's files
  size_t packed_bytes() const { return packed_bytes_; }
  // From now on weights that are packed and whose stored form would be a copy (Checkpoint::outline) are not held in that form: for models that
  // only ever multiply by the packed one. A seventh of a Llama-2-7B otherwise.
  void leave_out_copies() { leave_out_copies_ = true; }

 private:
  Tensor checked(const std::string& name, const Shape& shape, Tensor tensor) const;
  Tensor checked(const std::string& name, const Shape& shape) const {
    return checked(name, shape, checkpoint_.tensor(name));
  }
  Variable variable(const Tensor& stored, const std::string& name, bool keep_type);
  ops::Weight weight(const std::string& name, const Shape& shape);
  const Checkpoint& checkpoint_;
  Use use_;
  ThreadPool& pool_;
  Arena& arena_;
  Pack pack_;
  PackedStore* store_;
  bool leave_out_copies_ = false;
  float outliers_ = 0;  // of a folder in LLM.int8's form: activations above this are multiplied apart; 0: none
  size_t packed_bytes_ = 0;
  std::vector<Variable> parameters_;
};

// Weights as transformers initialises them: normal with `deviation` (initializer_range), norms 1, biases 0. Everything is a parameter unless `frozen`, then
// matrices are stored as `frozen_dtype`. In an arena without memory nothing is filled.
class RandomFactory : public LayerFactory {
 public:
  RandomFactory(ThreadPool& pool, Arena& arena, uint64_t seed, bool frozen = false, DType frozen_dtype = DType::kF32,
                Pack pack = Pack::kNone, float deviation = 0.02f)
      : pool_(pool),
        arena_(arena),
        seed_(seed),
        frozen_(frozen),
        frozen_dtype_(frozen_dtype),
        pack_(pack),
        deviation_(deviation) {}
  std::unique_ptr<Linear> linear(const std::string& name, int64_t out_features, int64_t in_features,
                                 bool bias) override;
  Variable vector(const std::string& name, int64_t size) override;
  ops::Weight table(const std::string& name, int64_t rows, int64_t cols) override;
  const std::vector<Variable>& parameters() const { return parameters_; }

 private:
  Variable filled(const std::string& name, const Shape& shape, float deviation, float mean);
  ThreadPool& pool_;
  Arena& arena_;
  uint64_t seed_;
  bool frozen_;
  DType frozen_dtype_;
  Pack pack_;
  float deviation_;
  std::vector<Variable> parameters_;
};

// Layers of a checkpoint, and new ones where it has none: the head of a task that a model is to learn.
class CompletedFactory : public LayerFactory {
 public:
  CompletedFactory(const Checkpoint& checkpoint, LayerFactory& stored, LayerFactory& fresh)
      : checkpoint_(checkpoint), stored_(stored), fresh_(fresh) {}
  std::unique_ptr<Linear> linear(const std::string& name, int64_t out_features, int64_t in_features,
                                 bool bias) override {
    return of(name, name + ".weight").linear(name, out_features, in_features, bias);
  }
  Variable vector(const std::string& name, int64_t size) override {
    return of(name, vector_name(name)).vector(name, size);
  }
  ops::Weight table(const std::string& name, int64_t rows, int64_t cols) override {
    return of(name, name + ".weight").table(name, rows, cols);
  }
  const std::vector<std::string>& fresh_layers() const { return fresh_layers_; }

 private:
  LayerFactory& of(const std::string& name, const std::string& tensor) {
    if (checkpoint_.has(tensor)) return stored_;
    fresh_layers_.push_back(name);
    return fresh_;
  }
  const Checkpoint& checkpoint_;
  LayerFactory &stored_, &fresh_;
  std::vector<std::string> fresh_layers_;
};

// f32 copy of a stored tensor of any type.
Tensor decoded(const Tensor& stored, ThreadPool& pool, Arena& arena);

}  // namespace sedum
