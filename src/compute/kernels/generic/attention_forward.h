#pragma once
// Attention forward over the vector vocabulary. A *row* is one query head of one query; a block's rows are ordered by query, then by
// head, so that all heads of a key-value head share its keys, packed once.

namespace sedum {
namespace SEDUM_ISA_NAMESPACE {
namespace attention {

// What is known of each row after some keys: the greatest score, Σ exp(score − max) in kLanes parts, Σ exp(score − max) · v.
struct State {
  float *max, *sum, *out;  // (rows), (rows, kLanes), (rows, padded dim)
  State(float* memory, int64_t rows) : max(memory), sum(memory + padded(rows)), out(sum + rows * kLanes) {}
};

inline int64_t rows_of(const AttentionShape& shape, int64_t queries) {
  return queries * (shape.num_heads / shape.num_key_value_heads);
}

inline int64_t state_size(const AttentionShape& shape, int64_t queries) {
  const int64_t rows = rows_of(shape, queries);
  return padded(rows) + rows * (kLanes + padded(shape.head_dim));
}

inline void clear(const AttentionShape& shape, State state, int64_t rows) {
  for (int64_t r = 0; r < rows; ++r) state.max[r] = -kInfinity;
  std::memset(state.sum, 0, size_t(rows * (kLanes + padded(shape.head_dim))) * sizeof(float));
}

// Packed operands of a block of queries.
struct ForwardScratch {
  float *q, *keys, *values, *scores;
  float* states;
  ForwardScratch(float* memory, const AttentionShape& shape, int64_t rows)
      : q(memory),
        keys(q + rows * padded(shape.head_dim)),
        values(keys + kKeyBlock * padded(shape.head_dim)),
        scores(values + kKeyBlock * padded(shape.head_dim)),
        states(scores + kTileRows * kKeyBlock) {}
};

inline int64_t forward_scratch(const AttentionShape& shape, int64_t queries) {
  return (rows_of(shape, queries) + 2 * kKeyBlock) * padded(shape.head_dim) + kTileRows * kKeyBlock +
         2 * state_size(shape, queries);
}

// Some rows of a block against one block of keys: lanes [lo, hi) of each row's scores are what it sees.
struct RowTile {
  int rows;
  int64_t first;  // row within the query block
  int lo[kTileRows], hi[kTileRows];
  int all_lo, all_hi;
};

inline RowTile row_tile(const AttentionShape& shape, const QueryBlock& block, int64_t first, int rows, int64_t key,
                        int n) {
  RowTile tile{rows, first, {}, {}, n, 0};
  const int64_t group = shape.num_heads / shape.num_key_value_heads;
  for (int r = 0; r < rows; ++r) {
    const auto [begin, end] = ref::visible_keys(shape, block.segment, block.begin + (first + r) / group);
    const int64_t lo = begin - key, hi = end - key;
    tile.lo[r] = int(lo < 0 ? 0 : lo > n ? n : lo), tile.hi[r] = int(hi < 0 ? 0 : hi > n ? n : hi);
    if (tile.lo[r] >= tile.hi[r]) continue;
    if (tile.lo[r] < tile.all_lo) tile.all_lo = tile.lo[r];
    if (tile.hi[r] > tile.all_hi) tile.all_hi = tile.hi[r];
  }
  return tile;
}

// Products into scores, row by row: scaled, capped, biased, masked. `greatest` receives the rows' maxima, those known before included.
inline void finish_scores(const AttentionShape& shape, const QueryBlock& block, const RowTile& tile, int64_t key,
                          float* scores, float* greatest) {
  const int group = shape.num_heads / shape.num_key_value_heads;
  const int from = tile.all_lo / kLanes * kLanes;
  for (int r = 0; r < tile.rows; ++r, scores += kKeyBlock) {
    const int64_t query = block.begin + (tile.first + r) / group,
                  head = block.kv_head * group + (tile.first + r) % group;
    const float* bias = block.segment.bias;
    if (bias) bias += (head * block.segment.query_count + query) * block.segment.key_count + key;
    Vec top = broadcast(greatest[r]);
    for (int j = from; j < tile.all_hi; j += kLanes) {
      Vec s = load(scores + j) * broadcast(shape.scale);
      if (shape.soft_cap > 0) s = capped_tanh(s, shape.soft_cap) * broadcast(shape.soft_cap);
      if (bias) s = s + load_up_to(bias + j, tile.all_hi - j);
      if (tile.lo[r] > j || tile.hi[r] < j + kLanes)
        s = select(lanes_between(tile.lo[r] - j, tile.hi[r] - j), s, broadcast(-kInfinity));
      store(scores + j, s);
      top = max(s, top);
    }
    greatest[r] = reduce_max(top);
  }
}

struct ExactExp {
  SEDUM_INLINE static Vec of(Vec x) { return exp(x); }
};

// Scores into weights exp(score − max), as Exp computes them; sums and outputs so far are scaled to the new maximum. Where a row sees
// nothing new, everything is multiplied by exactly one.
template <class Exp>
void exponentiate(const RowTile& tile, int64_t dim, float* scores, const float* greatest, State state) {
  alignas(64) float drop[kLanes] = {}, base[kLanes] = {};
  for (int r = 0; r < tile.rows; ++r) {
    base[r] = greatest[r] == -kInfinity ? 0 : greatest[r];
    drop[r] = state.max[tile.first + r] - base[r];
    state.max[tile.first + r] = greatest[r];
  }
  store(drop, exp(load(drop)));
  const int from = tile.all_lo / kLanes * kLanes;
  for (int r = 0; r < tile.rows; ++r, scores += kKeyBlock) {
    Vec sum = zero();
    for (int j = from; j < tile.all_hi; j += kLanes) {
      const Vec weight = Exp::of(load(scores + j) - broadcast(base[r]));
      store(scores + j, weight);
      sum = sum + weight;
    }
    float* const total = state.sum + (tile.first + r) * kLanes;
    store(total, fma(load(total), broadcast(drop[r]), sum));
    if (drop[r] == 1) continue;
    float* const out = state.out + (tile.first + r) * padded(dim);
    for (int64_t d = 0; d < padded(dim); d += kLanes) store(out + d, load(out + d) * broadcast(drop[r]));
  }
}

// Up to two tiles of rows read pages as they are stored: widening bf16 twice costs what packing does.
constexpr int64_t kRowsOfStored = 2 * kTileRows;

// f(j, count, lanes) for each piece of keys [begin, end) of a block: `count` from j on, `step` values apart.
template <class K, bool kFetch, class F>
SEDUM_INLINE void for_pieces(const Pieces<K, kFetch>& pieces, int64_t step, int begin, int end, F&& f) {
  while (begin < end) {
    const int piece = begin / pieces.each, piece_end = (piece + 1) * pieces.each,
              stop = end < piece_end ? end : piece_end;
    const K* const p = pieces.at[piece] + (begin - piece * pieces.each) * step;
    f(begin, stop - begin, Lanes<K, kFetch>{p, pieces.stride, pieces.ahead[piece]});
    begin = stop;
  }
}

template <class P>
void attend_block(const AttentionShape& shape, const QueryBlock& block, int64_t key, int n, const P& keys,
                  const P& values, const ForwardScratch& scratch, State state) {
  const int64_t dim = shape.head_dim, stride = padded(dim), rows = rows_of(shape, block.end - block.begin);
  const int64_t tiles = (rows + kTileRows - 1) / kTileRows, even = (rows + tiles - 1) / tiles;  // 7 rows: 4 and 3
  for (int64_t first = 0; first < rows; first += even) {
    const RowTile tile = row_tile(shape, block, first, int(rows - first < even ? rows - first : even), key, n);
    if (tile.all_lo >= tile.all_hi) continue;
    const int from = tile.all_lo / kLanes * kLanes, to = int(padded(tile.all_hi));
    for_pieces(keys, 1, from, to, [&](int j, int count, auto lanes) {
      multiply(tile.rows, count / kLanes, dim, {scratch.q + first * stride, stride, 1}, lanes,
               {scratch.scores + j, kKeyBlock, false});
    });
    float greatest[kTileRows];
    for (int r = 0; r < tile.rows; ++r) greatest[r] = state.max[first + r];
    finish_scores(shape, block, tile, key, scratch.scores, greatest);
    exponentiate<ExactExp>(tile, dim, scratch.scores, greatest, state);
    for_pieces(values, values.stride, tile.all_lo, tile.all_hi, [&](int j, int count, auto lanes) {
      multiply(tile.rows, stride / kLanes, count, {scratch.scores + j, kKeyBlock, 1}, lanes,
               {state.out + first * stride, stride, true});
    });
  }
}

// The blocks [key, end) of a chunk. Each is packed once as floats for all rows; the next one is fetched meanwhile.
template <class K>
void attend_packed(const AttentionShape& shape, const KeysValues& kv, const QueryBlock& block, int64_t key, int64_t end,
                   const ForwardScratch& scratch, State state) {
  constexpr bool by_rows = sizeof(K) == 1;
  KeyBlock<K> keys[2], values[2];
  const auto find = [&](int64_t at, int slot) {
    const int64_t left = block.segment.key_count - at;
    const int n = int(left < kKeyBlock ? left : kKeyBlock);
    if (by_rows || kv.page_size == 0) find_keys(shape, kv, block.segment, kv.keys, block.kv_head, at, n, keys[slot]);
    find_keys(shape, kv, block.segment, kv.values, block.kv_head, at, n, values[slot]);
    return n;
  };
  const Pieces<float> packed_keys{kKeyBlock, kKeyBlock, {scratch.keys}},
      packed_values{kKeyBlock, padded(shape.head_dim), {scratch.values}};
  int n = find(key, 0);
  for (int slot = 0; key < end; key += kKeyBlock, slot ^= 1) {
    const bool more = key + kKeyBlock < end;
    const int next = more ? slot ^ 1 : slot, next_n = more ? find(key + kKeyBlock, next) : 0;
    if (by_rows || kv.page_size == 0) {
      pack_transposed(keys[slot], keys[next], shape.head_dim, scratch.keys);
    } else if constexpr (!by_rows) {
      pack_pages<K>(shape, kv, block.segment, block.kv_head, key, n, scratch.keys);
    }
    pack_rows(values[slot], values[next], n, shape.head_dim, scratch.values);
    attend_block(shape, block, key, n, packed_keys, packed_values, scratch, state);
    n = next_n;
  }
}

// The same for few rows: pages are read as they are stored, once for each tile of rows.
template <class K>
void attend_stored(const AttentionShape& shape, const KeysValues& kv, const QueryBlock& block, int64_t key, int64_t end,
                   const ForwardScratch& scratch, State state) {
  const auto pieces_of = [&](const void* base, int64_t stride) {
    return stored_pieces<K>(shape, kv, block.segment, base, block.kv_head, key, stride);
  };
  for (; key < end; key += kKeyBlock) {
    const int64_t left = block.segment.key_count - key;
    attend_block(shape, block, key, int(left < kKeyBlock ? left : kKeyBlock), pieces_of(kv.keys, kv.page_size),
                 pieces_of(kv.values, shape.head_dim), scratch, state);
  }
}

// The keys of one chunk that a block's queries see, from the beginning of the first one's block.
struct ChunkKeys {
  int64_t begin, end;
};
inline ChunkKeys keys_of_chunk(const AttentionShape& shape, const QueryBlock& block, int64_t chunk) {
  const int64_t first = ref::visible_keys(shape, block.segment, block.begin).begin / kKeyBlock * kKeyBlock;
  const int64_t end = ref::visible_keys(shape, block.segment, block.end - 1).end;
  return {chunk * kKeyChunk > first ? chunk * kKeyChunk : first,
          (chunk + 1) * kKeyChunk < end ? (chunk + 1) * kKeyChunk : end};
}

// The state of a block's rows after the keys of one chunk, from nothing.
template <class K>
void attend_keys(const AttentionShape& shape, const KeysValues& kv, const QueryBlock& block, int64_t chunk,
                 const ForwardScratch& scratch, State state) {
  const int64_t rows = rows_of(shape, block.end - block.begin);
  clear(shape, state, rows);
  const auto [key, chunk_end] = keys_of_chunk(shape, block, chunk);
  if (key >= chunk_end) return;
  if constexpr (sizeof(K) > 1) {
    if (rows <= kRowsOfStored && usable_pages(shape, kv))
      return attend_stored<K>(shape, kv, block, key, chunk_end, scratch, state);
  }
  attend_packed<K>(shape, kv, block, key, chunk_end, scratch, state);
}

inline void attend_chunk(const AttentionShape& shape, const KeysValues& kv, const QueryBlock& block, int64_t chunk,
                         const ForwardScratch& scratch, State state) {
  if (kv.dtype == DType::kBF16)
    attend_keys<bf16>(shape, kv, block, chunk, scratch, state);
  else if (kv.dtype == DType::kI8)
    attend_keys<int8_t>(shape, kv, block, chunk, scratch, state);
  else
    attend_keys<float>(shape, kv, block, chunk, scratch, state);
}

// What is known after more keys: `next` added to `state`.
inline void merge(const AttentionShape& shape, int64_t rows, State state, State next) {
  const int64_t stride = padded(shape.head_dim);
  for (int64_t r = 0; r < rows; ++r) {
    const float top = state.max[r] < next.max[r] ? next.max[r] : state.max[r], base = top == -kInfinity ? 0 : top;
    const Vec before = exp(broadcast(state.max[r] - base)), after = exp(broadcast(next.max[r] - base));
    state.max[r] = top;
    store(state.sum + r * kLanes, fma(load(state.sum + r * kLanes), before, load(next.sum + r * kLanes) * after));
    for (int64_t d = r * stride; d < (r + 1) * stride; d += kLanes)
      store(state.out + d, fma(load(state.out + d), before, load(next.out + d) * after));
  }
}

template <class T>
void write_rows(const AttentionForward<T>& call, const QueryBlock& block, State state) {
  const int64_t group = rows_of(call.shape, 1), dim = call.shape.head_dim, stride = padded(dim);
  for (int64_t r = 0; r < (block.end - block.begin) * group; ++r) {
    const int64_t row = block.segment.query_begin + block.begin + r / group, head = block.kv_head * group + r % group;
    const float sum = reduce_add(load(state.sum + r * kLanes));
    const Vec inverse = broadcast(sum == 0 ? 0 : 1 / sum);
    T* const out = call.out + row * call.out_stride + head * dim;
    for_vectors(dim, [&](int64_t d, auto part) { store(out + d, load(state.out + r * stride + d) * inverse, part); });
    if (call.log_sum_exp) call.log_sum_exp[row * call.shape.num_heads + head] = state.max[r] + __builtin_logf(sum);
  }
}

template <class T>
void pack_queries(const AttentionForward<T>& call, const QueryBlock& block, float* to) {
  const int64_t group = rows_of(call.shape, 1), dim = call.shape.head_dim;
  for (int64_t i = block.begin; i < block.end; ++i) {
    const T* from = call.q + (block.segment.query_begin + i) * call.q_stride + block.kv_head * group * dim;
    for (int64_t h = 0; h < group; ++h, to += padded(dim)) {
      pack_row(from + h * dim, dim, to);
      if (call.kv.dtype == DType::kI8) turn_query(to, dim);
    }
  }
}

// pack(call, block, to): the queries; attend(shape, kv, block, chunk, scratch, state): one chunk of keys, from nothing.
template <class T, class Pack, class Attend>
void forward_over_chunks(const AttentionForward<T>& call, const QueryBlock& block, float* memory, Pack&& pack,
                         Attend&& attend) {
  const int64_t queries = block.end - block.begin, rows = rows_of(call.shape, queries);
  const ForwardScratch scratch(memory, call.shape, rows);
  const State state(scratch.states, rows), next(scratch.states + state_size(call.shape, queries), rows);
  pack(call, block, scratch.q);
  attend(call.shape, call.kv, block, 0, scratch, state);
  for (int64_t chunk = 1; chunk * kKeyChunk < block.segment.key_count; ++chunk) {
    attend(call.shape, call.kv, block, chunk, scratch, next);
    merge(call.shape, rows, state, next);
  }
  write_rows(call, block, state);
}

template <class T>
void forward(const AttentionForward<T>& call, const QueryBlock& block, float* memory) {
  forward_over_chunks(call, block, memory, pack_queries<T>, attend_chunk);
}

template <class T>
void forward_chunk(const AttentionForward<T>& call, const QueryBlock& block, int64_t chunk, float* memory,
                   float* state) {
  const int64_t rows = rows_of(call.shape, block.end - block.begin);
  const ForwardScratch scratch(memory, call.shape, rows);
  pack_queries(call, block, scratch.q);
  attend_chunk(call.shape, call.kv, block, chunk, scratch, State(state, rows));
}

template <class T>
void merge_chunks(const AttentionForward<T>& call, const QueryBlock& block, int64_t chunks, float* states) {
  const int64_t queries = block.end - block.begin, rows = rows_of(call.shape, queries),
                size = state_size(call.shape, queries);
  for (int64_t chunk = 1; chunk < chunks; ++chunk)
    merge(call.shape, rows, State(states, rows), State(states + chunk * size, rows));
  write_rows(call, block, State(states, rows));
}

}  // namespace attention
}  // namespace SEDUM_ISA_NAMESPACE
}  // namespace sedum
