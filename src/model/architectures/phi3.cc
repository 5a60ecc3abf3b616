// Phi-3 (Abdin et al.: "Phi-3 Technical Report", 2024): Llama with one matrix for q, k and v and one for gate and up, a window, and in Phi-4-mini
// rotary embedding of a part of each head.

#include <cmath>

#include "base/random.h"
#include "compute/ops/dropout.h"
#include "compute/ops/elementwise.h"
#include "compute/ops/norm.h"
#include "model/architectures/makers.h"
#include "model/nn/attention.h"
#include "model/nn/rotary.h"

namespace sedum {
namespace {

class Phi3Model : public CausalModel {
 public:
  Phi3Model(const ModelConfig& config, LayerFactory& factory);
  const ModelConfig& config() const override { return config_; }
  Variable hidden_states(Context& ctx, const Batch& batch) const override;
  const ops::Weight& head() const override { return head_; }

 private:
  struct Layer {
    Variable input_layernorm, post_attention_layernorm;
    std::unique_ptr<Linear> qkv_proj, o_proj, gate_up_proj, down_proj;
  };
  // Shared by all layers: one may be computed again long after hidden_states() has returned.
  struct Step {
    Batch batch;
    RotaryTables rotary;
  };
  Variable attention(Context& ctx, int64_t index, const Variable& x, const Step& step) const;
  Variable feed_forward(Context& ctx, const Layer& layer, const Variable& x) const;

  ModelConfig config_;
  Rotary rotary_;
  ops::Weight embed_tokens_, head_;
  std::vector<Layer> layers_;
  Variable norm_;
};

Phi3Model::Phi3Model(const ModelConfig& config, LayerFactory& factory) : config_(config), rotary_(config) {
  const int64_t hidden = config.hidden_size, inner = config.intermediate_size;
  const int64_t q = config.num_attention_heads * config.head_dim, kv = config.num_key_value_heads * config.head_dim;
  embed_tokens_ = factory.table("model.embed_tokens", config.vocab_size, hidden);
  for (int64_t i = 0; i < config.num_hidden_layers; ++i) {
    const std::string at = "model.layers." + std::to_string(i) + ".";
    layers_.push_back({.input_layernorm = factory.vector(at + "input_layernorm", hidden),
                       .post_attention_layernorm = factory.vector(at + "post_attention_layernorm", hidden),
                       .qkv_proj = factory.linear(at + "self_attn.qkv_proj", q + 2 * kv, hidden, false),
                       .o_proj = factory.linear(at + "self_attn.o_proj", hidden, q, false),
                       .gate_up_proj = factory.linear(at + "mlp.gate_up_proj", 2 * inner, hidden, false),
                       .down_proj = factory.linear(at + "mlp.down_proj", hidden, inner, false)});
  }
  norm_ = factory.vector("model.norm", hidden);
  head_ = config.tie_word_embeddings ? factory.tied_head(embed_tokens_)
                                     : factory.table("lm_head", config.vocab_size, hidden);
}

Variable Phi3Model::attention(Context& ctx, int64_t index, const Variable& x, const Step& step) const {
  const Layer& layer = layers_[size_t(index)];
  const int64_t q_width = config_.num_attention_heads * config_.head_dim,
                kv_width = config_.num_key_value_heads * config_.head_dim;
  const Variable qkv = layer.qkv_proj->forward(ctx, x);
  const auto rotated = [&](int64_t begin, int64_t count) {
    return ops::rope(ctx, ops::columns(ctx, qkv, begin, count), step.rotary.cos, step.rotary.sin, config_.head_dim);
  };
  const Variable q = rotated(0, q_width), k = rotated(q_width, kv_width),
                 v = ops::columns(ctx, qkv, q_width + kv_width, kv_width);
  const AttentionShape shape{.num_heads = int(config_.num_attention_heads),
                             .num_key_value_heads = int(config_.num_key_value_heads),
                             .head_dim = int(config_.head_dim),
                             .scale = 1 / std::sqrt(float(config_.head_dim)),
                             .window = int(config_.window_of(index))};
  return layer.o_proj->forward(ctx, attend(ctx, step.batch, index, q, k, v, shape, config_.attention_dropout));
}

Variable Phi3Model::feed_forward(Context& ctx, const Layer& layer, const Variable& x) const {
  const int64_t inner = config_.intermediate_size;
  const Variable both = layer.gate_up_proj->forward(ctx, x);
  return layer.down_proj->forward(
      ctx, ops::swiglu(ctx, ops::columns(ctx, both, 0, inner), ops::columns(ctx, both, inner, inner)));
}

Variable Phi3Model::hidden_states(Context& ctx, const Batch& batch) const {
  const std::shared_ptr<const Step> step(new Step{batch, rotary_tables(ctx, rotary_, batch)});
  Variable x = ops::embedding(ctx, embed_tokens_.stored, batch.ids);
  x = ops::neftune(ctx, x, batch.neftune_noise_alpha, batch.segments);
  x = ops::dropout(ctx, x, config_.embd_pdrop, stream_of("embeddings"));
  for (size_t i = 0; i < layers_.size(); ++i) {
    const auto layer = [this, i, step](Context& c, const Variable& in) {
      const Layer& l = layers_[i];
      const auto dropped = [&](const Variable& y, uint32_t block) {
        return ops::dropout(c, y, config_.resid_pdrop, block + uint32_t(i) * 0x9E3779B9u);
      };
      const auto norm = [&](const Variable& y, const Variable& w) {
        return ops::rms_norm(c, y, w, config_.rms_norm_eps);
      };
      const Variable seen = attention(c, int64_t(i), norm(in, l.input_layernorm), *step);
      const Variable mid = ops::add(c, in, dropped(seen, stream_of("self_attn")));
      const Variable thought = feed_forward(c, l, norm(mid, l.post_attention_layernorm));
      return ops::add(c, mid, dropped(thought, stream_of("mlp")));
    };
    x = batch.recompute ? recompute(ctx, x, layer) : layer(ctx, x);
  }
  return ops::rms_norm(ctx, x, norm_, config_.rms_norm_eps);
}

}  // namespace

std::unique_ptr<CausalModel> make_phi3(const ModelConfig& config, LayerFactory& factory) {
  return std::make_unique<Phi3Model>(config, factory);
}

}  // namespace sedum
