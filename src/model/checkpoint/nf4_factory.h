#pragma once
// A frozen base in NF4 with double quantisation, whatever it is stored as: what QLoRA trains on (Dettmers et al. 2023).
//
//   CheckpointFactory stored(checkpoint, CheckpointFactory::Use::kFrozen, pool, arena);
//   Nf4Factory base(stored, pool, arena);                      // 4.5 bits a weight in memory
//   LoraFactory factory(base, config, pool, arena, seed);

#include "model/checkpoint/export.h"
#include "model/nn/linear.h"

namespace sedum {

// Linears become NF4, a tensor at a time; embeddings, head, norms and biases stay as they are, as in bitsandbytes. Error for a layer whose
// in_features is no multiple of 64.
class Nf4Factory : public LayerFactory {
 public:
  Nf4Factory(LayerFactory& stored, ThreadPool& pool, Arena& arena) : stored_(stored), pool_(pool), arena_(arena) {}
  std::unique_ptr<Linear> linear(const std::string& name, int64_t out_features, int64_t in_features,
                                 bool bias) override;
  Variable vector(const std::string& name, int64_t size) override { return stored_.vector(name, size); }
  ops::Weight table(const std::string& name, int64_t rows, int64_t cols) override {
    return stored_.table(name, rows, cols);
  }
  ops::Weight tied_head(const ops::Weight& embeddings) override { return stored_.tied_head(embeddings); }

 private:
  LayerFactory& stored_;
  ThreadPool& pool_;
  Arena& arena_;
};

// A model's tensors as Nf4Factory has them: the matrices of its linear layers rounded to NF4, the rest as stored. For what an adapter that
// was trained on such a base is merged into. checkpoint and pool must outlive the reader.
TensorReader nf4_values(const Checkpoint& checkpoint, ThreadPool& pool);

}  // namespace sedum
