#pragma once
// Readers: 32 consecutive values (a piece) of a stored row as f32 vectors, exactly the values of decode().
//
//   Simd::F v[kPieceVectors];
//   ReadBlocks<BlockQ4_0>::read(matrix, row, k, v);   // k a multiple of 32
//
// Scale times integer is exact in f32 (an f16 scale, at most 6 bits of sub-scale and 8 of value) except in Q6_K, where it is rounded
// once, here as there; adding a minimum rounds once, fused or not. Integers are made signed before they meet the scale, so that
// an infinite or NaN scale gives what decode() gives.

#include "compute/kernels/generic/products_tile.h"

namespace sedum::SEDUM_ISA_NAMESPACE {

constexpr int kPiece = 32;  // no block is shorter
constexpr int kPieceVectors = kPiece / Simd::lanes;

// Plain types: any vector of a row, and the first `available` values of one (the others are undefined).
struct ReadF32 {
  using Value = float;
  static Simd::F load(const std::byte* row, int64_t k) { return Simd::load(reinterpret_cast<const float*>(row) + k); }
  static Simd::F load_some(const std::byte* row, int64_t k, int64_t available) {
    return Simd::load_some(reinterpret_cast<const float*>(row) + k, available);
  }
};
struct ReadBF16 {
  using Value = uint16_t;
  static Simd::F load(const std::byte* row, int64_t k) {
    return Simd::load_bf16(reinterpret_cast<const uint16_t*>(row) + k);
  }
  static Simd::F load_some(const std::byte* row, int64_t k, int64_t available) {
    return Simd::load_bf16_some(reinterpret_cast<const uint16_t*>(row) + k, available);
  }
};
struct ReadF16 {
  using Value = uint16_t;
  static Simd::F load(const std::byte* row, int64_t k) {
    return Simd::load_f16(reinterpret_cast<const uint16_t*>(row) + k);
  }
};
template <class R>
concept PlainReader = requires {
  typename R::Value;
};

// The integers of a piece, vector j of it. 16 bytes of nibbles hold values 0-15 low and 16-31 high.
[[gnu::always_inline]] inline Simd::I nibbles16(const uint8_t* q, int j) {
  constexpr int half = kPieceVectors / 2;
  const Simd::I v = Simd::load_u8(q + j % half * Simd::lanes);
  return j < half ? Simd::bit_and(v, 15) : Simd::shift_right(v, 4);
}
// 32 bytes whose low (or high) nibbles are the piece.
[[gnu::always_inline]] inline Simd::I nibbles32(const uint8_t* q, bool high, int j) {
  return Simd::bit_and(Simd::shift_right(Simd::load_u8(q + j * Simd::lanes), high ? 4 : 0), 15);
}
[[gnu::always_inline]] inline Simd::I fifth_bits(const uint8_t* qh, int j) {
  uint32_t bits;
  __builtin_memcpy(&bits, qh, 4);
  return Simd::spread_bits(bits >> j * Simd::lanes, 16);
}
[[gnu::always_inline]] inline Simd::I integers(const BlockQ8_0& b, int, int j) {
  return Simd::load_i8(b.qs + j * Simd::lanes);
}
[[gnu::always_inline]] inline Simd::I integers(const BlockQ4_0& b, int, int j) {
  return Simd::subtract(nibbles16(b.qs, j), 8);
}
[[gnu::always_inline]] inline Simd::I integers(const BlockQ4_1& b, int, int j) { return nibbles16(b.qs, j); }
[[gnu::always_inline]] inline Simd::I integers(const BlockQ5_0& b, int, int j) {
  return Simd::subtract(Simd::bit_or(nibbles16(b.qs, j), fifth_bits(b.qh, j)), 16);
}
[[gnu::always_inline]] inline Simd::I integers(const BlockQ5_1& b, int, int j) {
  return Simd::bit_or(nibbles16(b.qs, j), fifth_bits(b.qh, j));
}
[[gnu::always_inline]] inline Simd::I integers(const BlockQ4_K& b, int piece, int j) {
  return nibbles32(b.qs + piece / 2 * 32, piece % 2, j);
}
[[gnu::always_inline]] inline Simd::I integers(const BlockQ5_K& b, int piece, int j) {
  const Simd::I high = Simd::shift_right(Simd::load_u8(b.qh + j * Simd::lanes), piece);
  return Simd::bit_or(nibbles32(b.qs + piece / 2 * 32, piece % 2, j), Simd::shift_left(Simd::bit_and(high, 1), 4));
}
[[gnu::always_inline]] inline Simd::I integers(const BlockQ6_K& b, int piece, int j) {
  const int half = piece / 4, quarter = piece % 4;
  const Simd::I low = nibbles32(b.ql + half * 64 + quarter % 2 * 32, quarter >= 2, j);
  const Simd::I high = Simd::shift_right(Simd::load_u8(b.qh + half * 32 + j * Simd::lanes), 2 * quarter);
  return Simd::subtract(Simd::bit_or(low, Simd::shift_left(Simd::bit_and(high, 3), 4)), 32);
}
// Two bits (of 32 bytes each for half a block) and the third, from a mask of the whole block.
template <class Block>
[[gnu::always_inline]] inline Simd::I two_bits(const Block& b, int piece, int j) {
  return Simd::bit_and(Simd::shift_right(Simd::load_u8(b.qs + piece / 4 * 32 + j * Simd::lanes), piece % 4 * 2), 3);
}
[[gnu::always_inline]] inline Simd::I integers(const BlockQ2_K& b, int piece, int j) { return two_bits(b, piece, j); }
[[gnu::always_inline]] inline Simd::I integers(const BlockQ3_K& b, int piece, int j) {
  const Simd::I high = Simd::bit_and(Simd::shift_right(Simd::load_u8(b.hmask + j * Simd::lanes), piece), 1);
  return Simd::subtract(Simd::bit_or(two_bits(b, piece, j), Simd::shift_left(high, 2)), 4);
}

// Scale and minimum of a piece; of its first or second half where sub-blocks have 16 values.
template <class Block>
[[gnu::always_inline]] inline float scale_of(const Block& b, int, int) {
  return Simd::half(b.d.bits());
}
[[gnu::always_inline]] inline float scale_of(const BlockQ4_K& b, int piece, int) {
  return Simd::half(b.d.bits()) * float(b.scales.scale(piece));
}
[[gnu::always_inline]] inline float scale_of(const BlockQ5_K& b, int piece, int) {
  return Simd::half(b.d.bits()) * float(b.scales.scale(piece));
}
[[gnu::always_inline]] inline float scale_of(const BlockQ6_K& b, int piece, int half) {
  return Simd::half(b.d.bits()) * float(b.scales[2 * piece + half]);
}
[[gnu::always_inline]] inline float scale_of(const BlockQ2_K& b, int piece, int half) {
  return Simd::half(b.d.bits()) * float(b.scales[2 * piece + half] & 15);
}
[[gnu::always_inline]] inline float scale_of(const BlockQ3_K& b, int piece, int half) {
  return Simd::half(b.d.bits()) * float(b.integer_scale(2 * piece + half));
}
template <class Block>
[[gnu::always_inline]] inline float minimum_of(const Block& b, int piece, int half) {
  if constexpr (Block::kSub == 16)
    return -(Simd::half(b.dmin.bits()) * float(b.scales[2 * piece + half] >> 4));
  else if constexpr (Block::kValues == 256)
    return -(Simd::half(b.dmin.bits()) * float(b.scales.minimum(piece)));
  else
    return Simd::half(b.m.bits());
}

template <class Block>
struct ReadBlocks {
  [[gnu::always_inline]] static inline void read(const ConstMatrix&, const std::byte* row, int64_t k, Simd::F* v) {
    const Block& block = reinterpret_cast<const Block*>(row)[k / Block::kValues];
    const int piece = int(k % Block::kValues) / kPiece;
    constexpr int per_half = kPieceVectors / 2;
    const Simd::F first = Simd::set1(scale_of(block, piece, 0));
    const Simd::F second = Block::kSub == 16 ? Simd::set1(scale_of(block, piece, 1)) : first;
    if constexpr (Block::kHasMinimum) {
      const Simd::F minimum = Simd::set1(minimum_of(block, piece, 0));
      const Simd::F other = Block::kSub == 16 ? Simd::set1(minimum_of(block, piece, 1)) : minimum;
      unroll<kPieceVectors>([&](auto j) __attribute__((always_inline)) {
        v[j] = Simd::multiply_add(Simd::to_float(integers(block, piece, j)), j < per_half ? first : second,
                                  j < per_half ? minimum : other);
      });
    } else {
      unroll<kPieceVectors>([&](auto j) __attribute__((always_inline)) {
        v[j] = Simd::multiply(Simd::to_float(integers(block, piece, j)), j < per_half ? first : second);
      });
    }
  }
};

// Formats whose nibbles index a table of sixteen values: the table as floats, 64-byte aligned, and a piece's nibbles and scale.
alignas(64) inline constexpr float kNf4Floats[16] = {kNf4Values[0],  kNf4Values[1],  kNf4Values[2],  kNf4Values[3],
                                                     kNf4Values[4],  kNf4Values[5],  kNf4Values[6],  kNf4Values[7],
                                                     kNf4Values[8],  kNf4Values[9],  kNf4Values[10], kNf4Values[11],
                                                     kNf4Values[12], kNf4Values[13], kNf4Values[14], kNf4Values[15]};
alignas(64) inline constexpr float kIQ4Floats[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                                     1,    13,   25,  38,  53,  69,  89,  113};
alignas(64) inline constexpr float kE2M1Floats[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

struct TablePiece {
  const uint8_t* nibbles;  // 16 bytes
  float scale;
};
[[gnu::always_inline]] inline TablePiece table_piece(const BlockNF4* blocks, int64_t k) {
  const BlockNF4& b = blocks[k / 64];
  return {b.qs + k % 64 / 2, b.scale()};
}
[[gnu::always_inline]] inline TablePiece table_piece(const BlockIQ4_NL* blocks, int64_t k) {
  return {blocks[k / 32].qs, Simd::half(blocks[k / 32].d.bits())};
}
[[gnu::always_inline]] inline TablePiece table_piece(const BlockIQ4_XS* blocks, int64_t k) {
  const BlockIQ4_XS& b = blocks[k / 256];
  const int piece = int(k % 256) / kPiece;
  return {b.qs + 16 * piece, Simd::half(b.d.bits()) * float(b.integer_scale(piece))};
}
[[gnu::always_inline]] inline TablePiece table_piece(const BlockMXFP4* blocks, int64_t k) {
  return {blocks[k / 32].qs, blocks[k / 32].scale(0)};
}

template <class Block>
struct ReadTable {
  // NF4 has the values in order, high nibble first; the others as nibbles16() has them.
  static constexpr bool kInOrder = std::is_same_v<Block, BlockNF4>;
  static constexpr const float* kFloats = kInOrder                            ? kNf4Floats
                                          : std::is_same_v<Block, BlockMXFP4> ? kE2M1Floats
                                                                              : kIQ4Floats;
  static TablePiece piece(const std::byte* row, int64_t k) {
    return table_piece(reinterpret_cast<const Block*>(row), k);
  }
  [[gnu::always_inline]] static inline void read(const ConstMatrix&, const std::byte* row, int64_t k, Simd::F* v) {
    const TablePiece p = piece(row, k);
    const Simd::F scale = Simd::set1(p.scale);
    unroll<kPieceVectors>([&](auto j) __attribute__((always_inline)) {
      const Simd::I index = kInOrder ? Simd::nibble_pairs(p.nibbles + j * Simd::lanes / 2) : nibbles16(p.nibbles, j);
      v[j] = Simd::multiply(Simd::lookup(kFloats, index), scale);
    });
  }
};
template <class R>
constexpr bool is_table = false;
template <class Block>
constexpr bool is_table<ReadTable<Block>> = true;

// Any other format, by its scalar codec, so that a new one works at once.
struct ReadDecoded {
  static void read(const ConstMatrix& m, const std::byte* row, int64_t k, Simd::F* v) {
    const DTypeInfo& type = info(m.dtype);
    alignas(64) float values[512];
    const int64_t count = type.block > kPiece ? type.block : kPiece, begin = k / type.block * type.block;
    decode(m.dtype, row + begin / type.block * type.block_bytes, values, count);
    for (int j = 0; j < kPieceVectors; ++j) v[j] = Simd::load(values + (k - begin) + j * Simd::lanes);
  }
};

}  // namespace sedum::SEDUM_ISA_NAMESPACE
