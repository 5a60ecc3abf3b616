#pragma once
// The vector vocabulary on AVX-512 (F, BW, VL, DQ). Include inside a target region only (see isa/avx512_rows.cc); avx2.h offers
// the same words with eight lanes. Sums and products of vectors are GCC's own operators: a + b, a * b.
//
//   for_vectors(n, [&](int64_t i, auto part) { store(y + i, fma(load(x + i, part), a, b), part); });
//
// `part` is Whole or, once at the end, Part{1 … kLanes − 1}: lanes beyond it are never read or written and load as zero
// (part_or puts another value there), so that the last values of a row get the arithmetic of all others.

#include <cstdint>

#include <immintrin.h>

#include "compute/dtype/dtype.h"

#define SEDUM_INLINE inline __attribute__((always_inline))

namespace sedum {
namespace avx512 {

constexpr int kLanes = 16;
using Vec = __m512;
using Mask = __mmask16;

struct Whole {};
struct Part {
  int n;
};
SEDUM_INLINE Mask mask_of(Part part) { return Mask((1u << part.n) - 1); }

SEDUM_INLINE Vec broadcast(float x) { return _mm512_set1_ps(x); }
SEDUM_INLINE Vec zero() { return _mm512_setzero_ps(); }

// bf16 ↔ f32 as bf16's own constructor rounds: denormals and NaN too, which vcvtneps2bf16 would flush and quieten.
SEDUM_INLINE Vec widen(__m256i bits) { return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16)); }
SEDUM_INLINE __m256i narrow(Vec v) {
  const __m512i u = _mm512_castps_si512(v);
  const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(u, 16), _mm512_set1_epi32(1));
  const __m512i rounded = _mm512_srli_epi32(_mm512_add_epi32(u, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff))), 16);
  const __m512i quiet = _mm512_or_si512(_mm512_srli_epi32(u, 16), _mm512_set1_epi32(64));
  return _mm512_cvtepi32_epi16(_mm512_mask_mov_epi32(rounded, _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q), quiet));
}

// The bf16 in the lower and in the upper half of each 32-bit lane, widened.
SEDUM_INLINE Vec even_of_pairs(Vec v) { return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_castps_si512(v), 16)); }
SEDUM_INLINE Vec odd_of_pairs(Vec v) {
  return _mm512_castsi512_ps(_mm512_and_si512(_mm512_castps_si512(v), _mm512_set1_epi32(int(0xffff0000))));
}

SEDUM_INLINE Vec load(const float* p, Whole = {}) { return _mm512_loadu_ps(p); }
SEDUM_INLINE Vec load(const float* p, Part part) { return _mm512_maskz_loadu_ps(mask_of(part), p); }
SEDUM_INLINE Vec load(const bf16* p, Whole = {}) {
  return widen(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}
SEDUM_INLINE Vec load(const bf16* p, Part part) { return widen(_mm256_maskz_loadu_epi16(mask_of(part), p)); }
SEDUM_INLINE Vec load(const int8_t* p, Whole = {}) {
  return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))));
}
SEDUM_INLINE Vec load(const int8_t* p, Part part) {
  return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_maskz_loadu_epi8(mask_of(part), p)));
}
// Byte i of each 32-bit lane, signed.
template <int i>
SEDUM_INLINE Vec byte_of_quads(Vec v) {
  return _mm512_cvtepi32_ps(_mm512_srai_epi32(_mm512_slli_epi32(_mm512_castps_si512(v), 24 - 8 * i), 24));
}
SEDUM_INLINE Vec part_or(Vec v, Whole, float) { return v; }
SEDUM_INLINE Vec part_or(Vec v, Part part, float beyond) {
  return _mm512_mask_mov_ps(broadcast(beyond), mask_of(part), v);
}
SEDUM_INLINE void store(float* p, Vec v, Whole = {}) { _mm512_storeu_ps(p, v); }
SEDUM_INLINE void store(float* p, Vec v, Part part) { _mm512_mask_storeu_ps(p, mask_of(part), v); }
SEDUM_INLINE void store(bf16* p, Vec v, Whole = {}) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), narrow(v)); }
SEDUM_INLINE void store(bf16* p, Vec v, Part part) { _mm256_mask_storeu_epi16(p, mask_of(part), narrow(v)); }

// Whole numbers from −128 to 127.
SEDUM_INLINE void store(int8_t* p, Vec v, Whole = {}) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(v)));
}
SEDUM_INLINE void store(int8_t* p, Vec v, Part part) {
  _mm_mask_storeu_epi8(p, mask_of(part), _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(v)));
}

