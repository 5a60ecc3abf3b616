#pragma once
// Attention whose scores depend on how far a key is from the query: T5's learned bias (Raffel et al.: "Exploring the Limits of Transfer Learning with a
// Unified Text-to-Text Transformer", 2020, 2.1).

#include "compute/ops/attention.h"

namespace sedum::ops {

// Distances key − query fall into buckets: near ones into one each, far ones into logarithmically wider ones, up to max_distance, beyond which
// all share the last. Bidirectional: half of the buckets are for keys behind the query; else those are in bucket 0, which causal
// attention never sees.
struct RelativeBuckets {
  bool bidirectional = true;
  int64_t count = 32, max_distance = 128;
  int64_t of(int64_t distance) const;
};

// attention() with table (count, num_heads), f32 (f64 beside f64), added to the scores: table[bucket(key − query), head]. The table has a
// gradient. Segments without pages and bias of their own.
Variable relative_attention(Context& ctx, const Variable& q, const Variable& k, const Variable& v,
                            const Variable& table, const RelativeBuckets& buckets, const AttentionShape& shape,
                            const Segments& segments, float dropout = 0, uint32_t site = 0);

}  // namespace sedum::ops
