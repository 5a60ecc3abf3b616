#pragma once
// Attention backward over the vector vocabulary: one query head of one segment, blocks of keys outside, blocks of queries inside. With
// S and dP computed again for a block (queries × keys), five small products make one visit:
//   S = Q Kᵀ, dP = dO Vᵀ, dQ += dS K, dV += Pᵀ dO, dK += dSᵀ Q.

namespace sedum {
namespace SEDUM_ISA_NAMESPACE {
namespace attention {

constexpr int kQueryBlock = 64;

struct BackwardScratch {
  float *q, *dy, *dq, *delta, *lse;  // (queries, padded dim) three times; (queries) twice
  float *keys_t, *values_t, *keys;   // of one block
  float *p, *ds;                     // (kQueryBlock, kKeyBlock)
  BackwardScratch(float* memory, int64_t dim, int64_t queries) {
    const int64_t stride = padded(dim);
    q = memory, dy = q + queries * stride, dq = dy + queries * stride, delta = dq + queries * stride,
    lse = delta + padded(queries);
    keys_t = lse + padded(queries), values_t = keys_t + kKeyBlock * stride, keys = values_t + kKeyBlock * stride;
    p = keys + kKeyBlock * stride, ds = p + kQueryBlock * kKeyBlock;
  }
};

inline int64_t backward_scratch(const AttentionShape& shape, const AttentionSegment& segment) {
  return 3 * (segment.query_count + kKeyBlock) * padded(shape.head_dim) + 2 * padded(segment.query_count) +
         2 * kQueryBlock * kKeyBlock;
}
inline int64_t partial_size(const AttentionShape& shape, const AttentionSegment& segment) {
  return segment.key_count * padded(shape.head_dim);
}

template <class T>
void pack_backward(const AttentionBackward<T>& call, const AttentionSegment& segment, int head,
                   const BackwardScratch& s) {
  const int64_t dim = call.shape.head_dim, stride = padded(dim);
  for (int64_t i = 0; i < segment.query_count; ++i) {
    const int64_t row = segment.query_begin + i;
    pack_row(call.q + row * call.q_stride + head * dim, dim, s.q + i * stride);
    pack_row(call.dout + row * call.out_stride + head * dim, dim, s.dy + i * stride);
  }
}

// Σ p dp = dout · out of each query, its log-sum-exp, and dq = 0.
template <class T>
void prepare_rows(const AttentionBackward<T>& call, const AttentionSegment& segment, int head,
                  const BackwardScratch& s) {
  const int64_t dim = call.shape.head_dim;
  for (int64_t i = 0; i < segment.query_count; ++i) {
    const int64_t row = segment.query_begin + i;
    const T *dy = call.dout + row * call.out_stride + head * dim, *out = call.out + row * call.out_stride + head * dim;
    s.delta[i] =
        fold_sum(dim, [&](Vec sum, int64_t d, auto part) { return fma(load(dy + d, part), load(out + d, part), sum); });
    const float lse = call.log_sum_exp[row * call.shape.num_heads + head];
    s.lse[i] = lse == -kInfinity ? kInfinity : lse;  // saw nothing: every weight becomes exp(−∞)
  }
  std::memset(s.dq, 0, size_t(segment.query_count * padded(dim)) * sizeof(float));
}

// Products into weights (p) and score gradients (ds), zero where a query does not look.
inline void differentiate(const AttentionShape& shape, const QueryBlock& block, const RowTile& tile, int64_t key,
                          int head, const BackwardScratch& s) {
  for (int r = 0; r < tile.rows; ++r) {
    const int64_t i = tile.first + r;
    const Vec lse = broadcast(s.lse[block.begin + i]), delta = broadcast(s.delta[block.begin + i]);
    const float* bias = block.segment.bias;
    if (bias) bias += (head * block.segment.query_count + block.begin + i) * block.segment.key_count + key;
    float *const p = s.p + i * kKeyBlock, *const ds = s.ds + i * kKeyBlock;
    for (int j = 0; j < kKeyBlock; j += kLanes) {
      if (j + kLanes <= tile.lo[r] || j >= tile.hi[r]) {
        store(p + j, zero()), store(ds + j, zero());
        continue;
      }
      Vec score = load(p + j) * broadcast(shape.scale), slope = broadcast(shape.scale);
      if (shape.soft_cap > 0) {
        const Vec t = capped_tanh(score, shape.soft_cap);
        score = t * broadcast(shape.soft_cap), slope = slope * fnma(t, t, broadcast(1.0f));
      }
      if (bias) score = score + load_up_to(bias + j, tile.hi[r] - j);
      const Mask seen = lanes_between(tile.lo[r] - j, tile.hi[r] - j);
      const Vec weight = exp(score - lse);
      store(p + j, select(seen, weight, zero()));
      store(ds + j, select(seen, weight * (load(ds + j) - delta) * slope, zero()));
    }
  }
}

// The queries of a block that see any of the keys [key, key + n): [lo, hi) within the block.
struct QueryRange {
  int64_t lo, hi;
};
inline QueryRange queries_seeing(const AttentionShape& shape, const QueryBlock& block, int64_t key, int n) {
  const int64_t count = block.end - block.begin, past = block.segment.key_count - block.segment.query_count;
  if (!shape.causal) return {0, count};
  const int64_t lo = key - past - block.begin,
                hi = shape.window > 0 ? key + n - 1 + shape.window - past - block.begin : count;
  return {lo < 0 ? 0 : lo, hi < count ? hi : count};
}

inline void visit(const AttentionShape& shape, const QueryBlock& block, int64_t key, int n, int head,
                  const BackwardScratch& s, float* dk, float* dv) {
  const int64_t dim = shape.head_dim, stride = padded(dim), queries = block.end - block.begin,
                at = block.begin * stride;
  for (int64_t first = 0; first < queries; first += kTileRows) {
    const RowTile tile =
        row_tile(shape, block, first, int(queries - first < kTileRows ? queries - first : kTileRows), key, n);
    const int from = tile.all_lo / kLanes, to = (tile.all_hi + kLanes - 1) / kLanes;
    const int64_t row = at + first * stride, score = first * kKeyBlock;
    if (tile.all_lo < tile.all_hi) {
      multiply(tile.rows, to - from, dim, {s.q + row, stride, 1}, Lanes{s.keys_t + from * kLanes, kKeyBlock},
               {s.p + score + from * kLanes, kKeyBlock, false});
      multiply(tile.rows, to - from, dim, {s.dy + row, stride, 1}, Lanes{s.values_t + from * kLanes, kKeyBlock},
               {s.ds + score + from * kLanes, kKeyBlock, false});
    }
    differentiate(shape, block, tile, key, head, s);
    if (tile.all_lo < tile.all_hi)
      multiply(tile.rows, stride / kLanes, tile.all_hi - tile.all_lo, {s.ds + score + tile.all_lo, kKeyBlock, 1},
               Lanes{s.keys + tile.all_lo * stride, stride}, {s.dq + row, stride, true});
  }
  for (int j = 0; j < n; j += kTileRows) {
    const int rows = n - j < kTileRows ? n - j : kTileRows;
    const QueryRange range = queries_seeing(shape, block, key + j, rows);
    if (range.lo >= range.hi) continue;
    const int64_t score = range.lo * kKeyBlock + j, query = at + range.lo * stride, depth = range.hi - range.lo;
    multiply(rows, stride / kLanes, depth, {s.p + score, 1, kKeyBlock}, Lanes{s.dy + query, stride},
             {dv + j * stride, stride, true});
    multiply(rows, stride / kLanes, depth, {s.ds + score, 1, kKeyBlock}, Lanes{s.q + query, stride},
             {dk + j * stride, stride, true});
  }
}

template <class K>
void pack_keys(const AttentionShape& shape, const KeysValues& kv, const AttentionSegment& segment, int kv_head,
               int64_t key, int n, const BackwardScratch& s) {
  KeyBlock<K> where;
  find_keys(shape, kv, segment, kv.keys, kv_head, key, n, where);
  pack_transposed(where, where, shape.head_dim, s.keys_t);
  pack_rows(where, where, n, shape.head_dim, s.keys);
  find_keys(shape, kv, segment, kv.values, kv_head, key, n, where);
  pack_transposed(where, where, shape.head_dim, s.values_t);
}

// Blocks of keys, each packed by pack(pointer to its type, kv_head, key, n, scratch), and for each the blocks of queries that see it:
// visit(shape of one head, block, key, n, scratch, dk, dv).
template <class T, class PackKeys, class Visit>
void backward_over_keys(const AttentionBackward<T>& call, const AttentionSegment& segment, int head, float* memory,
                        float* dk, float* dv, PackKeys&& pack, Visit&& visit_block) {
  AttentionShape shape = call.shape;
  const int kv_head = head / (shape.num_heads / shape.num_key_value_heads);
  const int64_t dim = shape.head_dim, stride = padded(dim);
  const BackwardScratch s(memory, dim, segment.query_count);
  prepare_rows(call, segment, head, s);
  std::memset(dk, 0, size_t(segment.key_count * stride) * sizeof(float));
  std::memset(dv, 0, size_t(segment.key_count * stride) * sizeof(float));
  shape.num_heads = shape.num_key_value_heads = 1;  // a row is a query here
  for (int64_t key = 0; key < segment.key_count; key += kKeyBlock) {
    const int n = int(segment.key_count - key < kKeyBlock ? segment.key_count - key : kKeyBlock);
    if (call.kv.dtype == DType::kBF16)
      pack(static_cast<bf16*>(nullptr), kv_head, key, n, s);
    else
      pack(static_cast<float*>(nullptr), kv_head, key, n, s);
    for (int64_t i = 0; i < segment.query_count; i += kQueryBlock) {
      const QueryBlock block{segment, 0, i,
                             i + kQueryBlock < segment.query_count ? i + kQueryBlock : segment.query_count};
      if (ref::visible_keys(shape, segment, block.begin).begin >= key + n ||
          ref::visible_keys(shape, segment, block.end - 1).end <= key)
        continue;
      visit_block(shape, block, key, n, s, dk + key * stride, dv + key * stride);
    }
  }
  for (int64_t i = 0; i < segment.query_count; ++i) {
    T* const to = call.dq + (segment.query_begin + i) * call.q_stride + head * dim;
    for_vectors(dim, [&](int64_t d, auto part) { store(to + d, load(s.dq + i * stride + d), part); });
  }
}

template <class T>
void backward(const AttentionBackward<T>& call, const AttentionSegment& segment, int head, float* memory, float* dk,
              float* dv) {
  pack_backward(call, segment, head, BackwardScratch(memory, call.shape.head_dim, segment.query_count));
  backward_over_keys(
      call, segment, head, memory, dk, dv,
      [&]<class K>(K*, int kv_head, int64_t key, int n, const BackwardScratch& s) {
        pack_keys<K>(call.shape, call.kv, segment, kv_head, key, n, s);
      },
      [&](const AttentionShape& one_head, const QueryBlock& block, int64_t key, int n, const BackwardScratch& s,
          float* dk_at, float* dv_at) { visit(one_head, block, key, n, head, s, dk_at, dv_at); });
}

template <class T>
void add_partials(const AttentionBackward<T>& call, const AttentionSegment& segment, int kv_head,
                  const float* partials) {
  const AttentionShape& shape = call.shape;
  const int64_t dim = shape.head_dim, stride = padded(dim), size = partial_size(shape, segment),
                group = shape.num_heads / shape.num_key_value_heads;
  for (T* gradient : {call.dk, call.dv}) {
    for (int64_t j = 0; j < segment.key_count; ++j) {
      T* const to = gradient + ((segment.key_begin + j) * shape.num_key_value_heads + kv_head) * dim;
      const float* const from = partials + kv_head * group * size + j * stride;
      for_vectors(dim, [&](int64_t d, auto part) {
        Vec sum = load(from + d);
        for (int64_t h = 1; h < group; ++h) sum = sum + load(from + h * size + d);
        store(to + d, sum, part);
      });
    }
    partials += shape.num_heads * size;
  }
}

template <class T>
constexpr AttentionKernels<T> kKernels = {state_size,      forward_scratch, forward<T>,       forward_chunk<T>,
                                          merge_chunks<T>, partial_size,    backward_scratch, backward<T>,
                                          add_partials<T>, quantise_head};

}  // namespace attention
}  // namespace SEDUM_ISA_NAMESPACE
}  // namespace sedum
