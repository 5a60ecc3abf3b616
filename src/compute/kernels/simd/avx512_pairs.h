#pragma once
// Pairs for attention on AVX-512 with BF16: two neighbours along the summed dimension, rounded to bf16, in 32 bits. Include after avx512.h,
// inside a target region. The instructions take subnormals for zero.

namespace sedum {
namespace avx512 {

struct Pair {
  uint32_t bits;
};

SEDUM_INLINE Vec load(const Pair* p) { return _mm512_loadu_ps(p); }
SEDUM_INLINE void store(Pair* p, Vec v) { _mm512_storeu_ps(p, v); }

// c + a₁b₁, then + a₀b₀, each rounded to f32.
SEDUM_INLINE Vec multiply_add(Pair, Vec a, Vec b, Vec c) {
  return _mm512_dpbf16_ps(c, __m512bh(_mm512_castps_si512(a)), __m512bh(_mm512_castps_si512(b)));
}

// The lanes of a, then those of b, each with its neighbour.
SEDUM_INLINE Vec pairs_along(Vec a, Vec b) { return _mm512_castsi512_ps(__m512i(_mm512_cvtne2ps_pbh(b, a))); }

SEDUM_INLINE __m512i alternate() {
  const __m512i i = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  return _mm512_add_epi32(_mm512_mullo_epi32(i, _mm512_set1_epi32(0x10001)), _mm512_set1_epi32(16 << 16));
}
// Lane i: aᵢ and bᵢ.
SEDUM_INLINE Vec pairs_across(Vec a, Vec b) {
  return _mm512_castsi512_ps(_mm512_permutexvar_epi16(alternate(), _mm512_castps_si512(pairs_along(a, b))));
}
// The same of values that are bf16 already; b null: zeros.
SEDUM_INLINE Vec pairs_across(const bf16* a, const bf16* b) {
  const __m256i first = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(a));
  if (!b) return _mm512_castsi512_ps(_mm512_cvtepu16_epi32(first));
  const __m256i second = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(b));
  return _mm512_castsi512_ps(
      _mm512_permutexvar_epi16(alternate(), _mm512_inserti64x4(_mm512_castsi256_si512(first), second, 1)));
}

}  // namespace avx512
}  // namespace sedum
