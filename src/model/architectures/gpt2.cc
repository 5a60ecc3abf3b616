// GPT-2 (Radford et al.: "Language Models are Unsupervised Multitask Learners", 2019): learned positions, layer norms before each block, one
// matrix for q, k and v, GELU between two matrices, the head is the embeddings.

#include <cmath>

#include "base/error.h"
#include "base/random.h"
#include "compute/ops/activations.h"
#include "compute/ops/dropout.h"
#include "compute/ops/elementwise.h"
#include "compute/ops/norm.h"
#include "model/architectures/makers.h"
#include "model/nn/attention.h"

namespace sedum {
namespace {

class Gpt2Model : public CausalModel {
 public:
  Gpt2Model(const ModelConfig& config, LayerFactory& factory);
  const ModelConfig& config() const override { return config_; }
  Variable hidden_states(Context& ctx, const Batch& batch) const override;
  const ops::Weight& head() const override { return head_; }

 private:
  struct Norm {
    Variable weight, bias;
  };
  struct Layer {
    Norm ln_1, ln_2;
    std::unique_ptr<Linear> c_attn, attn_c_proj, c_fc, mlp_c_proj;
  };
  Variable norm(Context& ctx, const Norm& n, const Variable& x) const {
    return ops::layer_norm(ctx, x, n.weight, n.bias, config_.layer_norm_eps);
  }
  Variable embedded(Context& ctx, const Batch& batch) const;
  Variable attention(Context& ctx, int64_t index, const Variable& x, const Batch& batch) const;
  Variable feed_forward(Context& ctx, const Layer& layer, const Variable& x) const;

  ModelConfig config_;
  ops::Weight wte_, wpe_, head_;
  std::vector<Layer> layers_;
  Norm ln_f_;
};

Gpt2Model::Gpt2Model(const ModelConfig& config, LayerFactory& factory) : config_(config) {
  const int64_t hidden = config.hidden_size, inner = config.intermediate_size;
  const auto norm = [&](const std::string& name) {
    return Norm{factory.vector(name, hidden), factory.vector(name + ".bias", hidden)};
  };
  wte_ = factory.table("transformer.wte", config.vocab_size, hidden);
  wpe_ = factory.table("transformer.wpe", config.max_position_embeddings, hidden);
  for (int64_t i = 0; i < config.num_hidden_layers; ++i) {
    const std::string at = "transformer.h." + std::to_string(i) + ".";
    layers_.push_back({.ln_1 = norm(at + "ln_1"),
                       .ln_2 = norm(at + "ln_2"),
                       .c_attn = factory.linear(at + "attn.c_attn", 3 * hidden, hidden, true),
                       .attn_c_proj = factory.linear(at + "attn.c_proj", hidden, hidden, true),
                       .c_fc = factory.linear(at + "mlp.c_fc", inner, hidden, true),
                       .mlp_c_proj = factory.linear(at + "mlp.c_proj", hidden, inner, true)});
  }
  ln_f_ = norm("transformer.ln_f");
  head_ = factory.tied_head(wte_);
}

Variable Gpt2Model::embedded(Context& ctx, const Batch& batch) const {
  for (const int32_t position : batch.positions)
    if (position >= config_.max_position_embeddings)
      throw Error("the model has " + std::to_string(config_.max_position_embeddings) + " positions, a text is longer",
                  "cut the text");
  const auto positions = std::make_shared<const std::vector<int32_t>>(batch.positions);
  Variable x = ops::embedding(ctx, wte_.stored, batch.ids);
  x = ops::neftune(ctx, x, batch.neftune_noise_alpha, batch.segments);
  x = ops::add(ctx, x, ops::embedding(ctx, wpe_.stored, positions));
  return ops::dropout(ctx, x, config_.embd_pdrop, stream_of("embeddings"));
}

Variable Gpt2Model::attention(Context& ctx, int64_t index, const Variable& x, const Batch& batch) const {
  const Layer& layer = layers_[size_t(index)];
  const int64_t hidden = config_.hidden_size;
  const int heads = int(config_.num_attention_heads), head_dim = int(config_.head_dim);
  const Variable qkv = layer.c_attn->forward(ctx, x);
  const Variable seen = attend(
      ctx, batch, index, ops::columns(ctx, qkv, 0, hidden), ops::columns(ctx, qkv, hidden, hidden),
      ops::columns(ctx, qkv, 2 * hidden, hidden),
      {.num_heads = heads, .num_key_value_heads = heads, .head_dim = head_dim, .scale = 1 / std::sqrt(float(head_dim))},
      config_.attention_dropout);
  return layer.attn_c_proj->forward(ctx, seen);
}

Variable Gpt2Model::feed_forward(Context& ctx, const Layer& layer, const Variable& x) const {
  return layer.mlp_c_proj->forward(ctx, ops::activation(ctx, config_.hidden_act, layer.c_fc->forward(ctx, x)));
}

Variable Gpt2Model::hidden_states(Context& ctx, const Batch& batch) const {
  const auto step = std::make_shared<const Batch>(batch);  // a layer may be computed again long after this has returned
  Variable x = embedded(ctx, batch);
  for (size_t i = 0; i < layers_.size(); ++i) {
    const auto layer = [this, i, step](Context& c, const Variable& in) {
      const Layer& l = layers_[i];
      const auto dropped = [&](const Variable& y, uint32_t block) {
        return ops::dropout(c, y, config_.resid_pdrop, block + uint32_t(i) * 0x9E3779B9u);
      };
      const Variable seen = attention(c, int64_t(i), norm(c, l.ln_1, in), *step);
      const Variable mid = ops::add(c, in, dropped(seen, stream_of("attn")));
      return ops::add(c, mid, dropped(feed_forward(c, l, norm(c, l.ln_2, mid)), stream_of("mlp")));
    };
    x = batch.recompute ? recompute(ctx, x, layer) : layer(ctx, x);
  }
  return norm(ctx, ln_f_, x);
}

}  // namespace

std::unique_ptr<CausalModel> make_gpt2(const ModelConfig& config, LayerFactory& factory) {
  return std::make_unique<Gpt2Model>(config, factory);
}

}  // namespace sedum
