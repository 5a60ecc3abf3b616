#pragma once
// The vector vocabulary on AVX2 with FMA: the words of avx512.h, where they are explained, with eight lanes.

#include <cstdint>
#include <cstring>

#include <immintrin.h>

#include "compute/dtype/dtype.h"

#define SEDUM_INLINE inline __attribute__((always_inline))

namespace sedum {
namespace avx2 {

constexpr int kLanes = 8;
using Vec = __m256;
using Mask = __m256;  // all ones or all zeros in a lane

struct Whole {};
struct Part {
  int n;
};
SEDUM_INLINE __m256i lane_numbers() { return _mm256_set_epi32(7, 6, 5, 4, 3, 2, 1, 0); }
SEDUM_INLINE __m256i mask_of(Part part) { return _mm256_cmpgt_epi32(_mm256_set1_epi32(part.n), lane_numbers()); }

SEDUM_INLINE Vec broadcast(float x) { return _mm256_set1_ps(x); }
SEDUM_INLINE Vec zero() { return _mm256_setzero_ps(); }

SEDUM_INLINE Vec widen(__m128i bits) { return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16)); }
SEDUM_INLINE __m128i narrow(Vec v) {
  const __m256i u = _mm256_castps_si256(v);
  const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(u, 16), _mm256_set1_epi32(1));
  const __m256i rounded = _mm256_srli_epi32(_mm256_add_epi32(u, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff))), 16);
  const __m256i quiet = _mm256_or_si256(_mm256_srli_epi32(u, 16), _mm256_set1_epi32(64));
  const __m256i bits = _mm256_blendv_epi8(rounded, quiet, _mm256_castps_si256(_mm256_cmp_ps(v, v, _CMP_UNORD_Q)));
  return _mm_packus_epi32(_mm256_castsi256_si128(bits), _mm256_extracti128_si256(bits, 1));
}

// The bf16 in the lower and in the upper half of each 32-bit lane, widened.
SEDUM_INLINE Vec even_of_pairs(Vec v) { return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_castps_si256(v), 16)); }
SEDUM_INLINE Vec odd_of_pairs(Vec v) {
  return _mm256_castsi256_ps(_mm256_and_si256(_mm256_castps_si256(v), _mm256_set1_epi32(int(0xffff0000))));
}

SEDUM_INLINE Vec load(const float* p, Whole = {}) { return _mm256_loadu_ps(p); }
SEDUM_INLINE Vec load(const float* p, Part part) { return _mm256_maskload_ps(p, mask_of(part)); }
SEDUM_INLINE Vec load(const bf16* p, Whole = {}) { return widen(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))); }
SEDUM_INLINE Vec load(const bf16* p, Part part) {
  alignas(16) uint16_t bits[kLanes] = {};
  std::memcpy(bits, p, size_t(part.n) * sizeof(bf16));
  return widen(_mm_load_si128(reinterpret_cast<const __m128i*>(bits)));
}
SEDUM_INLINE Vec load(const int8_t* p, Whole = {}) {
  return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))));
}
SEDUM_INLINE Vec load(const int8_t* p, Part part) {
  alignas(16) int8_t bytes[16] = {};
  std::memcpy(bytes, p, size_t(part.n));
  return load(bytes);
}
// Byte i of each 32-bit lane, signed.
template <int i>
SEDUM_INLINE Vec byte_of_quads(Vec v) {
  return _mm256_cvtepi32_ps(_mm256_srai_epi32(_mm256_slli_epi32(_mm256_castps_si256(v), 24 - 8 * i), 24));
}
SEDUM_INLINE Vec part_or(Vec v, Whole, float) { return v; }
SEDUM_INLINE Vec part_or(Vec v, Part part, float beyond) {
  return _mm256_blendv_ps(broadcast(beyond), v, _mm256_castsi256_ps(mask_of(part)));
}
SEDUM_INLINE void store(float* p, Vec v, Whole = {}) { _mm256_storeu_ps(p, v); }
SEDUM_INLINE void store(float* p, Vec v, Part part) { _mm256_maskstore_ps(p, mask_of(part), v); }
SEDUM_INLINE void store(bf16* p, Vec v, Whole = {}) { _mm_storeu_si128(reinterpret_cast<__m128i*>(p), narrow(v)); }
SEDUM_INLINE void store(bf16* p, Vec v, Part part) {
  alignas(16) uint16_t bits[kLanes];
  _mm_store_si128(reinterpret_cast<__m128i*>(bits), narrow(v));
  std::memcpy(p, bits, size_t(part.n) * sizeof(bf16));
}

// Whole numbers from −128 to 127.
SEDUM_INLINE void store(int8_t* p, Vec v, Part part) {
  const __m256i i = _mm256_cvtps_epi32(v);
  const __m128i words = _mm_packs_epi32(_mm256_castsi256_si128(i), _mm256_extracti128_si256(i, 1));
  const int64_t bytes = _mm_cvtsi128_si64(_mm_packs_epi16(words, words));
  std::memcpy(p, &bytes, size_t(part.n));
}
SEDUM_INLINE void store(int8_t* p, Vec v, Whole = {}) { store(p, v, Part{kLanes}); }

