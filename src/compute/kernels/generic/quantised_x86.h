// Quantising activations, for AVX2 and all above: with 512-bit registers it takes 0.18 instead of 0.16 ns a value, because narrowing
// to bytes is slower there. Included inside a target region.
#pragma once

#include "compute/kernels/generic/quantised.h"

namespace sedum {
namespace {

SEDUM_INLINE inline __m256 values_of(const float* p) { return _mm256_loadu_ps(p); }
SEDUM_INLINE inline __m256 values_of(const uint16_t* p) {
  const __m128i bits = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16));
}
SEDUM_INLINE inline __m256i magnitude(__m256 x) {
  return _mm256_and_si256(_mm256_castps_si256(x), _mm256_set1_epi32(0x7fffffff));
}

// Four candidates for the largest magnitude of a block.
template <class T>
SEDUM_INLINE inline __m128i largest_of_32(const T* x) {
  const __m256i top = _mm256_max_epi32(_mm256_max_epi32(magnitude(values_of(x)), magnitude(values_of(x + 8))),
                                       _mm256_max_epi32(magnitude(values_of(x + 16)), magnitude(values_of(x + 24))));
  return _mm_max_epi32(_mm256_castsi256_si128(top), _mm256_extracti128_si256(top, 1));
}

template <class T>
SEDUM_INLINE inline __m256i rounded_32(const T* x, __m128 factor) {
  const __m256 f = _mm256_broadcastss_ps(factor);
  const auto integers = [&](int at) SEDUM_INLINE { return _mm256_cvtps_epi32(_mm256_mul_ps(values_of(x + at), f)); };
  const __m256i q =
      _mm256_packs_epi16(_mm256_packs_epi32(integers(0), integers(8)), _mm256_packs_epi32(integers(16), integers(24)));
  return _mm256_permutevar8x32_epi32(q, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));  // packs works within 128 bits
}

// The largest of each of four registers of integers.
SEDUM_INLINE inline __m128i largest_of_each(__m128i a, __m128i b, __m128i c, __m128i d) {
  const __m128i ab = _mm_max_epi32(_mm_unpacklo_epi32(a, b), _mm_unpackhi_epi32(a, b));
  const __m128i cd = _mm_max_epi32(_mm_unpacklo_epi32(c, d), _mm_unpackhi_epi32(c, d));
  return _mm_max_epi32(_mm_unpacklo_epi64(ab, cd), _mm_unpackhi_epi64(ab, cd));
}

// From the bits of the largest magnitudes, in which infinity and NaN are the largest of all.
struct FourScales {
  __m128 scale, inverse;
  __m128i usable;  // all ones, or zero where all values become zero
};
SEDUM_INLINE inline FourScales four_scales(__m128i top_bits) {
  const __m128 top = _mm_castsi128_ps(top_bits);
  const __m128i spoilt = _mm_cmpgt_epi32(top_bits, _mm_set1_epi32(0x7f7fffff));
  const __m128i tiny = _mm_cmplt_epi32(top_bits, _mm_set1_epi32((127 - 118) << 23));
  const __m128i usable = _mm_andnot_si128(_mm_or_si128(spoilt, tiny), _mm_set1_epi32(-1));
  const __m128i nan = _mm_and_si128(spoilt, _mm_set1_epi32(0x7fc00000));
  const __m128 scale = _mm_and_ps(_mm_div_ps(top, _mm_set1_ps(127)), _mm_castsi128_ps(usable));
  return {_mm_or_ps(scale, _mm_castsi128_ps(nan)), _mm_div_ps(_mm_set1_ps(127), top), usable};
}

// Heads and interleaved values from four blocks of 32 bytes.
SEDUM_INLINE inline void finish_four(const FourScales& scales, const __m256i (&q)[4], const FourBlocks& to) {
  // Sums of eight unsigned bytes each; the offset of 128 is taken off afterwards. Low half of a register: first half of a block.
  __m256i sums[4];
  for (int i = 0; i < 4; ++i)
    sums[i] = _mm256_sad_epu8(_mm256_xor_si256(q[i], _mm256_set1_epi8(-128)), _mm256_setzero_si256());
  const auto pair = [&](__m256i a, __m256i b) SEDUM_INLINE {
    return _mm256_castps_si256(_mm256_shuffle_ps(_mm256_castsi256_ps(a), _mm256_castsi256_ps(b), 0x88));
  };
  const __m256i halves = _mm256_hadd_epi32(pair(sums[0], sums[1]), pair(sums[2], sums[3]));
  const __m256i minus = _mm256_sub_epi32(_mm256_set1_epi32(16 * 128), halves);
  const __m128i first = _mm256_castsi256_si128(minus), second = _mm256_extracti128_si256(minus, 1);
  const __m128i all = _mm_add_epi32(first, second);
  const __m128 sum = _mm_mul_ps(scales.scale, _mm_cvtepi32_ps(_mm_sub_epi32(_mm_setzero_si128(), all)));
  __m128 a = scales.scale, b = sum, c = _mm_castsi128_ps(all), d = _mm_castsi128_ps(first);
  _MM_TRANSPOSE4_PS(a, b, c, d);
  _mm_storeu_ps(&to.heads[0].scale, a), to.heads[0].minus_second = _mm_extract_epi32(second, 0);
  _mm_storeu_ps(&to.heads[1].scale, b), to.heads[1].minus_second = _mm_extract_epi32(second, 1);
  _mm_storeu_ps(&to.heads[2].scale, c), to.heads[2].minus_second = _mm_extract_epi32(second, 2);
  _mm_storeu_ps(&to.heads[3].scale, d), to.heads[3].minus_second = _mm_extract_epi32(second, 3);
  // 4 × 4 words within 128 bits: group g beside group g + 4.
  const __m256i ab_low = _mm256_unpacklo_epi32(q[0], q[1]), ab_high = _mm256_unpackhi_epi32(q[0], q[1]);
  const __m256i cd_low = _mm256_unpacklo_epi32(q[2], q[3]), cd_high = _mm256_unpackhi_epi32(q[2], q[3]);
  const __m256i groups[4] = {_mm256_unpacklo_epi64(ab_low, cd_low), _mm256_unpackhi_epi64(ab_low, cd_low),
                             _mm256_unpacklo_epi64(ab_high, cd_high), _mm256_unpackhi_epi64(ab_high, cd_high)};
  for (int g = 0; g < 4; ++g) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to.quads + size_t(g) * to.stride), _mm256_castsi256_si128(groups[g]));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to.quads + size_t(g + 4) * to.stride),
                     _mm256_extracti128_si256(groups[g], 1));
  }
}

template <class T>
SEDUM_INLINE inline void quantise_four(const T* a, const T* b, const T* c, const T* d, const FourBlocks& to) {
  const FourScales scales =
      four_scales(largest_of_each(largest_of_32(a), largest_of_32(b), largest_of_32(c), largest_of_32(d)));
  const T* const x[4] = {a, b, c, d};
  __m256i q[4];
  unroll<4>([&](auto i) SEDUM_INLINE {
    const __m128 factor = _mm_shuffle_ps(scales.inverse, scales.inverse, i * 0x55);
    const __m128i usable = _mm_shuffle_epi32(scales.usable, i * 0x55);
    q[i] = _mm256_and_si256(rounded_32(x[i], factor), _mm256_broadcastd_epi32(usable));
  });
  finish_four(scales, q, to);
}

}  // namespace
}  // namespace sedum
