#pragma once
// Llama (Touvron et al. 2023; Llama 2 and 3 alike) and Qwen2 (Yang et al. 2024), which adds biases to q, k and v.

#include "model/causal_model.h"

namespace sedum {

class LlamaModel : public CausalModel {
 public:
  LlamaModel(const ModelConfig& config, LayerFactory& factory);
  const ModelConfig& config() const override { return config_; }
  Variable hidden_states(Context& ctx, const Batch& batch) const override;
  const ops::Weight& head() const override { return head_; }

 private:
  struct Layer {
    Variable input_layernorm, post_attention_layernorm;
    std::unique_ptr<Linear> q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj;
  };
  struct Step;
  Variable attention(Context& ctx, const Layer& layer, int64_t index, const Variable& x, const Step& step) const;
  Variable feed_forward(Context& ctx, const Layer& layer, const Variable& x) const;

  ModelConfig config_;
  std::vector<float> frequencies_;
  ops::Weight embed_tokens_, head_;
  std::vector<Layer> layers_;
  Variable norm_;
};

}  // namespace sedum
