#pragma once
// The innermost loop: a tile of C, kRows × two vectors, whose sums stay in registers over a chunk of K.
//
// A *unit* is 32 bits along K: one f32, or a pair of bf16. f32 and bf16 share panels, packing, tile and driver; only the
// multiply-add differs. A strip is [units][rows], each unit broadcast; a panel is [units][two vectors]. A tile resumes the sums that
// it finds, so each result is one chain of multiply-adds in the order of K, however K is cut: the same bits for any number of rows.

#include "compute/kernels/generic/products_ahead.h"

namespace sedum::SEDUM_ISA_NAMESPACE {

// Where a tile goes, and what to fetch meanwhile.
struct Destination {
  float* sums;  // f32 results, or scratch
  int64_t sums_stride;
  uint16_t* half;  // if not null: the finished sums are rounded to bf16 into here instead
  int64_t half_stride;
  bool resume;             // sums hold the sum so far
  const float* next_sums;  // of the next tile
  Fetch fetch;
};

constexpr int kPair = 2 * Simd::lanes;  // columns of a tile

template <class Unit, int kRows>
void tile(const float* a, const float* b, int64_t units, const Destination& to) {
  using F = Simd::F;
  F c[kRows][2];
  if (to.resume) {
    unroll<kRows>([&](auto r) __attribute__((always_inline)) {
      c[r][0] = Simd::load(to.sums + r * to.sums_stride),
      c[r][1] = Simd::load(to.sums + r * to.sums_stride + Simd::lanes);
    });
  } else {
    unroll<kRows>([&](auto r) __attribute__((always_inline)) { c[r][0] = c[r][1] = Simd::zero(); });
  }
  for (int r = 0; r < kRows; ++r) {
    __builtin_prefetch(to.next_sums + r * to.sums_stride, 1);
    __builtin_prefetch(to.next_sums + r * to.sums_stride + kPair - 1, 1);
  }
  const float* const end = b + units * kPair;
  Fetch fetch = to.fetch;
  for (; b < end; b += kPair, a += kRows) {
    if (fetch.lines > 0) {
      __builtin_prefetch(fetch.at, 0, 2);
      fetch.advance();
    }
    const F b0 = Simd::load(b), b1 = Simd::load(b + Simd::lanes);
    unroll<kRows>([&](auto r) __attribute__((always_inline)) {
      const F x = Simd::set1(a[r]);
      c[r][0] = Unit::multiply_add(x, b0, c[r][0]);
      c[r][1] = Unit::multiply_add(x, b1, c[r][1]);
    });
  }
  if (to.half) {
    unroll<kRows>([&](auto r) __attribute__((always_inline)) {
      Simd::store_bf16(to.half + r * to.half_stride, c[r][0], c[r][1]);
    });
  } else {
    unroll<kRows>([&](auto r) __attribute__((always_inline)) {
      Simd::store(to.sums + r * to.sums_stride, c[r][0]),
          Simd::store(to.sums + r * to.sums_stride + Simd::lanes, c[r][1]);
    });
  }
}

using Tile = void (*)(const float*, const float*, int64_t, const Destination&);
template <class Unit>
struct Tiles {
  Tile of[Simd::rows];  // by number of rows, less one
};
template <class Unit>
constexpr Tiles<Unit> tiles = []<int... I>(std::integer_sequence<int, I...>) {
  return Tiles<Unit>{{&tile<Unit, I + 1>...}};
}
(std::make_integer_sequence<int, Simd::rows>{});

}  // namespace sedum::SEDUM_ISA_NAMESPACE
