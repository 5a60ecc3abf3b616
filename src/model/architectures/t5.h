#pragma once
// T5 (Raffel et al.: "Exploring the Limits of Transfer Learning with a Unified Text-to-Text Transformer", 2020), with ReLU, and T5 1.1 with gated GELU
// (Shazeer: "GLU Variants Improve Transformer", 2020) and a head of its own. The encoder reads the source once; the decoder writes the target, each of its
// layers looking back at itself and across at what the encoder made of the source.
//
//   T5Model model(config, factory);
//   Variable encoded = model.encode(ctx, sources);                              // (source rows, hidden_size)
//   Variable logits = model.logits(ctx, model.decode(ctx, targets, encoded, sources));   // target i belongs to source i

#include "compute/ops/relative_attention.h"
#include "model/config.h"
#include "model/nn/batch.h"
#include "model/nn/linear.h"

namespace sedum {

class T5Model {
 public:
  T5Model(const ModelConfig& config, LayerFactory& factory);
  const ModelConfig& config() const { return config_; }
  Variable encode(Context& ctx, const Batch& sources) const;

  // What the decoder looked at: for each layer the probabilities (heads, target rows, source rows) of one target over its source.
  using CrossAttention = std::vector<Tensor>;
  // Targets begin with decoder_start_token_id; row t sees rows 0 … t of its target and all of its source. `sources` is the batch that was
  // encoded; several targets may share a source: source_of says which, where it is not the one of the same number. `seen`, for one target,
  // receives what it looked at. Gradients need one target for each source.
  Variable decode(Context& ctx, const Batch& targets, const Variable& encoded, const Batch& sources,
                  const std::vector<size_t>& source_of = {}, CrossAttention* seen = nullptr) const;
  Variable logits(Context& ctx, const Variable& hidden) const { return ops::linear(ctx, hidden, head_); }
  const ops::Weight& head() const { return head_; }

 private:
  struct Attention {
    std::unique_ptr<Linear> q, k, v, o;
    Variable layer_norm;
  };
  struct FeedForward {
    std::unique_ptr<Linear> wi, wi_1, wo;  // wi_1: the gated half, or null
    Variable layer_norm;
  };
  struct Block {
    Attention self, cross;  // cross: of the decoder alone
    FeedForward feed_forward;
  };
  struct Stack {
    std::vector<Block> blocks;
    Variable relative_attention_bias, final_layer_norm;
    ops::RelativeBuckets buckets;
  };
  Stack build(LayerFactory& factory, const std::string& name, int64_t layers, bool decoder) const;
  Attention attention(LayerFactory& factory, const std::string& name, const char* part) const;
  AttentionShape shape(bool causal) const;
  Variable norm(Context& ctx, const Variable& x, const Variable& weight) const;
  Variable dropped(Context& ctx, const Variable& x, const std::string& place) const;
  Variable attend_self(Context& ctx, const Stack& stack, size_t index, const Variable& x, const Batch& batch,
                       const std::string& place) const;
  Variable attend_across(Context& ctx, const Attention& a, const Variable& x, const Variable& encoded,
                         const ops::Segments& segments, const std::string& place, CrossAttention* seen) const;
  Variable feed_forward(Context& ctx, const FeedForward& f, const Variable& x, const std::string& place) const;

  ModelConfig config_;
  ops::Weight shared_, head_;
  Stack encoder_, decoder_;
};

// What Hugging Face calls the tensors of a model of this config, all of them.
std::vector<std::string> t5_tensors(const ModelConfig& config);

}  // namespace sedum
