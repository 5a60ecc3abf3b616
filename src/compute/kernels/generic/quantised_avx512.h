// The vocabulary of generic/quantised.h for AVX-512 F, BW, VL, DQ. Included inside a target region.
#pragma once

#include "compute/kernels/generic/quantised_x86.h"

namespace sedum {
namespace {

struct QuantisedAvx512 {
  using I = __m512i;
  using F = __m512;
  static constexpr int kLanes = 16, kRows = 8,
                       kTogether = 1;       // 8 rows × (float sum, integer sum, 16-bit sum) + 5 of 32 registers
  static constexpr bool kHasSigns = false;  // there is no vpsignb of 512 bits
  static constexpr bool kSumsIn16Bits = false, kWidens = false;  // registers are many

  static SEDUM_INLINE __m128i bytes16(const uint8_t* p) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p)); }
  static SEDUM_INLINE __m256i bytes32(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }

  static SEDUM_INLINE I load(const uint8_t* p) { return _mm512_loadu_si512(p); }
  template <int kShift>
  static SEDUM_INLINE I shifted_16(I x) {
    if constexpr (kShift > 0)
      return _mm512_slli_epi16(x, kShift);
    else if constexpr (kShift < 0)
      return _mm512_srli_epi16(x, -kShift);
    else
      return x;
  }
  template <bool kHigh>
  static SEDUM_INLINE I nibbles(I x) {
    return _mm512_and_si512(shifted_16 < kHigh ? -4 : 0 > (x), _mm512_set1_epi8(15));
  }
  template <int kShift, int kMask>
  static SEDUM_INLINE I merge_bits(I bits, I q) {  // 0xEA: (bits & mask) | q
    return _mm512_ternarylogic_epi32(shifted_16<kShift>(bits), _mm512_set1_epi8(kMask), q, 0xEA);
  }
  static SEDUM_INLINE F halves(const uint8_t* p) { return _mm512_cvtph_ps(bytes32(p)); }
  static SEDUM_INLINE F signed_bytes(const uint8_t* p) { return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(bytes16(p))); }
  static SEDUM_INLINE F unsigned_bytes(const uint8_t* p) {
    return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(bytes16(p)));
  }
  static SEDUM_INLINE F zero() { return _mm512_setzero_ps(); }
  static SEDUM_INLINE F broadcast(float x) { return _mm512_set1_ps(x); }
  static SEDUM_INLINE F multiply(F a, F b) { return _mm512_mul_ps(a, b); }
  static SEDUM_INLINE F fma(F a, F b, F c) { return _mm512_fmadd_ps(a, b, c); }
  static SEDUM_INLINE F to_float(I x) { return _mm512_cvtepi32_ps(x); }
  static SEDUM_INLINE void store(float* p, F x) { _mm512_storeu_ps(p, x); }
  static SEDUM_INLINE I zero_integers() { return _mm512_setzero_si512(); }
  template <int kShift>
  static SEDUM_INLINE I shifted(int32_t x) {
    return _mm512_slli_epi32(_mm512_set1_epi32(x), kShift);
  }

  static SEDUM_INLINE I broadcast_quad(const uint8_t* p) {
    return _mm512_set1_epi32(*reinterpret_cast<const int32_t*>(p));
  }
  static SEDUM_INLINE I multiply_pairs(I u8, I s8) { return _mm512_maddubs_epi16(u8, s8); }
  template <int kFactor>
  static SEDUM_INLINE I sum_pairs(I x) {
    return _mm512_madd_epi16(x, _mm512_set1_epi16(kFactor));
  }
  static SEDUM_INLINE void hide(I& x) { asm("" : "+v"(x)); }
  static SEDUM_INLINE I add(I a, I b) { return _mm512_add_epi32(a, b); }
  static SEDUM_INLINE I add_16(I a, I b) { return _mm512_add_epi16(a, b); }
  template <int kTop, int kFirst, int kCount, int R, class Line>
  static SEDUM_INLINE void dots(I (&dot)[R][1], Line line, const uint8_t* quads) {
    dots_in_16_bits<QuantisedAvx512, kTop, kFirst, kCount>(dot, line, quads);
  }

  template <class T>
  static SEDUM_INLINE void quantise(const T* a, const T* b, const T* c, const T* d, const FourBlocks& to) {
    quantise_four(a, b, c, d, to);
  }
};

}  // namespace
}  // namespace sedum
