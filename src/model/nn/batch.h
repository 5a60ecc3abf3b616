#pragma once
// The rows of one step: prefill chunks, decoding sequences and packed training samples are all rows that know their sequence and
// their position.
//
//   Batch batch = Batch::of_sequences({{1, 15043, 3186}, {1, 29871}});   // no past, no padding
//   Variable hidden = model.hidden_states(ctx, batch);                    // (5, hidden_size)

#include <cstdint>
#include <memory>
#include <vector>

#include "compute/ops/attention.h"
#include "compute/ops/embedding.h"

namespace sedum {

// The past of a step's sequences: paged keys and values, a sliding ring, a recurrent state. A layer hands in what this step's rows add
// and gets all that its attention shall see.
class SequenceState {
 public:
  struct View {
    KeysValues kv;
    const std::vector<AttentionSegment>* segments;
  };
  virtual ~SequenceState() = default;
  // keys and values: (rows, num_key_value_heads · head_dim), rotated, in the order of the step's rows.
  virtual View store(Context& ctx, int64_t layer, const Tensor& keys, const Tensor& values) = 0;
};

struct Batch {
  ops::Ids ids;                    // one for each row
  std::vector<int32_t> positions;  // of each row in its sequence
  ops::Segments segments;          // the sequences, where there is no past
  SequenceState* state = nullptr;  // the past, or null
  // How long the sequences of a state may become, which LongRoPE must know from their first token on. 0: their length is what the rows show.
  int64_t context_length = 0;
  bool recompute = false;  // layers keep only their inputs and compute the rest again in the backward pass

  // Where a mixture of experts puts its routers' logits (rows, experts), a layer after the other: for the load-balancing loss. Null: nowhere.
  // Asked by layers that are computed again, written by hidden_states() alone.
  std::vector<Variable>* router_logits = nullptr;

  float neftune_noise_alpha = 0;  // noise on the embeddings while training (Context::rows)

  int64_t rows() const { return int64_t(ids->size()); }
  static Batch of_sequences(const std::vector<std::vector<int32_t>>& sequences);
};

}  // namespace sedum
