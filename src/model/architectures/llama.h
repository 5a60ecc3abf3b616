#pragma once
// Llama (Touvron et al. 2023; Llama 2 and 3 alike); Mistral (Jiang et al. 2023), where a query sees a window of keys; Qwen2 (Yang et al.
// 2024), which adds biases to q, k and v; Mixtral (Jiang et al. 2024), whose feed-forward is a mixture of experts. Families that change one
// step of it derive from it: qwen3.cc, smollm3.cc.

#include "model/architectures/feed_forward.h"
#include "model/causal_model.h"
#include "model/nn/rotary.h"

namespace sedum {

class LlamaModel : public CausalModel {
 public:
  LlamaModel(const ModelConfig& config, LayerFactory& factory);
  const ModelConfig& config() const override { return config_; }
  Variable hidden_states(Context& ctx, const Batch& batch) const override;
  const ops::Weight& head() const override { return head_; }

 protected:
  struct Layer {
    Variable input_layernorm, post_attention_layernorm;
    std::unique_ptr<Linear> q_proj, k_proj, v_proj, o_proj;
    std::unique_ptr<FeedForward> mlp;
  };
  // What all layers of a step share. Held by value and shared: a layer may be computed again long after hidden_states() returned.
  struct Step {
    Batch batch;
    RotaryTables rotary;
  };
  enum class Side { kQuery, kKey };
  // Of a projection (rows, heads · head_dim), what is compared: rotated by its rows' positions.
  virtual Variable positioned(Context& ctx, int64_t layer, Side side, const Variable& x, const Step& step) const;

  ModelConfig config_;

 private:
  Variable attention(Context& ctx, int64_t layer, const Variable& x, const Step& step) const;
  Variable block(Context& ctx, int64_t layer, const Variable& x, const Step& step) const;

  Rotary rotary_;
  ops::Weight embed_tokens_, head_;
  std::vector<Layer> layers_;
  Variable norm_;
};

}  // namespace sedum
