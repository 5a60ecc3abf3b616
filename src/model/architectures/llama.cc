#include "model/architectures/llama.h"

#include <cmath>

#include "base/error.h"
#include "base/random.h"
#include "compute/ops/dropout.h"
#include "compute/ops/elementwise.h"
#include "compute/ops/norm.h"
#include "model/nn/attention.h"
#include "model/nn/rotary.h"

namespace sedum {

// What all layers of a step share. Held by value and shared: a layer may be computed again long after hidden_states() returned.
struct LlamaModel::Step {
  Batch batch;
  RotaryTables rotary;
  AttentionShape shape;
};

LlamaModel::LlamaModel(const ModelConfig& config, LayerFactory& factory)
    : config_(config), frequencies_(rotary_frequencies(config)) {
  const int64_t hidden = config.hidden_size, inner = config.intermediate_size;
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
                       .gate_proj = factory.linear(at + "mlp.gate_proj", inner, hidden, config.mlp_bias),
                       .up_proj = factory.linear(at + "mlp.up_proj", inner, hidden, config.mlp_bias),
                       .down_proj = factory.linear(at + "mlp.down_proj", hidden, inner, config.mlp_bias)});
  }
  norm_ = factory.vector("model.norm", hidden);
  head_ = config.tie_word_embeddings ? factory.tied_head(embed_tokens_)
                                     : factory.table("lm_head", config.vocab_size, hidden);
}

Variable LlamaModel::attention(Context& ctx, const Layer& layer, int64_t index, const Variable& x,
                               const Step& step) const {
  const RotaryTables& rotary = step.rotary;
  const auto qkv = forward_together(ctx, x, {layer.q_proj.get(), layer.k_proj.get(), layer.v_proj.get()});
  const Variable q = ops::rope(ctx, qkv[0], rotary.cos, rotary.sin, config_.head_dim);
  const Variable k = ops::rope(ctx, qkv[1], rotary.cos, rotary.sin, config_.head_dim);
  return layer.o_proj->forward(ctx,
                               attend(ctx, step.batch, index, q, k, qkv[2], step.shape, config_.attention_dropout));
}

Variable LlamaModel::feed_forward(Context& ctx, const Layer& layer, const Variable& x) const {
  const auto inner = forward_together(ctx, x, {layer.gate_proj.get(), layer.up_proj.get()});
  return layer.down_proj->forward(ctx, ops::swiglu(ctx, inner[0], inner[1]));
}

Variable LlamaModel::hidden_states(Context& ctx, const Batch& batch) const {
  const std::shared_ptr<const Step> step(new Step{batch,
                                                  rotary_tables(ctx, frequencies_, batch.positions),
                                                  {.num_heads = int(config_.num_attention_heads),
                                                   .num_key_value_heads = int(config_.num_key_value_heads),
                                                   .head_dim = int(config_.head_dim),
                                                   .scale = 1 / std::sqrt(float(config_.head_dim))}});
  Variable x = ops::embedding(ctx, embed_tokens_.stored, batch.ids);
  x = ops::neftune(ctx, x, batch.neftune_noise_alpha, batch.segments);
  x = ops::dropout(ctx, x, config_.embd_pdrop, stream_of("embeddings"));
  for (size_t i = 0; i < layers_.size(); ++i) {
    const auto layer = [this, i, step](Context& c, const Variable& in) {
      const Layer& l = layers_[i];
      const auto dropped = [&](const Variable& y, uint32_t block) {
        return ops::dropout(c, y, config_.resid_pdrop, block + uint32_t(i) * 0x9E3779B9u);
      };
      const Variable seen =
          attention(c, l, int64_t(i), ops::rms_norm(c, in, l.input_layernorm, config_.rms_norm_eps), *step);
      const Variable mid = ops::add(c, in, dropped(seen, stream_of("self_attn")));
      const Variable thought =
          feed_forward(c, l, ops::rms_norm(c, mid, l.post_attention_layernorm, config_.rms_norm_eps));
      return ops::add(c, mid, dropped(thought, stream_of("mlp")));
    };
    x = batch.recompute ? recompute(ctx, x, layer) : layer(ctx, x);
  }
  return ops::rms_norm(ctx, x, norm_, config_.rms_norm_eps);
}

std::unique_ptr<CausalModel> build_model(const ModelConfig& config, LayerFactory& factory) {
  if (config.model_type == "llama" || config.model_type == "qwen2")
    return std::make_unique<LlamaModel>(config, factory);
  if (is_encoder(config.model_type))
    throw Error("a model of the family \"" + config.model_type + "\" does not continue texts",
                "encoders serve `sedum embed` and --embedding-model");
  throw Error("the architecture \"" + config.model_type + "\" is not known here",
              "llama and qwen2 models can be loaded");
}

}  // namespace sedum
