// The int8 product for AVX2, FMA and F16C: a panel is two registers of 8 columns.
#include <cstring>
#include <utility>

#include <immintrin.h>

#include "compute/kernels/quantised_panel.h"

// Up to the end of the file, where the templates are instantiated.
#pragma GCC target("avx2,fma,f16c")
#include "compute/kernels/generic/quantised_x86.h"

namespace sedum {
namespace {

struct QuantisedAvx2 {
  using I = __m256i;
  using F = __m256;
  // 4 rows × 2 sums of 16 bits + 2 lines, a quad, a mask, and room for what comes once in 32 k; the float sums lie in L1. 6 rows filled all 16
  // registers and were slower by 5 % (the median of types and shapes), 4 rows that shared no broadcast by 4 to 16 %.
  static constexpr int kLanes = 8, kRows = 4, kTogether = 2;
  static constexpr bool kHasSigns = true, kSumsIn16Bits = true, kWidens = true;

  static SEDUM_INLINE __m128i bytes8(const uint8_t* p) { return _mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)); }
  static SEDUM_INLINE __m128i bytes16(const void* p) { return _mm_loadu_si128(static_cast<const __m128i*>(p)); }

  static SEDUM_INLINE I load(const uint8_t* p) { return _mm256_loadu_si256(reinterpret_cast<const I*>(p)); }
  template <int kShift>
  static SEDUM_INLINE I shifted_16(I x) {
    if constexpr (kShift > 0)
      return _mm256_slli_epi16(x, kShift);
    else if constexpr (kShift < 0)
      return _mm256_srli_epi16(x, -kShift);
    else
      return x;
  }
  template <bool kHigh>
  static SEDUM_INLINE I nibbles(I x) {
    return _mm256_and_si256(shifted_16 < kHigh ? -4 : 0 > (x), _mm256_set1_epi8(15));
  }
  template <int kShift, int kMask>
  static SEDUM_INLINE I merge_bits(I bits, I q) {
    return _mm256_or_si256(_mm256_and_si256(shifted_16<kShift>(bits), _mm256_set1_epi8(kMask)), q);
  }
  static SEDUM_INLINE F halves(const uint8_t* p) { return _mm256_cvtph_ps(bytes16(p)); }
  static SEDUM_INLINE F signed_bytes(const uint8_t* p) { return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes8(p))); }
  static SEDUM_INLINE F unsigned_bytes(const uint8_t* p) { return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(bytes8(p))); }
  static SEDUM_INLINE F zero() { return _mm256_setzero_ps(); }
  static SEDUM_INLINE F broadcast(float x) { return _mm256_set1_ps(x); }
  static SEDUM_INLINE F multiply(F a, F b) { return _mm256_mul_ps(a, b); }
  static SEDUM_INLINE F fma(F a, F b, F c) { return _mm256_fmadd_ps(a, b, c); }
  static SEDUM_INLINE F to_float(I x) { return _mm256_cvtepi32_ps(x); }
  static SEDUM_INLINE void store(float* p, F x) { _mm256_storeu_ps(p, x); }
  static SEDUM_INLINE I zero_integers() { return _mm256_setzero_si256(); }
  template <int kShift>
  static SEDUM_INLINE I shifted(int32_t x) {
    return _mm256_slli_epi32(_mm256_set1_epi32(x), kShift);
  }

  static SEDUM_INLINE I broadcast_quad(const uint8_t* p) {
    return _mm256_set1_epi32(*reinterpret_cast<const int32_t*>(p));
  }
  static SEDUM_INLINE void store_line(uint8_t* p, I x) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), x); }
  static SEDUM_INLINE I less_128(I x) { return _mm256_xor_si256(x, _mm256_set1_epi8(-128)); }
  static SEDUM_INLINE I magnitude(I x) { return _mm256_abs_epi8(x); }
  static SEDUM_INLINE I with_signs(I x, I signs) { return _mm256_sign_epi8(x, signs); }
  static SEDUM_INLINE I multiply_pairs(I u8, I s8) { return _mm256_maddubs_epi16(u8, s8); }
  template <int kFactor>
  static SEDUM_INLINE I sum_pairs(I x) {
    return _mm256_madd_epi16(x, _mm256_set1_epi16(kFactor));
  }
  static SEDUM_INLINE void hide(I& x) { asm("" : "+v"(x)); }
  static SEDUM_INLINE I add(I a, I b) { return _mm256_add_epi32(a, b); }
  static SEDUM_INLINE I add_16(I a, I b) { return _mm256_add_epi16(a, b); }
  template <int kTop, int kFirst, int kCount, int R, int C, class Line>
  static SEDUM_INLINE void dots(I (&dot)[R][C], Line line, const uint8_t* quads) {
    dots_in_16_bits<QuantisedAvx2, kTop, kFirst, kCount>(dot, line, quads);
  }

  template <class T>
  static SEDUM_INLINE void quantise(const T* a, const T* b, const T* c, const T* d, const FourBlocks& to) {
    quantise_four(a, b, c, d, to);
  }
};

}  // namespace

const QuantisedKernels kQuantisedAvx2 = quantised_kernels<QuantisedAvx2>();

}  // namespace sedum
