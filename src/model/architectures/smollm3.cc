// SmolLM3 (Bakouch et al. 2025): Llama, but every fourth layer sees no positions (NoPE), which is what lets it reach beyond the trained
// context. Yang et al.: "Rope to Nope and Back Again", 2025.

#include "model/architectures/llama.h"
#include "model/architectures/makers.h"

namespace sedum {
namespace {

class SmolLM3Model : public LlamaModel {
 public:
  using LlamaModel::LlamaModel;

 private:
  Variable positioned(Context& ctx, int64_t layer, Side side, const Variable& x, const Step& step) const override {
    return config_.rotates(layer) ? LlamaModel::positioned(ctx, layer, side, x, step) : x;
  }
};

}  // namespace

std::unique_ptr<CausalModel> make_smollm3(const ModelConfig& config, LayerFactory& factory) {
  return std::make_unique<SmolLM3Model>(config, factory);
}

}  // namespace sedum
