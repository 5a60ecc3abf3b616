#pragma once
// Layers whose matrices are trained in bf16: what another factory gives as f32 parameters, rounded. Norms and biases stay f32.
//
//   Bf16Factory factory(base, pool, arena);
//   auto model = build_model(config, factory);     // factory.parameters() are what moves

#include "model/checkpoint/factory.h"

namespace sedum {

class Bf16Factory : public LayerFactory {
 public:
  Bf16Factory(LayerFactory& base, ThreadPool& pool, Arena& arena) : base_(base), pool_(pool), arena_(arena) {}
  std::unique_ptr<Linear> linear(const std::string& name, int64_t out_features, int64_t in_features,
                                 bool bias) override;
  Variable vector(const std::string& name, int64_t size) override;
  ops::Weight table(const std::string& name, int64_t rows, int64_t cols) override;
  const std::vector<Variable>& parameters() const { return parameters_; }

 private:
  Variable narrowed(const Variable& wide);
  LayerFactory& base_;
  ThreadPool& pool_;
  Arena& arena_;
  std::vector<Variable> parameters_;
};

}  // namespace sedum
