#pragma once
// Small matrix products over packed f32 operands that live in L1 and L2, and the packing: all that attention is made of.

namespace sedum {
namespace SEDUM_ISA_NAMESPACE {
namespace attention {

// Every index of the sums is a constant from the start: GCC 12 spills them otherwise.
template <int N, class F>
SEDUM_INLINE void unroll(F&& f) {
  [&]<int... I>(std::integer_sequence<int, I...>) __attribute__((always_inline)) {
    (f(std::integral_constant<int, I>{}), ...);
  }
  (std::make_integer_sequence<int, N>{});
}

// A(r, k) = p[r · row + k · step]: rows of a matrix or, with row 1, columns.
struct Broadcast {
  const float* p;
  int64_t row, step;
};
// kFetch: what lies `ahead` values further on is fetched meanwhile. Spread over the arithmetic: all at once stopped it until memory had answered.
template <class K, bool kFetch = false>
struct Lanes {
  const K* p;
  int64_t stride, ahead = 0;
  using Packed = K;
  SEDUM_INLINE Vec line(int64_t i) const { return load(p + i); }
  SEDUM_INLINE void fetch() const {
    if constexpr (kFetch) __builtin_prefetch(p + ahead);
  }
};
template <class K>
Lanes(const K*, int64_t) -> Lanes<K>;
struct Sums {
  float* p;
  int64_t stride;
  bool resume;
};

// How two lines of what K's are packed into are multiplied. (Pairs: simd/avx512_pairs.h.)
template <class K>
SEDUM_INLINE Vec multiply_add(K, Vec a, Vec b, Vec c) {
  return fma(a, b, c);
}

// c (kRows × kVectors · kLanes) = [c +] Σ_k a(r, k) · b(k, :). Each result is one chain of multiply-adds in the order of k, whatever the
// tile's size: the same bits for one row and for many, for one sum and for the same in parts.
template <int kRows, int kVectors, class B>
SEDUM_INLINE void tile(int64_t depth, Broadcast a, B b, Sums c) {
  Vec sum[kRows][kVectors];
  unroll<kRows>([&](auto r) __attribute__((always_inline)) {
    unroll<kVectors>([&](auto v) __attribute__((always_inline)) {
      sum[r][v] = c.resume ? load(c.p + r * c.stride + v * kLanes) : zero();
    });
  });
  for (int64_t k = 0; k < depth; ++k) {
    Vec line[kVectors];
    b.fetch();
    unroll<kVectors>([&](auto v) __attribute__((always_inline)) { line[v] = b.line(v * kLanes); });
    unroll<kRows>([&](auto r) __attribute__((always_inline)) {
      const Vec x = broadcast(a.p[r * a.row]);
      unroll<kVectors>([&](auto v) __attribute__((always_inline)) {
        sum[r][v] = multiply_add(typename B::Packed{}, x, line[v], sum[r][v]);
      });
    });
    a.p += a.step, b.p += b.stride;
  }
  unroll<kRows>([&](auto r) __attribute__((always_inline)) {
    unroll<kVectors>([&](auto v) __attribute__((always_inline)) { store(c.p + r * c.stride + v * kLanes, sum[r][v]); });
  });
}

// 6 rows by 4 vectors fill 32 registers, by 2 vectors 16; with few rows more vectors hide the latency of the chains.
constexpr int kTileRows = 6;
constexpr int tile_vectors(int rows) { return kLanes == 16 || rows <= 2 ? 4 : 2; }

template <int kRows, class B>
void multiply_rows(int64_t vectors, int64_t depth, Broadcast a, B b, Sums c) {
  constexpr int kMost = tile_vectors(kRows);
  for (; vectors >= kMost; vectors -= kMost) {
    tile<kRows, kMost>(depth, a, b, c);
    b.p += kMost * kLanes, c.p += kMost * kLanes;
  }
  if (kMost > 3 && vectors == 3) return tile<kRows, 3>(depth, a, b, c);
  if (kMost > 2 && vectors == 2) return tile<kRows, 2>(depth, a, b, c);
  if (vectors == 1) tile<kRows, 1>(depth, a, b, c);
}

// At most kTileRows rows.
template <class B>
void multiply(int64_t rows, int64_t vectors, int64_t depth, Broadcast a, B b, Sums c) {
  switch (rows) {
    case 1:
      return multiply_rows<1>(vectors, depth, a, b, c);
    case 2:
      return multiply_rows<2>(vectors, depth, a, b, c);
    case 3:
      return multiply_rows<3>(vectors, depth, a, b, c);
    case 4:
      return multiply_rows<4>(vectors, depth, a, b, c);
    case 5:
      return multiply_rows<5>(vectors, depth, a, b, c);
    default:
      return multiply_rows<6>(vectors, depth, a, b, c);
  }
}

SEDUM_INLINE int64_t padded(int64_t dim) { return (dim + kLanes - 1) / kLanes * kLanes; }

// A block of keys (or values) in pieces of `each`: one, packed, or pages as they are stored.
template <class K, bool kFetch = false>
struct Pieces {
  int each;
  int64_t stride;  // of keys, from one dimension to the next; of values, from one token to the next
  const K* at[kKeyBlock / kLanes];
  int64_t ahead[kKeyBlock / kLanes] = {};  // to the same piece of the next block
};
// The pages of a block that can be multiplied as they are.
inline bool usable_pages(const AttentionShape& shape, const KeysValues& kv) {
  return kv.dtype != DType::kI8 && kv.page_size > 0 && kv.page_size % kLanes == 0 && kKeyBlock % kv.page_size == 0 &&
         shape.head_dim % kLanes == 0;
}
template <class K>
Pieces<K, true> stored_pieces(const AttentionShape& shape, const KeysValues& kv, const AttentionSegment& segment,
                              const void* base, int kv_head, int64_t at, int64_t stride) {
  Pieces<K, true> pieces{kv.page_size, stride, {}};
  const int each_block = kKeyBlock / kv.page_size;
  const int32_t* page = segment.pages + at / kv.page_size;
  const int64_t left = (segment.key_count - at + kv.page_size - 1) / kv.page_size;
  for (int i = 0; i < each_block && i < left; ++i) {
    pieces.at[i] =
        static_cast<const K*>(base) + page[i] * kv.page_stride + kv_head * int64_t{kv.page_size} * shape.head_dim;
    if (i + each_block < left) pieces.ahead[i] = (page[i + each_block] - page[i]) * kv.page_stride;
  }
  return pieces;
}

// Where a block's keys (or values) stand. Beyond the last key it is repeated: what is computed from it is masked.
template <class K>
struct KeyBlock {
  const K* rows[kKeyBlock];
};
// Values from one key to the next of the same head.
template <class K>
int64_t row_values(const AttentionShape& shape) {
  return sizeof(K) == 1 ? scaled_head_bytes(shape.head_dim) : shape.head_dim;
}
template <class K>
void find_keys(const AttentionShape& shape, const KeysValues& kv, const AttentionSegment& segment, const void* base,
               int kv_head, int64_t at, int n, KeyBlock<K>& block) {
  const K* p = static_cast<const K*>(base);
  if (kv.page_size == 0) {
    p += (segment.key_begin + at) * kv.row_stride + kv_head * shape.head_dim;
    for (int j = 0; j < n; ++j) block.rows[j] = p + j * kv.row_stride;
  } else {
    const int32_t* page = segment.pages + at / kv.page_size;
    for (int j = 0, slot = int(at % kv.page_size); j < n; ++page, slot = 0) {
      const int64_t values = row_values<K>(shape);
      const K* row = p + *page * kv.page_stride + (int64_t(kv_head) * kv.page_size + slot) * values;
      for (; j < n && slot < kv.page_size; ++j, ++slot, row += values) block.rows[j] = row;
    }
  }
  for (int j = n; j < kKeyBlock; ++j) block.rows[j] = block.rows[n - 1];
}

// One vector of 32-bit lanes from each of kLanes rows, turned. bf16 is turned in pairs, which halves the shuffles.
template <class K>
SEDUM_INLINE void transpose_step(const KeyBlock<K>& block, int j, int64_t d, float* to) {
  Vec lines[kLanes];
  unroll<kLanes>([&](auto l) __attribute__((always_inline)) {
    lines[l] = load(reinterpret_cast<const float*>(block.rows[j + l] + d));
  });
  transpose(lines);
  unroll<kLanes>([&](auto l) __attribute__((always_inline)) {
    if constexpr (sizeof(K) == 4) {
      store(to + (d + l) * kKeyBlock + j, lines[l]);
    } else {
      store(to + (d + 2 * l) * kKeyBlock + j, even_of_pairs(lines[l]));
      store(to + (d + 2 * l + 1) * kKeyBlock + j, odd_of_pairs(lines[l]));
    }
  });
}

// to (padded(dim), kKeyBlock): a dimension's values of all keys side by side. Meanwhile the next block is fetched.
template <class K>
void pack_transposed(const KeyBlock<K>& block, const KeyBlock<K>& next, int64_t dim, float* to) {
  constexpr int64_t kStep = kLanes * 4 / sizeof(K);
  for (int j = 0; j < kKeyBlock; j += kLanes) {
    int64_t d = 0;
    for (; d + kStep <= dim; d += kStep) {
      for (int l = 0; l < kLanes; ++l) __builtin_prefetch(next.rows[j + l] + d);
      transpose_step(block, j, d, to);
    }
    for (; d < dim; d += kLanes) {
      Vec lines[kLanes];
      const Part part{int(dim - d < kLanes ? dim - d : kLanes)};
      for (int l = 0; l < kLanes; ++l) lines[l] = load(block.rows[j + l] + d, part);
      transpose(lines);
      for (int l = 0; l < kLanes; ++l) store(to + (d + l) * kKeyBlock + j, lines[l]);
    }
  }
}

// The same from pages, where keys lie by dimension already. Lanes beyond the last key keep what they hold, which is masked.
template <class K>
void pack_pages(const AttentionShape& shape, const KeysValues& kv, const AttentionSegment& segment, int kv_head,
                int64_t at, int n, float* to) {
  const int32_t* page = segment.pages + at / kv.page_size;
  for (int j = 0, slot = int(at % kv.page_size); j < n; ++page, slot = 0) {
    const int count = n - j < kv.page_size - slot ? n - j : kv.page_size - slot;
    const K* from = static_cast<const K*>(kv.keys) + *page * kv.page_stride +
                    kv_head * int64_t{kv.page_size} * shape.head_dim + slot;
    float* line = to + j;
    for (int64_t d = 0; d < shape.head_dim; ++d, from += kv.page_size, line += kKeyBlock)
      for_vectors(count, [&](int64_t k, auto part) { store(line + k, load(from + k, part), part); });
    j += count;
  }
}

// Integers: four of a key lie in a 32-bit lane and are turned together; then each is widened and gets its key's scale.
inline void pack_transposed(const KeyBlock<int8_t>& block, const KeyBlock<int8_t>& next, int64_t dim, float* to) {
  constexpr int64_t kStep = kLanes * 4;
  static_assert(kStep % kScaledValues == 0 && kScaledValues % kLanes == 0);
  for (int j = 0; j < kKeyBlock; j += kLanes) {
    const auto scale_at = [&](int64_t d) {
      alignas(64) float scales[kLanes];
      for (int l = 0; l < kLanes; ++l) scales[l] = float(scales_in(block.rows[j + l], dim)[d / kScaledValues]);
      return load(scales);
    };
    for (int l = 0; l < kLanes; ++l) __builtin_prefetch(next.rows[j + l] + dim);
    int64_t d = 0;
    for (; d + kStep <= dim; d += kStep) {
      Vec lines[kLanes], scale = zero();
      for (int l = 0; l < kLanes; ++l) __builtin_prefetch(next.rows[j + l] + d);
      unroll<kLanes>([&](auto l) __attribute__((always_inline)) {
        lines[l] = load(reinterpret_cast<const float*>(block.rows[j + l] + d));
      });
      transpose(lines);
      unroll<kLanes>([&](auto l) __attribute__((always_inline)) {
        if (l * 4 % kScaledValues == 0) scale = scale_at(d + l * 4);
        float* const line = to + (d + 4 * l) * kKeyBlock + j;
        store(line, byte_of_quads<0>(lines[l]) * scale), store(line + kKeyBlock, byte_of_quads<1>(lines[l]) * scale);
        store(line + 2 * kKeyBlock, byte_of_quads<2>(lines[l]) * scale);
        store(line + 3 * kKeyBlock, byte_of_quads<3>(lines[l]) * scale);
      });
    }
    for (; d < dim; d += kLanes) {
      Vec lines[kLanes];
      const Part part{int(dim - d < kLanes ? dim - d : kLanes)};
      for (int l = 0; l < kLanes; ++l) lines[l] = load(block.rows[j + l] + d, part);
      transpose(lines);
      const Vec scale = scale_at(d);
      for (int l = 0; l < kLanes; ++l) store(to + (d + l) * kKeyBlock + j, lines[l] * scale);
    }
  }
}
inline void pack_rows(const KeyBlock<int8_t>& block, const KeyBlock<int8_t>& next, int n, int64_t dim, float* to) {
  for (int j = 0; j < n; ++j, to += padded(dim)) {
    for (int64_t d = 0; d <= dim; d += 64) __builtin_prefetch(next.rows[j] + d);
    const bf16* const scales = scales_in(block.rows[j], dim);
    for_vectors(dim, [&](int64_t d, auto part) {
      store(to + d, load(block.rows[j] + d, part) * broadcast(float(scales[d / kScaledValues])));
    });
  }
}

// See scaled_heads.h and ref/attention.h.
inline void quantise_head(const float* x, int64_t dim, int8_t* q) {
  auto* scales = reinterpret_cast<bf16*>(q + scales_at(dim));
  for (int64_t begin = 0; begin < dim; begin += kScaledValues, ++scales) {
    const int64_t n = dim - begin < kScaledValues ? dim - begin : kScaledValues;
    Vec top = zero(), broken = zero();
    for_vectors(n, [&](int64_t d, auto part) {
      const Vec v = load(x + begin + d, part);
      top = max(absolute(v), top), broken = broken + v * zero();
    });
    const bool finite = reduce_add(broken) == 0;
    const float most = reduce_max(top);
    *scales = bf16(!finite ? __builtin_nanf("") : most < 1e-30f ? 0 : most / 127);
    const Vec inverse = broadcast(finite && most >= 1e-30f ? 1 / float(*scales) : 0);
    for_vectors(n, [&](int64_t d, auto part) {
      store(q + begin + d, finite ? round(load(x + begin + d, part) * inverse) : zero(), part);
    });
  }
}

// One vector as f32, zeros up to the padded length.
template <class K>
SEDUM_INLINE void pack_row(const K* from, int64_t dim, float* to) {
  for_vectors(dim, [&](int64_t d, auto part) { store(to + d, load(from + d, part)); });
}
// to (kKeyBlock, padded(dim)). Meanwhile the next block is fetched.
template <class K>
void pack_rows(const KeyBlock<K>& block, const KeyBlock<K>& next, int n, int64_t dim, float* to) {
  for (int j = 0; j < n; ++j, to += padded(dim)) {
    for (int64_t d = 0; d < dim; d += int64_t(64 / sizeof(K))) __builtin_prefetch(next.rows[j] + d);
    pack_row(block.rows[j], dim, to);
  }
}

SEDUM_INLINE Vec capped_tanh(Vec scaled, float soft_cap) { return tanh(scaled / broadcast(soft_cap)); }

SEDUM_INLINE Vec load_up_to(const float* p, int64_t n) {
  return n >= kLanes ? load(p) : n > 0 ? load(p, Part{int(n)}) : zero();
}

}  // namespace attention
}  // namespace SEDUM_ISA_NAMESPACE
}  // namespace sedum
