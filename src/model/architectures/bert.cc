#include "model/architectures/bert.h"

#include <cmath>

#include "base/error.h"
#include "base/random.h"
#include "compute/ops/activations.h"
#include "compute/ops/dropout.h"
#include "compute/ops/elementwise.h"
#include "compute/ops/norm.h"
#include "model/nn/attention.h"
#include "model/nn/names_factory.h"
#include "model/nn/row_keys.h"

namespace sedum {

using Head = EncoderConfig::Head;

BertModel::BertModel(const ModelConfig& config, LayerFactory& factory) : config_(config) {
  const EncoderConfig& e = config_.encoder;
  const int64_t hidden = config.hidden_size, inner = config.intermediate_size;
  const auto norm = [&](const std::string& name) {
    return Norm{factory.vector(name, hidden), factory.vector(name + ".bias", hidden)};
  };
  const std::string embeddings = e.prefix + "embeddings.";
  word_embeddings_ = factory.table(embeddings + "word_embeddings", config.vocab_size, hidden);
  position_embeddings_ = factory.table(embeddings + "position_embeddings", config.max_position_embeddings, hidden);
  token_type_embeddings_ = factory.table(embeddings + "token_type_embeddings", e.type_vocab_size, hidden);
  embeddings_norm_ = norm(embeddings + "LayerNorm");
  for (int64_t i = 0; i < config.num_hidden_layers; ++i) {
    const std::string at = e.prefix + "encoder.layer." + std::to_string(i) + ".";
    layers_.push_back({.query = factory.linear(at + "attention.self.query", hidden, hidden, true),
                       .key = factory.linear(at + "attention.self.key", hidden, hidden, true),
                       .value = factory.linear(at + "attention.self.value", hidden, hidden, true),
                       .attention_output = factory.linear(at + "attention.output.dense", hidden, hidden, true),
                       .intermediate = factory.linear(at + "intermediate.dense", inner, hidden, true),
                       .output = factory.linear(at + "output.dense", hidden, inner, true),
                       .attention_norm = norm(at + "attention.output.LayerNorm"),
                       .output_norm = norm(at + "output.LayerNorm")});
  }
  build_head(factory);
}

void BertModel::build_head(LayerFactory& factory) {
  const EncoderConfig& e = config_.encoder;
  const int64_t hidden = config_.hidden_size;
  const bool roberta = config_.model_type == "roberta";
  if (e.has_pooler) pooler_ = factory.linear(e.prefix + "pooler.dense", hidden, hidden, true);
  if (e.head == Head::kMaskedLm) {
    const std::string transform = roberta ? "lm_head." : "cls.predictions.transform.";
    const std::string its_norm = transform + (roberta ? "layer_norm" : "LayerNorm");
    transform_ = factory.linear(transform + "dense", hidden, hidden, true);
    transform_norm_ = {factory.vector(its_norm, hidden), factory.vector(its_norm + ".bias", hidden)};
    decoder_bias_ = factory.vector(roberta ? "lm_head.bias" : "cls.predictions.bias", config_.vocab_size);
  } else if (e.head == Head::kSequence && roberta) {
    transform_ = factory.linear("classifier.dense", hidden, hidden, true);
    classifier_ = factory.linear("classifier.out_proj", e.num_labels, hidden, true);
  } else if (e.head != Head::kNone) {
    classifier_ = factory.linear("classifier", e.num_labels, hidden, true);
  }
}

Variable BertModel::norm(Context& ctx, const Variable& x, const Norm& n) const {
  return ops::layer_norm(ctx, x, n.weight, n.bias, config_.encoder.layer_norm_eps);
}

Variable BertModel::embeddings(Context& ctx, const Batch& batch, const ops::Ids& token_types) const {
  auto positions = std::make_shared<std::vector<int32_t>>(batch.positions);
  for (int32_t& p : *positions) p += int32_t(config_.encoder.position_offset);
  const ops::Ids types = token_types ? token_types : std::make_shared<const std::vector<int32_t>>(batch.ids->size());
  const Variable words = ops::embedding(ctx, word_embeddings_.stored, batch.ids);
  const Variable kinds = ops::embedding(ctx, token_type_embeddings_.stored, types);
  const Variable places = ops::embedding(ctx, position_embeddings_.stored, positions);
  const Variable sum = ops::add(ctx, ops::add(ctx, words, kinds), places);
  return ops::dropout(ctx, norm(ctx, sum, embeddings_norm_), config_.embd_pdrop, stream_of("embeddings"));
}

// Post-norm, as in "Attention Is All You Need": x ← LayerNorm(x + block(x)).
Variable BertModel::layer(Context& ctx, const Layer& l, int64_t index, const Variable& x, const Batch& batch,
                          const AttentionShape& shape) const {
  const auto dropped = [&](const Variable& y, uint32_t block) {
    return ops::dropout(ctx, y, config_.resid_pdrop, block + uint32_t(index) * 0x9E3779B9u);
  };
  const auto qkv = forward_together(ctx, x, {l.query.get(), l.key.get(), l.value.get()});
  const Variable seen = l.attention_output->forward(
      ctx, attend(ctx, batch, index, qkv[0], qkv[1], qkv[2], shape, config_.attention_dropout));
  const Variable mid = norm(ctx, ops::add(ctx, dropped(seen, stream_of("attention.output")), x), l.attention_norm);
  const Variable inner = ops::activation(ctx, config_.encoder.hidden_act, l.intermediate->forward(ctx, mid));
  const Variable thought = l.output->forward(ctx, inner);
  return norm(ctx, ops::add(ctx, dropped(thought, stream_of("output")), mid), l.output_norm);
}

Variable BertModel::hidden_states(Context& ctx, const Batch& batch, const ops::Ids& token_types) const {
  const auto step = std::make_shared<const Batch>(batch);  // layers may be computed again after this has returned
  const AttentionShape shape{.num_heads = int(config_.num_attention_heads),
                             .num_key_value_heads = int(config_.num_attention_heads),
                             .head_dim = int(config_.head_dim),
                             .scale = 1 / std::sqrt(float(config_.head_dim)),
                             .causal = false};
  Variable x = embeddings(ctx, batch, token_types);
  for (size_t i = 0; i < layers_.size(); ++i) {
    const auto body = [this, i, step, shape](Context& c, const Variable& in) {
      return layer(c, layers_[i], int64_t(i), in, *step, shape);
    };
    x = batch.recompute ? recompute(ctx, x, body) : body(ctx, x);
  }
  return x;
}

Variable BertModel::masked_lm_logits(Context& ctx, const Variable& hidden) const {
  if (config_.encoder.head != Head::kMaskedLm) throw ApiError("masked_lm_logits", "the model has no such head");
  const bool roberta = config_.model_type == "roberta";
  const Variable inner = transform_->forward(ctx, hidden);
  const Variable bent = roberta ? ops::gelu(ctx, inner) : ops::activation(ctx, config_.encoder.hidden_act, inner);
  return ops::linear(ctx, norm(ctx, bent, transform_norm_), word_embeddings_, &decoder_bias_);
}

Variable BertModel::token_logits(Context& ctx, const Variable& hidden) const {
  if (config_.encoder.head != Head::kToken) throw ApiError("token_logits", "the model has no such head");
  return classifier_->forward(ctx, ops::dropout(ctx, hidden, config_.resid_pdrop, stream_of("classifier")));
}

// Of each sequence's first token, [CLS] or <s>, through a dense layer and tanh.
Variable BertModel::sequence_logits(Context& ctx, const Variable& hidden, const Batch& batch) const {
  if (config_.encoder.head != Head::kSequence) throw ApiError("sequence_logits", "the model has no such head");
  auto first = std::make_shared<std::vector<int32_t>>();
  for (const AttentionSegment& s : *batch.segments) first->push_back(int32_t(s.query_begin));
  const Linear& dense = transform_ ? *transform_ : *pooler_;
  Context of_first = context_of_rows(ctx, *first);
  const Variable pooled = ops::tanh(of_first, dense.forward(of_first, ops::select_rows(ctx, hidden, first)));
  return classifier_->forward(of_first, ops::dropout(of_first, pooled, config_.resid_pdrop, stream_of("classifier")));
}

std::vector<std::string> bert_tensors(const ModelConfig& config) {
  NamesFactory names;
  const BertModel model(config, names);
  return std::move(names.names);
}

}  // namespace sedum
