// Qwen3 (Yang et al.: "Qwen3 Technical Report", 2025): Llama without biases, where each head of q and k is normalised before it is
// rotated, which keeps scores in bounds (Dehghani et al.: "Scaling Vision Transformers to 22 Billion Parameters", 2023). Qwen3-MoE has
// mixtures of experts as well.

#include "compute/ops/elementwise.h"
#include "compute/ops/norm.h"
#include "model/architectures/llama.h"
#include "model/architectures/makers.h"

namespace sedum {
namespace {

class Qwen3Model : public LlamaModel {
 public:
  Qwen3Model(const ModelConfig& config, LayerFactory& factory) : LlamaModel(config, factory) {
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

  Variable positioned(Context& ctx, int64_t layer, Side side, const Variable& x, const Step& step) const override {
    const Norms& norms = norms_[size_t(layer)];
    const Variable heads = ops::reshape(ctx, x, {x.value().count() / config_.head_dim, config_.head_dim});
    const Variable normed = ops::rms_norm(ctx, heads, side == Side::kQuery ? norms.q : norms.k, config_.rms_norm_eps);
    return LlamaModel::positioned(ctx, layer, side, ops::reshape(ctx, normed, x.shape()), step);
  }

  std::vector<Norms> norms_;
};

}  // namespace

std::unique_ptr<CausalModel> make_qwen3(const ModelConfig& config, LayerFactory& factory) {
  return std::make_unique<Qwen3Model>(config, factory);
}

}  // namespace sedum
