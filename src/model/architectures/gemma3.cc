// Gemma 3 (Gemma Team: "Gemma 3 Technical Report", 2025): Gemma 2 with five layers with a window for each that sees all, whose rotary bases
// differ, and with q and k normalised by head in place of the soft caps.

#include "compute/ops/elementwise.h"
#include "model/architectures/gemma2.h"
#include "model/architectures/makers.h"

namespace sedum {
namespace {

// Sliding layers have a base of their own, and no scaling.
ModelConfig local(ModelConfig config) {
  config.rope_theta = config.rope_local_base_freq, config.rope_scaling = {};
  return config;
}

class Gemma3Model : public Gemma2Model {
 public:
  Gemma3Model(const ModelConfig& config, LayerFactory& factory)
      : Gemma2Model(config, factory), local_rotary_(local(config)) {
    for (int64_t i = 0; i < config.num_hidden_layers; ++i) {
      const std::string at = "model.layers." + std::to_string(i) + ".self_attn.";
      norms_.push_back(
          {factory.vector(at + "q_norm", config.head_dim), factory.vector(at + "k_norm", config.head_dim)});
    }
  }

 private:
  struct Norms {
    Variable q, k;
  };

  const Rotary& local_rotary() const override { return local_rotary_; }

  Variable positioned(Context& ctx, int64_t layer, Side side, const Variable& x, const Step& step) const override {
    const Norms& norms = norms_[size_t(layer)];
    const Variable heads = ops::reshape(ctx, x, {x.value().count() / config_.head_dim, config_.head_dim});
    const Variable normed = norm(ctx, heads, side == Side::kQuery ? norms.q : norms.k);
    return Gemma2Model::positioned(ctx, layer, side, ops::reshape(ctx, normed, x.shape()), step);
  }

  Rotary local_rotary_;
  std::vector<Norms> norms_;
};

}  // namespace

std::unique_ptr<CausalModel> make_gemma3(const ModelConfig& config, LayerFactory& factory) {
  return std::make_unique<Gemma3Model>(config, factory);
}

}  // namespace sedum
