#pragma once
// BERT (Devlin et al.: "BERT: Pre-training of Deep Bidirectional Transformers for Language Understanding", 2019) and RoBERTa (Liu et al. 2019), which
// counts positions from pad_token_id + 1 and has a head of other names.
//
//   BertModel model(config, factory);
//   Variable hidden = model.hidden_states(ctx, Batch::of_sequences({ids, more_ids}));   // (rows, hidden_size): every row sees its whole sequence
//   Variable logits = model.masked_lm_logits(ctx, hidden);                              // (rows, vocab_size)

#include "model/config.h"
#include "model/nn/batch.h"
#include "model/nn/linear.h"

namespace sedum {

class BertModel {
 public:
  BertModel(const ModelConfig& config, LayerFactory& factory);
  const ModelConfig& config() const { return config_; }
  // token_types: 0 or 1 for each row, the first and the second text of a pair; null: all 0.
  Variable hidden_states(Context& ctx, const Batch& batch, const ops::Ids& token_types = nullptr) const;

  // What the checkpoint's head gives; ApiError where it has another. Of any rows of hidden_states().
  Variable masked_lm_logits(Context& ctx, const Variable& hidden) const;
  Variable token_logits(Context& ctx, const Variable& hidden) const;                         // (rows, num_labels)
  Variable sequence_logits(Context& ctx, const Variable& hidden, const Batch& batch) const;  // (sequences, num_labels)

 private:
  struct Norm {
    Variable weight, bias;
  };
  struct Layer {
    std::unique_ptr<Linear> query, key, value, attention_output, intermediate, output;
    Norm attention_norm, output_norm;
  };
  void build_head(LayerFactory& factory);
  Variable embeddings(Context& ctx, const Batch& batch, const ops::Ids& token_types) const;
  Variable layer(Context& ctx, const Layer& l, int64_t index, const Variable& x, const Batch& batch,
                 const AttentionShape& shape) const;
  Variable norm(Context& ctx, const Variable& x, const Norm& n) const;

  ModelConfig config_;
  ops::Weight word_embeddings_, position_embeddings_, token_type_embeddings_;
  Norm embeddings_norm_;
  std::vector<Layer> layers_;
  // Of the head: dense layers before the last one, their norm, the last one's bias.
  std::unique_ptr<Linear> pooler_, transform_, classifier_;
  Norm transform_norm_;
  Variable decoder_bias_;
};

// What Hugging Face calls the tensors of a model of this config, all of them.
std::vector<std::string> bert_tensors(const ModelConfig& config);

}  // namespace sedum
