#include "model/architectures/feed_forward.h"

#include "compute/ops/elementwise.h"
#include "compute/ops/experts.h"

namespace sedum {
namespace {

// down(silu(gate(x)) · up(x)). Shazeer: "GLU Variants Improve Transformer", 2020.
struct Gated {
  std::unique_ptr<Linear> gate, up, down;
  Variable forward(Context& ctx, const Variable& x) const {
    const auto inner = forward_together(ctx, x, {gate.get(), up.get()});
    return down->forward(ctx, ops::swiglu(ctx, inner[0], inner[1]));
  }
};

class DenseFeedForward : public FeedForward {
 public:
  DenseFeedForward(const ModelConfig& c, const std::string& at, LayerFactory& factory)
      : gated_{.gate = factory.linear(at + "mlp.gate_proj", c.intermediate_size, c.hidden_size, c.mlp_bias),
               .up = factory.linear(at + "mlp.up_proj", c.intermediate_size, c.hidden_size, c.mlp_bias),
               .down = factory.linear(at + "mlp.down_proj", c.hidden_size, c.intermediate_size, c.mlp_bias)} {}
  Variable forward(Context& ctx, const Variable& x, Variable*) const override { return gated_.forward(ctx, x); }

 private:
  Gated gated_;
};

// Jiang et al.: "Mixtral of Experts", 2024. The router is a table and no layer: it is neither quantised nor adapted.
class SparseFeedForward : public FeedForward {
 public:
  SparseFeedForward(const ModelConfig& c, const std::string& at, LayerFactory& factory)
      : routing_{.experts_per_row = int(c.num_experts_per_tok), .normalised = c.norm_topk_prob} {
    const bool mixtral = c.model_type == "mixtral";
    const std::string block = at + (mixtral ? "block_sparse_moe." : "mlp.");
    router_ = factory.table(block + "gate", c.num_experts, c.hidden_size);
    for (int64_t e = 0; e < c.num_experts; ++e) {
      const std::string expert = block + "experts." + std::to_string(e) + ".";
      const int64_t hidden = c.hidden_size, inner = c.moe_intermediate_size;
      experts_.push_back({.gate = factory.linear(expert + (mixtral ? "w1" : "gate_proj"), inner, hidden, false),
                          .up = factory.linear(expert + (mixtral ? "w3" : "up_proj"), inner, hidden, false),
                          .down = factory.linear(expert + (mixtral ? "w2" : "down_proj"), hidden, inner, false)});
    }
  }

  Variable forward(Context& ctx, const Variable& x, Variable* router_logits) const override {
    const Variable logits = ops::linear(ctx, x, router_);
    if (router_logits) *router_logits = logits;
    const ops::Routed to = ops::route(ctx, logits, routing_);
    const Variable sorted = ops::dispatch(ctx, x, to.routing);
    std::vector<Variable> outputs(experts_.size());
    for (size_t e = 0; e < experts_.size(); ++e) {
      const int64_t begin = to.routing->begin[e], count = to.routing->rows(int64_t(e));
      if (count == 0) continue;
      Context inner = ctx;
      inner.rows = keys_of(ctx, *to.routing, begin, count);
      outputs[e] = experts_[e].forward(inner, ops::row_range(ctx, sorted, begin, count));
    }
    return ops::combine(ctx, to.weights, outputs, to.routing);
  }

 private:
  // Whose rows an expert has: an adapter's dropout on it is counted by them.
  static std::shared_ptr<const RowKeys> keys_of(const Context& ctx, const ops::Routing& routing, int64_t begin,
                                                int64_t count) {
    if (!ctx.rows) return nullptr;
    auto keys = std::make_shared<RowKeys>();
    for (int64_t i = begin; i < begin + count; ++i) {
      const size_t row = size_t(routing.row[size_t(i)]);
      keys->sequence.push_back(ctx.rows->sequence[row]), keys->position.push_back(ctx.rows->position[row]);
    }
    return keys;
  }

  ops::RoutingOptions routing_;
  ops::Weight router_;
  std::vector<Gated> experts_;
};

}  // namespace

std::unique_ptr<FeedForward> make_feed_forward(const ModelConfig& config, int64_t layer, LayerFactory& factory) {
  const std::string at = "model.layers." + std::to_string(layer) + ".";
  if (config.is_sparse(layer)) return std::make_unique<SparseFeedForward>(config, at, factory);
  return std::make_unique<DenseFeedForward>(config, at, factory);
}

}  // namespace sedum
