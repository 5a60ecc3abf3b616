#pragma once
// Attention whose products multiply pairs of bf16: q, k, v, dO, the weights and the score gradients are rounded when they are packed, sums
// and exponentials stay f32. Twice the multiply-adds of f32 in an instruction, and half the packed bytes. Keys and values are contiguous or,
// forward, lie in pages of bf16, whose lines need only be laid side by side: keys by dimension, values by key.
//
// The steps are those of attention_forward.h and attention_backward.h; only what is packed, and in which pairs, is other: S = Q Kᵀ and
// dP = dO Vᵀ sum over dimensions, O = P V and dQ = dS K over keys, dV = Pᵀ dO and dK = dSᵀ Q over queries. Pairs begin at even
// dimensions, keys and queries of a segment, and what a query does not see has weight zero, so that its bits depend on what they
// depend on in f32. The scratch of the f32 forward pass has room for all of it.

namespace sedum {
namespace SEDUM_ISA_NAMESPACE {
namespace attention {

SEDUM_INLINE int64_t units_of(int64_t dim) { return padded(dim) / 2; }  // pairs of a row

SEDUM_INLINE Pair* as_pairs(float* p) { return reinterpret_cast<Pair*>(p); }
SEDUM_INLINE const float* bits_of(const Pair* p) { return reinterpret_cast<const float*>(p); }

template <class T>
SEDUM_INLINE Vec load_up_to_lanes(const T* p, int64_t n) {
  return n >= kLanes ? load(p) : n > 0 ? load(p, Part{int(n)}) : zero();
}
// 2 · kLanes values from p on, zeros beyond `n` of them, each with its neighbour.
template <class T>
SEDUM_INLINE Vec pairs_at(const T* p, int64_t n) {
  return pairs_along(load_up_to_lanes(p, n), load_up_to_lanes(p + kLanes, n - kLanes));
}

// One row; up to kLanes pairs of zeros beyond units_of(dim) are written.
template <class T>
SEDUM_INLINE void pack_row_pairs(const T* from, int64_t dim, Pair* to) {
  for (int64_t d = 0; d < dim; d += 2 * kLanes) store(to + d / 2, pairs_at(from + d, dim - d));
}
// (padded(dim)): each value of a row with that of another, null for zeros.
template <class T>
SEDUM_INLINE void pack_two_rows(const T* a, const T* b, int64_t dim, Pair* to) {
  if constexpr (sizeof(T) == 2) {
    for (; dim >= kLanes; dim -= kLanes, a += kLanes, b = b ? b + kLanes : b, to += kLanes)
      store(to, pairs_across(a, b));
  }
  for (int64_t d = 0; d < dim; d += kLanes)
    store(to + d, pairs_across(load_up_to_lanes(a + d, dim - d), b ? load_up_to_lanes(b + d, dim - d) : zero()));
}

// to (units_of(dim), kKeyBlock): pairs of dimensions of all keys side by side.
template <class K>
void pack_transposed_pairs(const KeyBlock<K>& block, int64_t dim, Pair* to) {
  for (int j = 0; j < kKeyBlock; j += kLanes)
    for (int64_t d = 0; d < dim; d += 2 * kLanes) {
      Vec lines[kLanes];
      unroll<kLanes>([&](auto l)
                         __attribute__((always_inline)) { lines[l] = pairs_at(block.rows[j + l] + d, dim - d); });
      transpose(lines);
      unroll<kLanes>([&](auto l) __attribute__((always_inline)) { store(to + (d / 2 + l) * kKeyBlock + j, lines[l]); });
    }
}
// to (kKeyBlock / 2, padded(dim)): pairs of the first n keys, beyond them the last one again.
template <class K>
void pack_row_pairs_of_keys(const KeyBlock<K>& block, int n, int64_t dim, Pair* to) {
  for (int j = 0; j < n; j += 2, to += padded(dim)) pack_two_rows(block.rows[j], block.rows[j + 1], dim, to);
}

// e^x for x ≤ 0 that will be rounded to bf16: 2^n · 2^f, f in [−½, ½], by a polynomial with the constant 1 and a relative error of 2.9e-6 (minimax);
// |x| 2^-23 from x / ln 2 comes to that. e^0 is exactly 1, −∞ gives 0, NaN stays.
struct ShortExp {
  SEDUM_INLINE static Vec of(Vec x) {
    const Vec t = max(broadcast(-240.0f), x * broadcast(0x1.715476p+0f)), n = round(t), f = t - n;
    Vec p = broadcast(0x1.3a02ccp-7f);
    p = fma(p, f, broadcast(0x1.c9fc46p-5f));
    p = fma(p, f, broadcast(0x1.ec0378p-3f));
    p = fma(p, f, broadcast(0x1.62e12cp-1f));
    return times_power_of_two(fma(p, f, broadcast(1.0f)), n);
  }
};

// Weights of a tile in place: the pairs of row r begin where its floats did.
inline void pair_weights(const RowTile& tile, float* scores) {
  const int from = tile.all_lo / (2 * kLanes) * (2 * kLanes);
  for (int r = 0; r < tile.rows; ++r, scores += kKeyBlock)
    for (int j = from; j < tile.all_hi; j += 2 * kLanes)
      store(as_pairs(scores) + j / 2, pairs_along(load(scores + j), load(scores + j + kLanes)));
}

// scores_of(rows, from, to, q): products of rows of q with keys [from, to) of a block; add_values(rows, from, to, out): to the sums
// `out`, values [from, to) by the weights in scratch.scores. Both begin at a multiple of kLanes.
template <class Scores, class Values>
void attend_block_pairs(const AttentionShape& shape, const QueryBlock& block, int64_t key, int n,
                        const ForwardScratch& scratch, State state, Scores&& scores_of, Values&& add_values) {
  const int64_t dim = shape.head_dim, units = units_of(dim), rows = rows_of(shape, block.end - block.begin);
  const int64_t tiles = (rows + kTileRows - 1) / kTileRows, even = (rows + tiles - 1) / tiles;
  for (int64_t first = 0; first < rows; first += even) {
    const RowTile tile = row_tile(shape, block, first, int(rows - first < even ? rows - first : even), key, n);
    if (tile.all_lo >= tile.all_hi) continue;
    const int from = tile.all_lo / kLanes * kLanes;
    scores_of(tile.rows, from, int(padded(tile.all_hi)), Broadcast{scratch.q + first * units, units, 1});
    float greatest[kTileRows];
    for (int r = 0; r < tile.rows; ++r) greatest[r] = state.max[first + r];
    finish_scores(shape, block, tile, key, scratch.scores, greatest);
    exponentiate<ShortExp>(tile, dim, scratch.scores, greatest, state);
    pair_weights(tile, scratch.scores);
    add_values(tile.rows, from, tile.all_hi, Sums{state.out + first * padded(dim), padded(dim), true});
  }
}

// A block whose keys and values are packed.
inline void attend_packed_pairs(const AttentionShape& shape, const QueryBlock& block, int64_t key, int n,
                                const ForwardScratch& scratch, State state) {
  const int64_t stride = padded(shape.head_dim), units = units_of(shape.head_dim);
  attend_block_pairs(
      shape, block, key, n, scratch, state,
      [&](int rows, int from, int to, Broadcast q) {
        multiply(rows, (to - from) / kLanes, units, q, Lanes<Pair>{as_pairs(scratch.keys) + from, kKeyBlock},
                 {scratch.scores + from, kKeyBlock, false});
      },
      [&](int rows, int from, int to, Sums out) {
        multiply(rows, stride / kLanes, (to - from + 1) / 2, {scratch.scores + from / 2, kKeyBlock, 1},
                 Lanes<Pair>{as_pairs(scratch.values) + from / 2 * stride, stride}, out);
      });
}

// Two lines of a page at a time, side by side; kAlone: one, and zeros.
template <bool kAlone = false>
struct StoredLines {
  const bf16* p;
  int64_t stride, second, ahead;
  using Packed = Pair;
  explicit StoredLines(const Lanes<bf16, true>& lines)
      : p(lines.p), stride(2 * lines.stride), second(lines.stride), ahead(lines.ahead) {}
  SEDUM_INLINE Vec line(int64_t i) const { return pairs_across(p + i, kAlone ? nullptr : p + second + i); }
  SEDUM_INLINE void fetch() const { __builtin_prefetch(p + ahead), __builtin_prefetch(p + second + ahead); }
};

// The blocks [key, end) of few rows: pages are read as they are stored, once for each tile of rows.
inline void attend_stored_pairs(const AttentionShape& shape, const KeysValues& kv, const QueryBlock& block, int64_t key,
                                int64_t end, const ForwardScratch& scratch, State state) {
  const int64_t dim = shape.head_dim;
  for (; key < end; key += kKeyBlock) {
    const int64_t left = block.segment.key_count - key;
    const auto pieces_of = [&](const void* base, int64_t stride) {
      return stored_pieces<bf16>(shape, kv, block.segment, base, block.kv_head, key, stride);
    };
    const Pieces<bf16, true> keys = pieces_of(kv.keys, kv.page_size), values = pieces_of(kv.values, dim);
    attend_block_pairs(
        shape, block, key, int(left < kKeyBlock ? left : kKeyBlock), scratch, state,
        [&](int rows, int from, int to, Broadcast q) {
          for_pieces(keys, 1, from, to, [&](int j, int count, auto lines) {
            multiply(rows, count / kLanes, dim / 2, q, StoredLines(lines), {scratch.scores + j, kKeyBlock, false});
          });
        },
        [&](int rows, int from, int to, Sums out) {
          for_pieces(values, dim, from, to, [&](int j, int count, auto lines) {
            const Broadcast weights{scratch.scores + j / 2, kKeyBlock, 1};
            multiply(rows, dim / kLanes, count / 2, weights, StoredLines(lines), out);
            if (count % 2 == 0) return;  // what lies beyond the last key may be anything
            lines.p += (count - 1) * dim;
            multiply(rows, dim / kLanes, 1, {weights.p + count / 2, kKeyBlock, 1}, StoredLines<true>(lines), out);
          });
        });
  }
}

// Pages to what pack_transposed_pairs gives. Lanes beyond the last key keep what their page holds, which is masked.
inline void pack_pages_pairs(const AttentionShape& shape, const Pieces<bf16, true>& pages, int n, Pair* to) {
  for_pieces(pages, 1, 0, int(padded(n)), [&](int j, int count, auto lines) {
    for (int64_t d = 0; d < shape.head_dim; d += 2, lines.p += 2 * lines.stride)
      for (int i = 0; i < count; i += kLanes)
        store(to + d / 2 * kKeyBlock + j + i, pairs_across(lines.p + i, lines.p + lines.stride + i));
  });
}

// One block, packed for all rows.
template <class K>
void pack_block_pairs(const AttentionShape& shape, const KeysValues& kv, const QueryBlock& block, int64_t key, int n,
                      const ForwardScratch& scratch) {
  KeyBlock<K> where;
  if constexpr (sizeof(K) == 2) {
    if (kv.page_size > 0) {
      pack_pages_pairs(shape, stored_pieces<K>(shape, kv, block.segment, kv.keys, block.kv_head, key, kv.page_size), n,
                       as_pairs(scratch.keys));
    }
  }
  if (kv.page_size == 0) {
    find_keys(shape, kv, block.segment, kv.keys, block.kv_head, key, n, where);
    pack_transposed_pairs(where, shape.head_dim, as_pairs(scratch.keys));
  }
  find_keys(shape, kv, block.segment, kv.values, block.kv_head, key, n, where);
  pack_row_pairs_of_keys(where, n, shape.head_dim, as_pairs(scratch.values));
}

template <class K>
void attend_keys_pairs(const AttentionShape& shape, const KeysValues& kv, const QueryBlock& block, int64_t chunk,
                       const ForwardScratch& scratch, State state) {
  const int64_t rows = rows_of(shape, block.end - block.begin);
  clear(shape, state, rows);
  const ChunkKeys keys = keys_of_chunk(shape, block, chunk);
  if (kv.page_size > 0 && rows <= kRowsOfStored)
    return attend_stored_pairs(shape, kv, block, keys.begin, keys.end, scratch, state);
  for (int64_t key = keys.begin; key < keys.end; key += kKeyBlock) {
    const int64_t left = block.segment.key_count - key;
    const int n = int(left < kKeyBlock ? left : kKeyBlock);
    pack_block_pairs<K>(shape, kv, block, key, n, scratch);
    attend_packed_pairs(shape, block, key, n, scratch, state);
  }
}

inline void attend_chunk_pairs(const AttentionShape& shape, const KeysValues& kv, const QueryBlock& block,
                               int64_t chunk, const ForwardScratch& scratch, State state) {
  if (kv.dtype == DType::kBF16)
    attend_keys_pairs<bf16>(shape, kv, block, chunk, scratch, state);
  else
    attend_keys_pairs<float>(shape, kv, block, chunk, scratch, state);
}

template <class T>
void pack_query_pairs(const AttentionForward<T>& call, const QueryBlock& block, float* to) {
  const int64_t group = rows_of(call.shape, 1), dim = call.shape.head_dim;
  for (int64_t i = block.begin; i < block.end; ++i) {
    const T* from = call.q + (block.segment.query_begin + i) * call.q_stride + block.kv_head * group * dim;
    for (int64_t h = 0; h < group; ++h, to += units_of(dim)) pack_row_pairs(from + h * dim, dim, as_pairs(to));
  }
}

template <class T>
void forward_pairs(const AttentionForward<T>& call, const QueryBlock& block, float* memory) {
  forward_over_chunks(call, block, memory, pack_query_pairs<T>, attend_chunk_pairs);
}

template <class T>
void forward_chunk_pairs(const AttentionForward<T>& call, const QueryBlock& block, int64_t chunk, float* memory,
                         float* state) {
  const int64_t rows = rows_of(call.shape, block.end - block.begin);
  const ForwardScratch scratch(memory, call.shape, rows);
  pack_query_pairs(call, block, scratch.q);
  attend_chunk_pairs(call.shape, call.kv, block, chunk, scratch, State(state, rows));
}

// Beside what the f32 pass holds (BackwardScratch, whose q, dy and keys stay unused): pairs of dimensions of each query, pairs of queries
// of each dimension, pairs of keys, and weights and score gradients of a block in pairs of queries.
struct PairScratch {
  Pair *q, *dy;                // (queries, units)
  Pair *q_across, *dy_across;  // (queries / 2, padded dim)
  Pair *keys_t, *values_t;     // (units, kKeyBlock)
  Pair* keys;                  // (kKeyBlock / 2, padded dim)
  Pair *p, *ds;                // (kQueryBlock / 2, kKeyBlock)
  Pair* ds_rows;               // (kTileRows, kKeyBlock / 2)
  PairScratch(float* memory, int64_t dim, int64_t queries) {
    const int64_t stride = padded(dim), rows = queries * units_of(dim) + kLanes, across = (queries + 1) / 2 * stride,
                  transposed = (units_of(dim) + kLanes) * kKeyBlock;
    q = as_pairs(memory), dy = q + rows, q_across = dy + rows, dy_across = q_across + across,
    keys_t = dy_across + across, values_t = keys_t + transposed, keys = values_t + transposed,
    p = keys + kKeyBlock / 2 * stride, ds = p + kQueryBlock / 2 * kKeyBlock, ds_rows = ds + kQueryBlock / 2 * kKeyBlock;
    end = ds_rows + kTileRows * kKeyBlock / 2;
  }
  Pair* end;
};
inline int64_t pair_scratch(int64_t dim, int64_t queries) {
  return reinterpret_cast<const float*>(PairScratch(nullptr, dim, queries).end) - static_cast<const float*>(nullptr);
}
inline int64_t backward_scratch_pairs(const AttentionShape& shape, const AttentionSegment& segment) {
  return backward_scratch(shape, segment) + pair_scratch(shape.head_dim, segment.query_count);
}

template <class T>
void pack_backward_pairs(const AttentionBackward<T>& call, const AttentionSegment& segment, int head,
                         const PairScratch& s) {
  const int64_t dim = call.shape.head_dim, count = segment.query_count;
  const auto q = [&](int64_t i) { return call.q + (segment.query_begin + i) * call.q_stride + head * dim; };
  const auto dy = [&](int64_t i) { return call.dout + (segment.query_begin + i) * call.out_stride + head * dim; };
  for (int64_t i = 0; i < count; ++i)
    pack_row_pairs(q(i), dim, s.q + i * units_of(dim)), pack_row_pairs(dy(i), dim, s.dy + i * units_of(dim));
  for (int64_t i = 0; i < count; i += 2) {
    pack_two_rows(q(i), i + 1 < count ? q(i + 1) : nullptr, dim, s.q_across + i / 2 * padded(dim));
    pack_two_rows(dy(i), i + 1 < count ? dy(i + 1) : nullptr, dim, s.dy_across + i / 2 * padded(dim));
  }
}

template <class K>
void pack_key_pairs(const AttentionShape& shape, const KeysValues& kv, const AttentionSegment& segment, int kv_head,
                    int64_t key, int n, const PairScratch& s) {
  KeyBlock<K> where;
  find_keys(shape, kv, segment, kv.keys, kv_head, key, n, where);
  pack_transposed_pairs(where, shape.head_dim, s.keys_t);
  pack_row_pairs_of_keys(where, n, shape.head_dim, s.keys);
  find_keys(shape, kv, segment, kv.values, kv_head, key, n, where);
  pack_transposed_pairs(where, shape.head_dim, s.values_t);
}

// A tile's weights and score gradients in both kinds of pairs. Tiles begin at even queries; beside the last of an odd number is nothing.
static_assert(kTileRows % 2 == 0);
inline void pair_gradients(const RowTile& tile, const BackwardScratch& f, const PairScratch& s) {
  for (int r = 0; r < tile.rows; ++r) {
    const float* const ds = f.ds + (tile.first + r) * kKeyBlock;
    for (int j = 0; j < kKeyBlock; j += 2 * kLanes)
      store(s.ds_rows + r * kKeyBlock / 2 + j / 2, pairs_along(load(ds + j), load(ds + j + kLanes)));
  }
  for (int r = 0; r < tile.rows; r += 2) {
    const bool both = r + 1 < tile.rows;
    const int64_t at = (tile.first + r) * kKeyBlock, to = at / 2;
    for (int j = 0; j < kKeyBlock; j += kLanes) {
      const auto across = [&](const float* x) {
        return pairs_across(load(x + at + j), both ? load(x + at + kKeyBlock + j) : zero());
      };
      store(s.p + to + j, across(f.p)), store(s.ds + to + j, across(f.ds));
    }
  }
}

inline void visit_pairs(const AttentionShape& shape, const QueryBlock& block, int64_t key, int n, int head,
                        const BackwardScratch& f, const PairScratch& s, float* dk, float* dv) {
  const int64_t stride = padded(shape.head_dim), units = units_of(shape.head_dim), queries = block.end - block.begin;
  for (int64_t first = 0; first < queries; first += kTileRows) {
    const RowTile tile =
        row_tile(shape, block, first, int(queries - first < kTileRows ? queries - first : kTileRows), key, n);
    const int from = tile.all_lo / kLanes * kLanes, vectors = int(padded(tile.all_hi) - from) / kLanes;
    const int64_t row = (block.begin + first) * units, score = first * kKeyBlock + from;
    if (tile.all_lo < tile.all_hi) {
      multiply(tile.rows, vectors, units, {bits_of(s.q + row), units, 1}, Lanes<Pair>{s.keys_t + from, kKeyBlock},
               {f.p + score, kKeyBlock, false});
      multiply(tile.rows, vectors, units, {bits_of(s.dy + row), units, 1}, Lanes<Pair>{s.values_t + from, kKeyBlock},
               {f.ds + score, kKeyBlock, false});
    }
    differentiate(shape, block, tile, key, head, f);
    pair_gradients(tile, f, s);
    if (tile.all_lo < tile.all_hi)
      multiply(tile.rows, stride / kLanes, (tile.all_hi - from + 1) / 2,
               {bits_of(s.ds_rows) + from / 2, kKeyBlock / 2, 1}, Lanes<Pair>{s.keys + from / 2 * stride, stride},
               {f.dq + (block.begin + first) * stride, stride, true});
  }
  for (int j = 0; j < n; j += kTileRows) {
    const int rows = n - j < kTileRows ? n - j : kTileRows;
    const QueryRange range = queries_seeing(shape, block, key + j, rows);
    if (range.lo >= range.hi) continue;
    const int64_t lo = range.lo / 2, depth = (range.hi + 1) / 2 - lo, query = (block.begin / 2 + lo) * stride;
    multiply(rows, stride / kLanes, depth, {bits_of(s.p) + lo * kKeyBlock + j, 1, kKeyBlock},
             Lanes<Pair>{s.dy_across + query, stride}, {dv + j * stride, stride, true});
    multiply(rows, stride / kLanes, depth, {bits_of(s.ds) + lo * kKeyBlock + j, 1, kKeyBlock},
             Lanes<Pair>{s.q_across + query, stride}, {dk + j * stride, stride, true});
  }
}

template <class T>
void backward_pairs(const AttentionBackward<T>& call, const AttentionSegment& segment, int head, float* memory,
                    float* dk, float* dv) {
  const PairScratch s(memory + backward_scratch(call.shape, segment), call.shape.head_dim, segment.query_count);
  pack_backward_pairs(call, segment, head, s);
  backward_over_keys(
      call, segment, head, memory, dk, dv,
      [&]<class K>(K*, int kv_head, int64_t key, int n, const BackwardScratch&) {
        pack_key_pairs<K>(call.shape, call.kv, segment, kv_head, key, n, s);
      },
      [&](const AttentionShape& one_head, const QueryBlock& block, int64_t key, int n, const BackwardScratch& f,
          float* dk_at, float* dv_at) { visit_pairs(one_head, block, key, n, head, f, s, dk_at, dv_at); });
}

template <class T>
constexpr AttentionKernels<T> kPairKernels = {
    state_size,   forward_scratch,        forward_pairs<T>,  forward_chunk_pairs<T>, merge_chunks<T>,
    partial_size, backward_scratch_pairs, backward_pairs<T>, add_partials<T>,        quantise_head};

}  // namespace attention
}  // namespace SEDUM_ISA_NAMESPACE
}  // namespace sedum
