#pragma once
// Gemma 2 (Gemma Team: "Gemma 2: Improving Open Language Models at a Practical Size", 2024): layers with a window and layers that see all in
// turn; embeddings times √hidden; norms before and behind each block, that multiply by 1 + w; GELU as the gate; scores and logits that a
// tanh keeps within bounds. Gemma 3 derives from it.

#include "model/causal_model.h"
#include "model/nn/rotary.h"

namespace sedum {

class Gemma2Model : public CausalModel {
 public:
  Gemma2Model(const ModelConfig& config, LayerFactory& factory);
  const ModelConfig& config() const override { return config_; }
  Variable hidden_states(Context& ctx, const Batch& batch) const override;
  const ops::Weight& head() const override { return head_; }

 protected:
  struct Layer {
    Variable input_layernorm, post_attention_layernorm, pre_feedforward_layernorm, post_feedforward_layernorm;
    std::unique_ptr<Linear> q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj;
  };
  // Shared by all layers: one may be computed again long after hidden_states() has returned.
  struct Step {
    Batch batch;
    RotaryTables rotary, local_rotary;  // of the layers that see all, of those with a window
  };
  enum class Side { kQuery, kKey };
  // Of a projection (rows, heads · head_dim), what is compared: rotated by its rows' positions.
  virtual Variable positioned(Context& ctx, int64_t layer, Side side, const Variable& x, const Step& step) const;
  // Of the layers with a window.
  virtual const Rotary& local_rotary() const { return rotary_; }
  Variable norm(Context& ctx, const Variable& x, const Variable& weight) const;  // x / rms(x) · (1 + weight)

  ModelConfig config_;

 private:
  Variable attention(Context& ctx, int64_t index, const Variable& x, const Step& step) const;
  Variable feed_forward(Context& ctx, const Layer& layer, const Variable& x) const;

  Rotary rotary_;
  ops::Weight embed_tokens_, head_;
  std::vector<Layer> layers_;
  Variable norm_;
};

}  // namespace sedum