SEDUM_INLINE Vec fma(Vec a, Vec b, Vec c) { return _mm256_fmadd_ps(a, b, c); }
SEDUM_INLINE Vec fnma(Vec a, Vec b, Vec c) { return _mm256_fnmadd_ps(a, b, c); }
SEDUM_INLINE Vec square_root(Vec v) { return _mm256_sqrt_ps(v); }
SEDUM_INLINE Vec round(Vec v) { return _mm256_round_ps(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
SEDUM_INLINE Vec max(Vec a, Vec b) { return _mm256_max_ps(a, b); }
SEDUM_INLINE Vec min(Vec a, Vec b) { return _mm256_min_ps(a, b); }
SEDUM_INLINE Mask less(Vec a, Vec b) { return _mm256_cmp_ps(a, b, _CMP_LT_OQ); }
SEDUM_INLINE Vec select(Mask mask, Vec yes, Vec no) { return _mm256_blendv_ps(no, yes, mask); }
SEDUM_INLINE Vec absolute(Vec v) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), v); }
SEDUM_INLINE Vec with_sign_of(Vec magnitude, Vec sign) {
  return _mm256_or_ps(magnitude, _mm256_and_ps(sign, _mm256_set1_ps(-0.0f)));
}
SEDUM_INLINE Mask lanes_between(int begin, int end) {
  const __m256i lane = lane_numbers();
  return _mm256_castsi256_ps(_mm256_andnot_si256(_mm256_cmpgt_epi32(_mm256_set1_epi32(begin), lane),
                                                 _mm256_cmpgt_epi32(_mm256_set1_epi32(end), lane)));
}

// In two halves, as 2^n alone may lie outside the normal numbers; only the last product can round.
SEDUM_INLINE Vec times_power_of_two(Vec v, Vec n) {
  const __m256i whole = _mm256_cvtps_epi32(n), half = _mm256_srai_epi32(whole, 1), bias = _mm256_set1_epi32(127);
  const __m256i a = _mm256_slli_epi32(_mm256_add_epi32(half, bias), 23);
  const __m256i b = _mm256_slli_epi32(_mm256_add_epi32(_mm256_sub_epi32(whole, half), bias), 23);
  return v * _mm256_castsi256_ps(a) * _mm256_castsi256_ps(b);
}

SEDUM_INLINE float reduce_add(Vec v) {
  __m128 s = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  s = _mm_add_ps(s, _mm_movehl_ps(s, s));
  return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}
SEDUM_INLINE float reduce_max(Vec v) {
  __m128 s = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  s = _mm_max_ps(s, _mm_movehl_ps(s, s));
  return _mm_cvtss_f32(_mm_max_ss(s, _mm_movehdup_ps(s)));
}

using DoubleVec = __m256d;
SEDUM_INLINE DoubleVec double_zero() { return _mm256_setzero_pd(); }
SEDUM_INLINE DoubleVec add_squares(Vec v, DoubleVec sum) {
  const __m256d low = _mm256_cvtps_pd(_mm256_castps256_ps128(v)), high = _mm256_cvtps_pd(_mm256_extractf128_ps(v, 1));
  return _mm256_fmadd_pd(high, high, _mm256_fmadd_pd(low, low, sum));
}
SEDUM_INLINE double reduce_add(DoubleVec v) {
  const __m128d s = _mm_add_pd(_mm256_castpd256_pd128(v), _mm256_extractf128_pd(v, 1));
  return _mm_cvtsd_f64(_mm_add_sd(s, _mm_unpackhi_pd(s, s)));
}

SEDUM_INLINE void transpose(Vec (&rows)[kLanes]) {
  Vec a[8], b[8];
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    a[2 * i] = _mm256_unpacklo_ps(rows[2 * i], rows[2 * i + 1]);
    a[2 * i + 1] = _mm256_unpackhi_ps(rows[2 * i], rows[2 * i + 1]);
  }
#pragma GCC unroll 2
  for (int i = 0; i < 8; i += 4) {
    b[i] = _mm256_shuffle_ps(a[i], a[i + 2], 0x44), b[i + 1] = _mm256_shuffle_ps(a[i], a[i + 2], 0xee);
    b[i + 2] = _mm256_shuffle_ps(a[i + 1], a[i + 3], 0x44), b[i + 3] = _mm256_shuffle_ps(a[i + 1], a[i + 3], 0xee);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {  // b[4 g + i] half p holds column 4 p + i of rows 4 g … 4 g + 3
    rows[i] = _mm256_permute2f128_ps(b[i], b[4 + i], 0x20);
    rows[4 + i] = _mm256_permute2f128_ps(b[i], b[4 + i], 0x31);
  }
}

}  // namespace avx2
}  // namespace sedum
