#pragma once
// A decoder-only language model, as training, inference and evaluation see it.

#include <memory>

#include "model/config.h"
#include "model/nn/batch.h"
#include "model/nn/linear.h"

namespace sedum {

class CausalModel {
 public:
  virtual ~CausalModel() = default;
  virtual const ModelConfig& config() const = 0;
  // The last layer's output, normalised: (rows, hidden_size).
  virtual Variable hidden_states(Context& ctx, const Batch& batch) const = 0;
  // The head: logits = hidden · Wᵀ, capped where it says so.
  virtual const ops::Weight& head() const = 0;
  Variable logits(Context& ctx, const Variable& hidden) const { return ops::head_logits(ctx, hidden, head()); }
};

// Builds the architecture that the config names, of the factory's layers. Error for one that is not known.
std::unique_ptr<CausalModel> build_model(const ModelConfig& config, LayerFactory& factory);

}  // namespace sedum
