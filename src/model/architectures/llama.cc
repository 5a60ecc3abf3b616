#include "model/architectures/llama.h"

#include <cmath>

#include "base/random.h"
#include "compute/ops/dropout.h"
#include "compute/ops/elementwise.h"
#include "compute/ops/experts.h"
#include "compute/ops/norm.h"
#include "model/nn/attention.h"

namespace sedum {

LlamaModel::LlamaModel(const ModelConfig& config, LayerFactory& factory) : config_(config), rotary_(config) {
  const int64_t hidden = config.hidden_size;
  const int64_t q = config.num_attention_heads * config.head_dim, kv = config.num_key_value_heads * config.head_dim;
  embed_tokens_ = factory.table("model.embed_tokens", config.vocab_size, hidden);
  for (int64_t i = 0; i < config.num_hidden_layers; ++i) {
    const std::string at = "model.layers." + std::to_string(i) + ".";
    layers_.push_back({.input_layernorm = factory.vector(at + "input_layernorm", hidden),
                       .post_attention_layernorm = factory.vector(at + "post_attention_layernorm", hidden),
                       .q_proj = factory.linear(at + "self_attn.q_proj", q, hidden, config.attention_bias),
                       .k_proj = factory.linear(at + "self_attn.k_proj", kv, hidden, config.attention_bias),
                       .v_proj = factory.linear(at + "self_attn.v_proj", kv, hidden, config.attention_bias),
                       .o_proj = factory.linear(at + "self_attn.o_proj", hidden, q, config.attention_out_bias),
                       .mlp = make_feed_forward(config, i, factory)});
  }
  norm_ = factory.vector("model.norm", hidden);
  head_ = config.tie_word_embeddings ? factory.tied_head(embed_tokens_)
                                     : factory.table("lm_head", config.vocab_size, hidden);
}

Variable LlamaModel::positioned(Context& ctx, int64_t, Side, const Variable& x, const Step& step) const {
  return ops::rope(ctx, x, step.rotary.cos, step.rotary.sin, config_.head_dim);
}

Variable LlamaModel::attention(Context& ctx, int64_t index, const Variable& x, const Step& step) const {
  const Layer& layer = layers_[size_t(index)];
  const AttentionShape shape{.num_heads = int(config_.num_attention_heads),
                             .num_key_value_heads = int(config_.num_key_value_heads),
                             .head_dim = int(config_.head_dim),
                             .scale = 1 / std::sqrt(float(config_.head_dim)),
                             .window = int(config_.window_of(index))};
  const auto qkv = forward_together(ctx, x, {layer.q_proj.get(), layer.k_proj.get(), layer.v_proj.get()});
  const Variable q = positioned(ctx, index, Side::kQuery, qkv[0], step);
  const Variable k = positioned(ctx, index, Side::kKey, qkv[1], step);
  return layer.o_proj->forward(ctx, attend(ctx, step.batch, index, q, k, qkv[2], shape, config_.attention_dropout));
}

// The layer's result, with its router's logits beside it where the batch asks for them.
Variable LlamaModel::block(Context& ctx, int64_t index, const Variable& x, const Step& step) const {
  const Layer& layer = layers_[size_t(index)];
  const auto dropped = [&](const Variable& y, uint32_t part) {
    return ops::dropout(ctx, y, config_.resid_pdrop, part + uint32_t(index) * 0x9E3779B9u);
  };
  const Variable seen = attention(ctx, index, ops::rms_norm(ctx, x, layer.input_layernorm, config_.rms_norm_eps), step);
  const Variable mid = ops::add(ctx, x, dropped(seen, stream_of("self_attn")));
  Variable router_logits;
  const Variable thought =
      layer.mlp->forward(ctx, ops::rms_norm(ctx, mid, layer.post_attention_layernorm, config_.rms_norm_eps),
                         step.batch.router_logits ? &router_logits : nullptr);
  const Variable y = ops::add(ctx, mid, dropped(thought, stream_of("mlp")));
  return router_logits.defined() ? ops::beside(ctx, y, router_logits) : y;
}

Variable LlamaModel::hidden_states(Context& ctx, const Batch& batch) const {
  const std::shared_ptr<const Step> step(new Step{batch, rotary_tables(ctx, rotary_, batch)});
  Variable x = ops::embedding(ctx, embed_tokens_.stored, batch.ids);
  x = ops::neftune(ctx, x, batch.neftune_noise_alpha, batch.segments);
  x = ops::dropout(ctx, x, config_.embd_pdrop, stream_of("embeddings"));
  for (int64_t i = 0; i < config_.num_hidden_layers; ++i) {
    const auto layer = [this, i, step](Context& c, const Variable& in) { return block(c, i, in, *step); };
    x = batch.recompute ? recompute(ctx, x, layer) : layer(ctx, x);
    if (!batch.router_logits || !config_.is_sparse(i)) continue;
    batch.router_logits->push_back(ops::columns(ctx, x, config_.hidden_size, config_.num_experts));
    x = ops::columns(ctx, x, 0, config_.hidden_size);
  }
  return ops::rms_norm(ctx, x, norm_, config_.rms_norm_eps);
}

}  // namespace sedum
