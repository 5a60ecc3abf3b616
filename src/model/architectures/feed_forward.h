#pragma once
// What stands behind attention in Llama's family: one gated feed-forward for all tokens, or a mixture of experts.

#include <memory>

#include "model/config.h"
#include "model/nn/linear.h"

namespace sedum {

class FeedForward {
 public:
  virtual ~FeedForward() = default;
  // (rows, hidden_size) → the same. A mixture puts its router's logits (rows, experts) into `router_logits`, if that is not null.
  virtual Variable forward(Context& ctx, const Variable& x, Variable* router_logits) const = 0;
};

// What the config says of that layer.
std::unique_ptr<FeedForward> make_feed_forward(const ModelConfig& config, int64_t layer, LayerFactory& factory);

}  // namespace sedum
