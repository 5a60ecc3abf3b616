#include "model/architectures/gemma2.h"

#include <algorithm>
#include <cmath>

#include "base/random.h"
#include "compute/ops/dropout.h"
#include "compute/ops/elementwise.h"
#include "compute/ops/norm.h"
#include "model/architectures/makers.h"
#include "model/nn/attention.h"

namespace sedum {

Gemma2Model::Gemma2Model(const ModelConfig& config, LayerFactory& factory) : config_(config), rotary_(config) {
  const int64_t hidden = config.hidden_size, inner = config.intermediate_size;
  const int64_t q = config.num_attention_heads * config.head_dim, kv = config.num_key_value_heads * config.head_dim;
  embed_tokens_ = factory.table("model.embed_tokens", config.vocab_size, hidden);
  for (int64_t i = 0; i < config.num_hidden_layers; ++i) {
    const std::string at = "model.layers." + std::to_string(i) + ".";
    layers_.push_back({.input_layernorm = factory.vector(at + "input_layernorm", hidden),
                       .post_attention_layernorm = factory.vector(at + "post_attention_layernorm", hidden),
                       .pre_feedforward_layernorm = factory.vector(at + "pre_feedforward_layernorm", hidden),
                       .post_feedforward_layernorm = factory.vector(at + "post_feedforward_layernorm", hidden),
                       .q_proj = factory.linear(at + "self_attn.q_proj", q, hidden, config.attention_bias),
                       .k_proj = factory.linear(at + "self_attn.k_proj", kv, hidden, config.attention_bias),
                       .v_proj = factory.linear(at + "self_attn.v_proj", kv, hidden, config.attention_bias),
                       .o_proj = factory.linear(at + "self_attn.o_proj", hidden, q, config.attention_out_bias),
                       .gate_proj = factory.linear(at + "mlp.gate_proj", inner, hidden, false),
                       .up_proj = factory.linear(at + "mlp.up_proj", inner, hidden, false),
                       .down_proj = factory.linear(at + "mlp.down_proj", hidden, inner, false)});
  }
  norm_ = factory.vector("model.norm", hidden);
  head_ = config.tie_word_embeddings ? factory.tied_head(embed_tokens_)
                                     : factory.table("lm_head", config.vocab_size, hidden);
  head_.soft_cap = config.final_logit_softcapping;
}

Variable Gemma2Model::norm(Context& ctx, const Variable& x, const Variable& weight) const {
  Tensor ones = ctx.empty(weight.dtype(), weight.shape());
  if (ctx.runs()) std::fill_n(ones.data<float>(), ones.count(), 1.0f);
  return ops::rms_norm(ctx, x, ops::add(ctx, weight, Variable(ones)), config_.rms_norm_eps);
}

Variable Gemma2Model::positioned(Context& ctx, int64_t index, Side, const Variable& x, const Step& step) const {
  const RotaryTables& rotary = config_.window_of(index) > 0 ? step.local_rotary : step.rotary;
  return ops::rope(ctx, x, rotary.cos, rotary.sin, config_.head_dim);
}

Variable Gemma2Model::attention(Context& ctx, int64_t index, const Variable& x, const Step& step) const {
  const Layer& layer = layers_[size_t(index)];
  const auto qkv = forward_together(ctx, x, {layer.q_proj.get(), layer.k_proj.get(), layer.v_proj.get()});
  const Variable q = positioned(ctx, index, Side::kQuery, qkv[0], step);
  const Variable k = positioned(ctx, index, Side::kKey, qkv[1], step);
  const AttentionShape shape{.num_heads = int(config_.num_attention_heads),
                             .num_key_value_heads = int(config_.num_key_value_heads),
                             .head_dim = int(config_.head_dim),
                             .scale = 1 / std::sqrt(config_.query_pre_attn_scalar),
                             .window = int(config_.window_of(index)),
                             .soft_cap = config_.attn_logit_softcapping};
  return layer.o_proj->forward(ctx, attend(ctx, step.batch, index, q, k, qkv[2], shape, config_.attention_dropout));
}

Variable Gemma2Model::feed_forward(Context& ctx, const Layer& layer, const Variable& x) const {
  const auto inner = forward_together(ctx, x, {layer.gate_proj.get(), layer.up_proj.get()});
  return layer.down_proj->forward(ctx, ops::multiply(ctx, ops::gelu_tanh(ctx, inner[0]), inner[1]));
}

Variable Gemma2Model::hidden_states(Context& ctx, const Batch& batch) const {
  const RotaryTables rotary = rotary_tables(ctx, rotary_, batch);
  const std::shared_ptr<const Step> step(
      new Step{batch, rotary, local_rotary() == rotary_ ? rotary : rotary_tables(ctx, local_rotary(), batch)});
  Variable x = ops::embedding(ctx, embed_tokens_.stored, batch.ids);
  x = ops::scale(ctx, x, std::sqrt(float(config_.hidden_size)));
  x = ops::neftune(ctx, x, batch.neftune_noise_alpha, batch.segments);
  x = ops::dropout(ctx, x, config_.embd_pdrop, stream_of("embeddings"));
  for (size_t i = 0; i < layers_.size(); ++i) {
    const auto layer = [this, i, step](Context& c, const Variable& in) {
      const Layer& l = layers_[i];
      const auto dropped = [&](const Variable& y, uint32_t block) {
        return ops::dropout(c, y, config_.resid_pdrop, block + uint32_t(i) * 0x9E3779B9u);
      };
      const Variable seen =
          norm(c, attention(c, int64_t(i), norm(c, in, l.input_layernorm), *step), l.post_attention_layernorm);
      const Variable mid = ops::add(c, in, dropped(seen, stream_of("self_attn")));
      const Variable thought =
          norm(c, feed_forward(c, l, norm(c, mid, l.pre_feedforward_layernorm)), l.post_feedforward_layernorm);
      return ops::add(c, mid, dropped(thought, stream_of("mlp")));
    };
    x = batch.recompute ? recompute(ctx, x, layer) : layer(ctx, x);
  }
  return norm(ctx, x, norm_);
}

std::unique_ptr<CausalModel> make_gemma2(const ModelConfig& config, LayerFactory& factory) {
  return std::make_unique<Gemma2Model>(config, factory);
}

}  // namespace sedum
