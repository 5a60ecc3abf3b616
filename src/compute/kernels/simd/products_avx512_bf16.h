#pragma once
// AVX-512 with BF16 instructions as the products see it: conversions by one instruction, and units of two values. The instructions
// take subnormals for zero.

#include "compute/kernels/simd/products_avx512.h"

namespace sedum::SEDUM_ISA_NAMESPACE {

struct Simd : Avx512 {
  static F round_bf16(F v) { return widen(__m256i(_mm512_cvtneps_pbh(v))); }
  static void store_bf16(uint16_t* p, F v, F w) { _mm512_storeu_si512(p, __m512i(_mm512_cvtne2ps_pbh(w, v))); }
};

// Two values rounded to bf16. c + a₁b₁, then + a₀b₀, each rounded to f32.
struct PairUnits {
  using F = Simd::F;
  using I = Simd::I;
  static constexpr int values = 2;
  static F multiply_add(F a, F b, F c) { return _mm512_dpbf16_ps(c, __m512bh(a), __m512bh(b)); }
  static I load(const std::byte* p) { return _mm512_loadu_si512(p); }     // 32 bf16
  static I join(F v, F w) { return __m512i(_mm512_cvtne2ps_pbh(w, v)); }  // 32 values in order
  // Column by column from `col`: `n` values of one row with `m` of the next, zeros beyond.
  template <class R>
  static I zip_columns(const std::byte* row, int64_t n, const std::byte* next, int64_t m, int64_t col) {
    return _mm512_or_si512(halves<R>(row, col, n), _mm512_slli_epi32(halves<R>(next, col, m), 16));
  }
  static I zip_low(I v, I w) { return _mm512_permutex2var_epi16(v, alternate(0), w); }  // of the first 16 bf16 of each
  static I zip_high(I v, I w) { return _mm512_permutex2var_epi16(v, alternate(16), w); }
  // The 32 values that 16 bytes of nibbles pick from a table of sixteen, rounded; in order and the high nibble first, or 16 of the low
  // nibbles before 16 of the high ones. The table stands twice: the index of 5 bits may be 16 too large.
  template <bool kInOrder>
  static I lookup(const uint8_t* nibbles, F table) {
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(nibbles));
    I index;
    if constexpr (kInOrder) {
      const I wide = _mm512_cvtepu8_epi32(bytes);
      index = _mm512_or_si512(_mm512_srli_epi32(wide, 4), _mm512_slli_epi32(wide, 16));
    } else {
      const __m256i low = _mm256_cvtepu8_epi16(bytes);
      index = _mm512_inserti64x4(_mm512_castsi256_si512(low), _mm256_srli_epi16(low, 4), 1);
    }
    return _mm512_permutexvar_epi16(index, __m512i(_mm512_cvtne2ps_pbh(table, table)));
  }

 private:
  template <class R>
  static I halves(const std::byte* row, int64_t col, int64_t n) {
    if constexpr (sizeof(typename R::Value) == 2)
      return _mm512_cvtepu16_epi32(
          _mm256_maskz_loadu_epi16(Simd::first(n), reinterpret_cast<const uint16_t*>(row) + col));
    else
      return _mm512_cvtepu16_epi32(__m256i(_mm512_cvtneps_pbh(R::load_some(row, col, n))));
  }
  static I alternate(int from) {  // from, from + 32, from + 1, from + 33 …
    const I i = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    return _mm512_add_epi32(_mm512_mullo_epi32(i, _mm512_set1_epi32(0x10001)),
                            _mm512_set1_epi32(from * 0x10001 + (32 << 16)));
  }
};

}  // namespace sedum::SEDUM_ISA_NAMESPACE
