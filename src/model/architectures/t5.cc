#include "model/architectures/t5.h"

#include <cmath>

#include "base/error.h"
#include "base/random.h"
#include "compute/ops/activations.h"
#include "compute/ops/check.h"
#include "compute/ops/dropout.h"
#include "compute/ops/elementwise.h"
#include "compute/ops/norm.h"
#include "model/nn/names_factory.h"

namespace sedum {

T5Model::T5Model(const ModelConfig& config, LayerFactory& factory) : config_(config) {
  shared_ = factory.table("shared", config.vocab_size, config.hidden_size);
  encoder_ = build(factory, "encoder.", config.num_hidden_layers, false);
  decoder_ = build(factory, "decoder.", config.encoder.num_decoder_layers, true);
  head_ = config.tie_word_embeddings ? factory.tied_head(shared_)
                                     : factory.table("lm_head", config.vocab_size, config.hidden_size);
}

T5Model::Attention T5Model::attention(LayerFactory& factory, const std::string& layer, const char* part) const {
  const int64_t hidden = config_.hidden_size, width = config_.num_attention_heads * config_.head_dim;
  const std::string at = layer + part + ".";
  return {.q = factory.linear(at + "q", width, hidden, false),
          .k = factory.linear(at + "k", width, hidden, false),
          .v = factory.linear(at + "v", width, hidden, false),
          .o = factory.linear(at + "o", hidden, width, false),
          .layer_norm = factory.vector(layer + "layer_norm", hidden)};
}

T5Model::Stack T5Model::build(LayerFactory& factory, const std::string& name, int64_t layers, bool decoder) const {
  const EncoderConfig& e = config_.encoder;
  const int64_t hidden = config_.hidden_size, inner = config_.intermediate_size;
  Stack stack;
  stack.buckets = {!decoder, e.relative_attention_num_buckets, e.relative_attention_max_distance};
  for (int64_t i = 0; i < layers; ++i) {
    const std::string block = name + "block." + std::to_string(i) + ".layer.";
    Block b{.self = attention(factory, block + "0.", "SelfAttention"), .cross = {}, .feed_forward = {}};
    if (i == 0)  // all layers of a stack share it
      stack.relative_attention_bias = factory
                                          .table(block + "0.SelfAttention.relative_attention_bias", stack.buckets.count,
                                                 config_.num_attention_heads)
                                          .stored;
    if (decoder) b.cross = attention(factory, block + "1.", "EncDecAttention");
    const std::string last = block + (decoder ? "2." : "1."), dense = last + "DenseReluDense.";
    b.feed_forward = {.wi = factory.linear(dense + (e.is_gated_act ? "wi_0" : "wi"), inner, hidden, false),
                      .wi_1 = e.is_gated_act ? factory.linear(dense + "wi_1", inner, hidden, false) : nullptr,
                      .wo = factory.linear(dense + "wo", hidden, inner, false),
                      .layer_norm = factory.vector(last + "layer_norm", hidden)};
    stack.blocks.push_back(std::move(b));
  }
  stack.final_layer_norm = factory.vector(name + "final_layer_norm", hidden);
  return stack;
}

// Scores are not scaled: the initialisation of q takes that over.
AttentionShape T5Model::shape(bool causal) const {
  return {.num_heads = int(config_.num_attention_heads),
          .num_key_value_heads = int(config_.num_attention_heads),
          .head_dim = int(config_.head_dim),
          .scale = 1,
          .causal = causal};
}

Variable T5Model::norm(Context& ctx, const Variable& x, const Variable& weight) const {
  return ops::rms_norm(ctx, x, weight, config_.rms_norm_eps);
}

Variable T5Model::dropped(Context& ctx, const Variable& x, const std::string& place) const {
  return ops::dropout(ctx, x, config_.resid_pdrop, stream_of(place));
}

Variable T5Model::attend_self(Context& ctx, const Stack& stack, size_t index, const Variable& x, const Batch& batch,
                              const std::string& place) const {
  const Attention& a = stack.blocks[index].self;
  const auto qkv = forward_together(ctx, norm(ctx, x, a.layer_norm), {a.q.get(), a.k.get(), a.v.get()});
  const Variable seen = ops::relative_attention(ctx, qkv[0], qkv[1], qkv[2], stack.relative_attention_bias,
                                                stack.buckets, shape(!stack.buckets.bidirectional), batch.segments,
                                                config_.attention_dropout, stream_of(place + ".probabilities"));
  return ops::add(ctx, x, dropped(ctx, a.o->forward(ctx, seen), place));
}

namespace {

// softmax(q · kᵀ) of every head, for people to look at.
Tensor probabilities(Context& ctx, const Variable& q, const Variable& k, int64_t heads) {
  const int64_t queries = q.shape()[0], keys = k.shape()[0], dim = q.shape()[1] / heads;
  Tensor all = ctx.empty(DType::kF32, {heads, queries, keys});
  for (int64_t h = 0; h < heads; ++h) {
    const auto head_of = [&](const Variable& x) {
      return ConstMatrix{DType::kF32, x.value().data<float>() + h * dim, x.shape()[0], dim,
                         size_t(x.shape()[1]) * sizeof(float)};
    };
    float* to = all.data<float>() + h * queries * keys;
    product_nt(*ctx.pool, Compute::kF32, head_of(q), head_of(k),
               MutableMatrix{DType::kF32, to, queries, keys, size_t(keys) * sizeof(float)});
  }
  return ops::softmax(ctx, Variable(all)).value();
}

}  // namespace

Variable T5Model::attend_across(Context& ctx, const Attention& a, const Variable& x, const Variable& encoded,
                                const ops::Segments& segments, const std::string& place, CrossAttention* seen) const {
  const Variable q = a.q->forward(ctx, norm(ctx, x, a.layer_norm));
  const auto kv = forward_together(ctx, encoded, {a.k.get(), a.v.get()});
  if (seen && ctx.runs()) seen->push_back(probabilities(ctx, q, kv[0], config_.num_attention_heads));
  const Variable y = ops::attention(ctx, q, kv[0], kv[1], shape(false), segments, config_.attention_dropout,
                                    stream_of(place + ".probabilities"));
  return ops::add(ctx, x, dropped(ctx, a.o->forward(ctx, y), place));
}

Variable T5Model::feed_forward(Context& ctx, const FeedForward& f, const Variable& x, const std::string& place) const {
  const Variable in = norm(ctx, x, f.layer_norm);
  Variable inner = ops::activation(ctx, config_.encoder.hidden_act, f.wi->forward(ctx, in));
  if (f.wi_1) inner = ops::multiply(ctx, inner, f.wi_1->forward(ctx, in));
  const Variable y = f.wo->forward(ctx, dropped(ctx, inner, place + ".inner"));
  return ops::add(ctx, x, dropped(ctx, y, place));
}

Variable T5Model::encode(Context& ctx, const Batch& sources) const {
  Variable x = dropped(ctx, ops::embedding(ctx, shared_.stored, sources.ids), "encoder.embeddings");
  for (size_t i = 0; i < encoder_.blocks.size(); ++i) {
    const std::string place = "encoder.block." + std::to_string(i);
    x = attend_self(ctx, encoder_, i, x, sources, place + ".self");
    x = feed_forward(ctx, encoder_.blocks[i].feed_forward, x, place + ".dense");
  }
  return dropped(ctx, norm(ctx, x, encoder_.final_layer_norm), "encoder.end");
}

Variable T5Model::decode(Context& ctx, const Batch& targets, const Variable& encoded, const Batch& sources,
                         const std::vector<size_t>& source_of, CrossAttention* seen) const {
  const size_t count = targets.segments->size();
  if (source_of.empty() ? sources.segments->size() != count : source_of.size() != count)
    throw ApiError("T5Model::decode", std::to_string(count) + " targets do not fit the sources");
  auto across = std::make_shared<std::vector<AttentionSegment>>();
  for (size_t i = 0; i < count; ++i) {
    const AttentionSegment &target = (*targets.segments)[i],
                           &source = sources.segments->at(source_of.empty() ? i : source_of[i]);
    across->push_back({target.query_begin, target.query_count, source.query_begin, source.query_count});
  }
  Variable x = dropped(ctx, ops::embedding(ctx, shared_.stored, targets.ids), "decoder.embeddings");
  for (size_t i = 0; i < decoder_.blocks.size(); ++i) {
    const std::string place = "decoder.block." + std::to_string(i);
    x = attend_self(ctx, decoder_, i, x, targets, place + ".self");
    x = attend_across(ctx, decoder_.blocks[i].cross, x, encoded, across, place + ".cross", seen);
    x = feed_forward(ctx, decoder_.blocks[i].feed_forward, x, place + ".dense");
  }
  x = dropped(ctx, norm(ctx, x, decoder_.final_layer_norm), "decoder.end");
  return config_.encoder.scale_decoder_outputs ? ops::scale(ctx, x, 1 / std::sqrt(float(config_.hidden_size))) : x;
}

std::vector<std::string> t5_tensors(const ModelConfig& config) {
  NamesFactory names;
  const T5Model model(config, names);
  return std::move(names.names);
}

}  // namespace sedum
