#pragma once
// Packing: stored rows or columns become strips [units][width] and panels [pair of vectors][units][two vectors].
//
// A kind of unit (ExactUnits …) says how f32 values become units; a reader says how a stored row becomes f32 values. Nothing is read
// beyond the end of a row: matrices may end where a mapped file does.

#include "compute/kernels/generic/products_readers.h"

namespace sedum::SEDUM_ISA_NAMESPACE {

// One f32 value.
struct ExactUnits {
  static constexpr int values = 1;
  static Simd::F multiply_add(Simd::F a, Simd::F b, Simd::F c) { return Simd::multiply_add(a, b, c); }
  static Simd::F round(Simd::F v) { return v; }
};
// One value rounded to bf16, where no instruction multiplies pairs: the product of two is exact in f32, so that an f32 multiply-add
// is all that it takes.
struct RoundedUnits {
  static constexpr int values = 1;
  static Simd::F multiply_add(Simd::F a, Simd::F b, Simd::F c) { return Simd::multiply_add(a, b, c); }
  static Simd::F round(Simd::F v) { return Simd::round_bf16(v); }
};

template <class Unit>
constexpr int kPieceUnits = kPiece / Unit::values;
template <class Unit>
constexpr int kUnitVectors = kPieceUnits<Unit> / Simd::lanes;

// The units of a piece, along its row.
template <class Unit, class R>
[[gnu::always_inline]] inline void row_units(const ConstMatrix& m, const std::byte* row, int64_t k, Simd::I* out) {
  if constexpr (Unit::values == 2 && std::is_same_v<R, ReadBF16>) {
    unroll<kUnitVectors<Unit>>([&](auto j) __attribute__((always_inline)) {
      out[j] = Unit::load(row + 2 * k + 4 * j * Simd::lanes);
    });
  } else if constexpr (Unit::values == 2 && is_table<R>) {  // the table is scaled and rounded, not the values
    const TablePiece p = R::piece(row, k);
    out[0] = Unit::template lookup<R::kInOrder>(p.nibbles, Simd::multiply(Simd::load(R::kFloats), Simd::set1(p.scale)));
  } else {
    Simd::F v[kPieceVectors];
    if constexpr (PlainReader<R>) {
      unroll<kPieceVectors>([&](auto j) __attribute__((always_inline)) { v[j] = R::load(row, k + j * Simd::lanes); });
    } else {
      R::read(m, row, k, v);
    }
    if constexpr (Unit::values == 2) {
      unroll<kUnitVectors<Unit>>([&](auto j)
                                     __attribute__((always_inline)) { out[j] = Unit::join(v[2 * j], v[2 * j + 1]); });
    } else {
      unroll<kPieceVectors>([&](auto j) __attribute__((always_inline)) { out[j] = Simd::bits(Unit::round(v[j])); });
    }
  }
}

// A piece of Simd::lanes rows, transposed: unit u goes to out + u · stride.
template <class Unit, class R>
[[gnu::always_inline]] inline void transpose_piece(const ConstMatrix& m, const std::byte* const* rows, int64_t k,
                                                   int64_t stride, float* out) {
  constexpr int lanes = Simd::lanes, vectors = kUnitVectors<Unit>;
  if constexpr (PlainReader<R> && Unit::values == 1) {  // vector by vector, which leaves all in registers
    for (int j = 0; j < vectors; ++j) {
      Simd::I r[lanes];
      unroll<lanes>([&](auto i) __attribute__((always_inline)) {
        r[i] = Simd::bits(Unit::round(R::load(rows[i], k + j * lanes)));
      });
      Simd::transpose(r);
      unroll<lanes>([&](auto i)
                        __attribute__((always_inline)) { Simd::store_bits(out + (j * lanes + i) * stride, r[i]); });
    }
  } else {
    Simd::I r[vectors][lanes];
    unroll<lanes>([&](auto i) __attribute__((always_inline)) {
      Simd::I v[vectors];
      row_units<Unit, R>(m, rows[i], k, v);
      unroll<vectors>([&](auto j) __attribute__((always_inline)) { r[j][i] = v[j]; });
    });
    unroll<vectors>([&](auto j) __attribute__((always_inline)) {
      Simd::transpose(r[j]);
      unroll<lanes>([&](auto i)
                        __attribute__((always_inline)) { Simd::store_bits(out + (j * lanes + i) * stride, r[j][i]); });
    });
  }
}

// The stretch of units that the caller walks along these rows before it goes on to the next ones. The hardware follows few streams:
// each row is fetched kAhead bytes in front, and at the stretch's end the row that comes `jump` rows later.
struct Walk {
  int64_t begin, end, jump;
};
constexpr int64_t kAhead = 256;
template <class R>
constexpr int64_t piece_lines = 1;
template <>
constexpr int64_t piece_lines<ReadF32> = 2;

// K runs along the rows. Rows row0 … row0 + lanes − 1 (beyond `limit`: the last one again) become [units][stride]; whole pieces are
// written, zeros beyond K. With stride < lanes a store spills into the next unit, whose own store repairs it.
template <class Unit, class R>
void pack_rows(const ConstMatrix& m, int64_t row0, int64_t limit, int64_t u0, int64_t units, const Walk& walk,
               int64_t stride, float* out) {
  constexpr int lanes = Simd::lanes, step = kPieceUnits<Unit>;
  const std::byte* rows[lanes];
  for (int i = 0; i < lanes; ++i) {
    const int64_t row = row0 + i < limit ? row0 + i : limit - 1;
    rows[i] = static_cast<const std::byte*>(m.data) + size_t(row) * m.row_bytes;
  }
  const DTypeInfo& type = info(m.dtype);
  const auto byte_of = [&](int64_t unit) { return unit * Unit::values / type.block * type.block_bytes; };
  const int64_t turn = byte_of(walk.end), back = walk.jump * int64_t(m.row_bytes) + byte_of(walk.begin) - turn;
  for (int64_t u = 0; u < units; u += step, out += step * stride) {
    const int64_t k = (u0 + u) * Unit::values, fetch = byte_of(u0 + u) + kAhead;
    const int64_t ahead = fetch < turn ? fetch : fetch + back;
    unroll<lanes>([&](auto i) __attribute__((always_inline)) {
      for (int64_t line = 0; line < piece_lines<R>; ++line) __builtin_prefetch(rows[i] + ahead + 64 * line, 0, 2);
    });
    if constexpr (PlainReader<R> || std::is_same_v<R, ReadDecoded>) {
      if (k + kPiece > m.cols) {
        const int bytes = type.block_bytes;  // of a value: a block format has no incomplete piece
        alignas(64) std::byte tail[lanes][kPiece * 8] = {};
        const std::byte* tails[lanes];
        for (int i = 0; i < lanes; ++i) {
          __builtin_memcpy(tail[i], rows[i] + k * bytes, size_t(m.cols - k) * size_t(bytes));
          tails[i] = tail[i];
        }
        transpose_piece<Unit, R>(m, tails, 0, stride, out);
        continue;
      }
    }
    transpose_piece<Unit, R>(m, rows, k, stride, out);
  }
}

// How the rows of C that a thread works on are cut into strips: they differ by one row at most.
struct Strips {
  int64_t row0, rows, count;
  int64_t row(int64_t s) const { return row0 + rows * s / count; }
  int64_t height(int64_t s) const { return row(s + 1) - row(s); }
  // Floats in front of strip s when each holds `units`; a vector's room after each strip for what its last store spills.
  int64_t offset(int64_t s, int64_t units) const { return (row(s) - row0) * units + s * Simd::lanes; }
};

// Left operands: all strips of a chunk of units. `units` for the room, a multiple of a piece.
using StripPacker = void (*)(const ConstMatrix&, const Strips&, int64_t u0, int64_t units, float* out);

template <class Unit, class R>
void strips_of_rows(const ConstMatrix& m, const Strips& strips, int64_t u0, int64_t units, float* out) {
  for (int64_t s = 0; s < strips.count; ++s)
    pack_rows<Unit, R>(m, strips.row(s), strips.row(s + 1), u0, units, Walk{u0, u0 + units, strips.height(s)},
                       strips.height(s), out + strips.offset(s, units));
}

// The hardware does not foresee a walk down rows that lie pages apart. Into L2: rows whose distance is a power of two share few sets
// of L1 and would drive each other out.
constexpr int64_t kRowsAhead = 32;

// K runs down the rows: unit u of a strip is a piece of row u, or of rows 2u and 2u + 1. A strip is narrower than a cache line, so
// that four of them are packed side by side, some units at a time: f32 dW of 2048 × 2048 from 52 % of peak to 88.
template <class Unit, class R>
void strips_of_columns(const ConstMatrix& m, const Strips& strips, int64_t u0, int64_t units, float* out) {
  constexpr int64_t together = 4, some = 16, value_bytes = sizeof(typename R::Value);
  const auto row = [&](int64_t k) { return static_cast<const std::byte*>(m.data) + size_t(k) * m.row_bytes; };
  for (int64_t s0 = 0; s0 < strips.count; s0 += together)
    for (int64_t v = 0; v < units; v += some)
      for (int64_t s = s0; s < s0 + together && s < strips.count; ++s) {
        const int64_t col = strips.row(s), width = strips.height(s), available = m.cols - col;
        float* to = out + strips.offset(s, units) + v * width;
        if (s == s0) {
          for (int64_t i = 0; i < some * Unit::values; ++i) {
            const std::byte* next = row((u0 + v) * Unit::values + kRowsAhead + i) + col * value_bytes;
            for (int64_t b = 0; b < together * Simd::rows * value_bytes; b += 64) __builtin_prefetch(next + b, 0, 2);
          }
        }
        for (int64_t u = v; u < v + some; ++u, to += width) {
          const int64_t k = (u0 + u) * Unit::values, inside = k < m.rows ? available : 0;
          if constexpr (Unit::values == 1) {
            Simd::store(to, Unit::round(inside > 0 ? R::load_some(row(k), col, inside) : Simd::zero()));
          } else {
            Simd::store_bits(
                to, Unit::template zip_columns<R>(row(k), inside, row(k + 1), k + 1 < m.rows ? available : 0, col));
          }
        }
      }
}

// Right operands: one panel, the 32 columns of C from `col`, a chunk of units. Pair p of vectors starts at p · room · kPair.
using PanelPacker = void (*)(const ConstMatrix&, int64_t col, int64_t u0, int64_t units, const Walk&, int64_t room,
                             float* out);

template <class Unit, class R>
void panel_of_rows(const ConstMatrix& m, int64_t col, int64_t u0, int64_t units, const Walk& walk, int64_t room,
                   float* out) {
  for (int j = 0; j < kPieceVectors; ++j)
    pack_rows<Unit, R>(m, col + j * Simd::lanes, m.rows, u0, units, walk, kPair,
                       out + j / 2 * room * kPair + j % 2 * Simd::lanes);
}

template <class Unit, class R>
void panel_of_columns(const ConstMatrix& m, int64_t col, int64_t u0, int64_t units, const Walk&, int64_t room,
                      float* out) {
  constexpr int vectors = kUnitVectors<Unit>;
  const int value_bytes = info(m.dtype).block_bytes, block = info(m.dtype).block;
  const int64_t inside = m.cols - col;
  const auto piece = [&](int64_t k, Simd::I * v) __attribute__((always_inline)) {
    if (k >= m.rows) {
      unroll<vectors>([&](auto j) __attribute__((always_inline)) { v[j] = Simd::bits(Simd::zero()); });
      return;
    }
    const std::byte* row = static_cast<const std::byte*>(m.data) + size_t(k) * m.row_bytes;
    if (block == 1 && inside < kPiece) {
      alignas(64) std::byte tail[kPiece * 8] = {};
      __builtin_memcpy(tail, row + col * value_bytes, size_t(inside) * size_t(value_bytes));
      row_units<Unit, R>(m, tail, 0, v);
    } else {
      __builtin_prefetch(row + kRowsAhead * m.row_bytes + col / block * value_bytes, 0, 2);
      row_units<Unit, R>(m, row, col, v);
    }
  };
  for (int64_t u = 0; u < units; ++u, out += kPair) {
    const int64_t k = (u0 + u) * Unit::values;
    Simd::I x[vectors];
    piece(k, x);
    if constexpr (Unit::values == 2) {
      Simd::I y[vectors];
      piece(k + 1, y);
      static_assert(Unit::values == 1 || vectors == 1);
      Simd::store_bits(out, Unit::zip_low(x[0], y[0]));
      Simd::store_bits(out + Simd::lanes, Unit::zip_high(x[0], y[0]));
    } else {
      unroll<vectors>([&](auto j) __attribute__((always_inline)) {
        Simd::store_bits(out + j / 2 * room * kPair + j % 2 * Simd::lanes, x[j]);
      });
    }
  }
}

// Prepacked panels of RoundedUnits are kept as bf16 and widened on the way.
inline void panel_of_halves(const ConstMatrix& m, int64_t col, int64_t u0, int64_t units, const Walk&, int64_t room,
                            float* out) {
  const int64_t panel_units = m.cols;
  for (int p = 0; p < kPieceVectors / 2; ++p) {
    const uint16_t* from = static_cast<const uint16_t*>(m.data) + col * panel_units + (p * panel_units + u0) * kPair;
    float* to = out + p * room * kPair;
    for (int64_t i = 0; i < units * kPair; i += Simd::lanes) Simd::store(to + i, Simd::load_bf16(from + i));
  }
}

}  // namespace sedum::SEDUM_ISA_NAMESPACE