SEDUM_INLINE Vec fma(Vec a, Vec b, Vec c) { return _mm512_fmadd_ps(a, b, c); }    // a · b + c
SEDUM_INLINE Vec fnma(Vec a, Vec b, Vec c) { return _mm512_fnmadd_ps(a, b, c); }  // c − a · b
SEDUM_INLINE Vec square_root(Vec v) { return _mm512_sqrt_ps(v); }
SEDUM_INLINE Vec round(Vec v) { return _mm512_roundscale_ps(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
// If either is NaN: b.
SEDUM_INLINE Vec max(Vec a, Vec b) { return _mm512_max_ps(a, b); }
SEDUM_INLINE Vec min(Vec a, Vec b) { return _mm512_min_ps(a, b); }
SEDUM_INLINE Mask less(Vec a, Vec b) { return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ); }
SEDUM_INLINE Vec select(Mask mask, Vec yes, Vec no) { return _mm512_mask_mov_ps(no, mask, yes); }
SEDUM_INLINE Vec absolute(Vec v) { return _mm512_abs_ps(v); }
SEDUM_INLINE Vec with_sign_of(Vec magnitude, Vec sign) {
  return _mm512_or_ps(magnitude, _mm512_and_ps(sign, _mm512_set1_ps(-0.0f)));
}
SEDUM_INLINE Mask lanes_between(int begin, int end) {  // lanes begin ≤ i < end, any integers
  const __m512i lane = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
  return _mm512_cmpge_epi32_mask(lane, _mm512_set1_epi32(begin)) &
         _mm512_cmplt_epi32_mask(lane, _mm512_set1_epi32(end));
}

// v · 2^n for whole n in [−250, 250], rounded once.
SEDUM_INLINE Vec times_power_of_two(Vec v, Vec n) { return _mm512_scalef_ps(v, n); }

SEDUM_INLINE float reduce_add(Vec v) { return _mm512_reduce_add_ps(v); }
SEDUM_INLINE float reduce_max(Vec v) { return _mm512_reduce_max_ps(v); }

// Sum of squares of f32 lanes in double.
using DoubleVec = __m512d;
SEDUM_INLINE DoubleVec double_zero() { return _mm512_setzero_pd(); }
SEDUM_INLINE DoubleVec add_squares(Vec v, DoubleVec sum) {
  const __m512d low = _mm512_cvtps_pd(_mm512_castps512_ps256(v)), high = _mm512_cvtps_pd(_mm512_extractf32x8_ps(v, 1));
  return _mm512_fmadd_pd(high, high, _mm512_fmadd_pd(low, low, sum));
}
SEDUM_INLINE double reduce_add(DoubleVec v) { return _mm512_reduce_add_pd(v); }

// rows[i] lane j becomes rows[j] lane i: pairs, then fours, within 128 bits; then whole 128-bit pieces.
SEDUM_INLINE void transpose(Vec (&rows)[kLanes]) {
  Vec a[16], b[16];
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) {
    a[2 * i] = _mm512_unpacklo_ps(rows[2 * i], rows[2 * i + 1]);
    a[2 * i + 1] = _mm512_unpackhi_ps(rows[2 * i], rows[2 * i + 1]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 16; i += 4) {
    b[i] = _mm512_shuffle_ps(a[i], a[i + 2], 0x44), b[i + 1] = _mm512_shuffle_ps(a[i], a[i + 2], 0xee);
    b[i + 2] = _mm512_shuffle_ps(a[i + 1], a[i + 3], 0x44), b[i + 3] = _mm512_shuffle_ps(a[i + 1], a[i + 3], 0xee);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {  // b[4 g + i] piece p holds column 4 p + i of rows 4 g … 4 g + 3
    const Vec low = _mm512_shuffle_f32x4(b[i], b[4 + i], 0x88), low2 = _mm512_shuffle_f32x4(b[8 + i], b[12 + i], 0x88);
    const Vec high = _mm512_shuffle_f32x4(b[i], b[4 + i], 0xdd),
              high2 = _mm512_shuffle_f32x4(b[8 + i], b[12 + i], 0xdd);
    rows[i] = _mm512_shuffle_f32x4(low, low2, 0x88), rows[8 + i] = _mm512_shuffle_f32x4(low, low2, 0xdd);
    rows[4 + i] = _mm512_shuffle_f32x4(high, high2, 0x88), rows[12 + i] = _mm512_shuffle_f32x4(high, high2, 0xdd);
  }
}

}  // namespace avx512
}  // namespace sedum
