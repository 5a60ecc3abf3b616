#pragma once
// AVX-512 as the products see it: 16 lanes, tiles of 14 × 32.

namespace sedum::SEDUM_ISA_NAMESPACE {

struct Avx512 {
  using F = __m512;
  using I = __m512i;
  static constexpr int lanes = 16, rows = 14;  // 28 sums, two vectors of B, one broadcast: 31 of 32 registers

  static F zero() { return _mm512_setzero_ps(); }
  static F set1(float x) { return _mm512_set1_ps(x); }
  static F load(const float* p) { return _mm512_loadu_ps(p); }
  static void store(float* p, F v) { _mm512_storeu_ps(p, v); }
  static F load_some(const float* p, int64_t n) { return _mm512_maskz_loadu_ps(first(n), p); }
  static F load_bf16(const uint16_t* p) { return widen(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))); }
  static F load_bf16_some(const uint16_t* p, int64_t n) { return widen(_mm256_maskz_loadu_epi16(first(n), p)); }
  static F load_f16(const uint16_t* p) {
    return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  }
  static float half(uint16_t bits) { return _cvtsh_ss(bits); }
  static F round_f16(F v) { return _mm512_cvtph_ps(_mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT)); }
  static F multiply(F a, F b) { return _mm512_mul_ps(a, b); }
  static F multiply_add(F a, F b, F c) { return _mm512_fmadd_ps(a, b, c); }

  static I bits(F v) { return _mm512_castps_si512(v); }
  static void store_bits(float* p, I v) { _mm512_storeu_si512(p, v); }
  static I load_u8(const uint8_t* p) {
    return _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  }
  static I load_i8(const int8_t* p) {
    return _mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  }
  static F to_float(I v) { return _mm512_cvtepi32_ps(v); }
  static I bit_and(I v, int mask) { return _mm512_and_si512(v, _mm512_set1_epi32(mask)); }
  static I bit_or(I a, I b) { return _mm512_or_si512(a, b); }
  static I subtract(I v, int n) { return _mm512_sub_epi32(v, _mm512_set1_epi32(n)); }
  static I shift_right(I v, int n) { return _mm512_srli_epi32(v, unsigned(n)); }
  static I shift_left(I v, int n) { return _mm512_slli_epi32(v, unsigned(n)); }
  // `value` in the lanes whose bit is set.
  static I spread_bits(uint32_t set, int value) { return _mm512_maskz_set1_epi32(__mmask16(set), value); }
  // table[index], of sixteen (64-byte aligned) floats; index 0-15.
  static F lookup(const float* table, I index) { return _mm512_permutexvar_ps(index, _mm512_load_ps(table)); }
  // The nibbles of 8 bytes, the high one first.
  static I nibble_pairs(const uint8_t* p) {
    const __m128i twice = _mm_shuffle_epi8(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)),
                                           _mm_setr_epi8(0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7));
    const I shifts = _mm512_setr_epi32(4, 0, 4, 0, 4, 0, 4, 0, 4, 0, 4, 0, 4, 0, 4, 0);
    return bit_and(_mm512_srlv_epi32(_mm512_cvtepu8_epi32(twice), shifts), 15);
  }

  static F round_bf16(F v) {
    const I u = bits(v), even = _mm512_and_si512(_mm512_srli_epi32(u, 16), _mm512_set1_epi32(1));
    const I rounded = _mm512_add_epi32(_mm512_add_epi32(u, _mm512_set1_epi32(0x7fff)), even);
    const I quiet = _mm512_or_si512(u, _mm512_set1_epi32(1 << 22));
    const I kept = _mm512_mask_mov_epi32(rounded, _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q), quiet);
    return _mm512_castsi512_ps(_mm512_and_si512(kept, _mm512_set1_epi32(int(0xffff0000))));
  }
  static void store_bf16(uint16_t* p, F v, F w) { narrow(p, v), narrow(p + 16, w); }

  // 16 × 16: riffle the rows four times, row i into row i + 8. As fast as unpacking and shuffling, and shorter.
  static void transpose(I* r) {
    const I low = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
    const I high = _mm512_add_epi32(low, _mm512_set1_epi32(8));
    unroll<4>([&](auto) __attribute__((always_inline)) {
      I t[16];
      unroll<16>([&](auto i) __attribute__((always_inline)) {
        t[i] = _mm512_permutex2var_epi32(r[i / 2], i % 2 ? high : low, r[i / 2 + 8]);
      });
      unroll<16>([&](auto i) __attribute__((always_inline)) { r[i] = t[i]; });
    });
  }

  static F widen(__m256i v) { return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(v), 16)); }
  // The first n lanes.
  static __mmask16 first(int64_t n) { return n >= 16 ? __mmask16(0xffff) : __mmask16((1u << n) - 1); }

 private:
  static void narrow(uint16_t* p, F v) {
    const I upper = _mm512_srli_epi32(bits(round_bf16(v)), 16);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtepi32_epi16(upper));
  }
};

}  // namespace sedum::SEDUM_ISA_NAMESPACE
