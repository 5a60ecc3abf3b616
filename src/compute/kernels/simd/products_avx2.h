#pragma once
// AVX2 with FMA and F16C as the products see it: 8 lanes, tiles of 6 × 16.

namespace sedum::SEDUM_ISA_NAMESPACE {

struct Simd {
  using F = __m256;
  using I = __m256i;
  static constexpr int lanes = 8, rows = 6;  // 12 sums, two vectors of B, one broadcast: 15 of 16 registers

  static F zero() { return _mm256_setzero_ps(); }
  static F set1(float x) { return _mm256_set1_ps(x); }
  static F load(const float* p) { return _mm256_loadu_ps(p); }
  static void store(float* p, F v) { _mm256_storeu_ps(p, v); }
  static F load_some(const float* p, int64_t n) {
    const I lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return _mm256_maskload_ps(p, _mm256_cmpgt_epi32(_mm256_set1_epi32(n < 8 ? int(n) : 8), lane));
  }
  static F load_bf16(const uint16_t* p) { return widen(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))); }
  static F load_bf16_some(const uint16_t* p, int64_t n) {
    if (n >= 8) return load_bf16(p);
    uint16_t copy[8] = {};
    __builtin_memcpy(copy, p, size_t(n) * 2);
    return load_bf16(copy);
  }
  static F load_f16(const uint16_t* p) { return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))); }
  static float half(uint16_t bits) { return _cvtsh_ss(bits); }
  static F round_f16(F v) { return _mm256_cvtph_ps(_mm256_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT)); }
  static F multiply(F a, F b) { return _mm256_mul_ps(a, b); }
  static F multiply_add(F a, F b, F c) { return _mm256_fmadd_ps(a, b, c); }

  static I bits(F v) { return _mm256_castps_si256(v); }
  static void store_bits(float* p, I v) { _mm256_storeu_si256(reinterpret_cast<I*>(p), v); }
  static I load_u8(const uint8_t* p) {
    return _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
  }
  static I load_i8(const int8_t* p) {
    return _mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
  }
  static F to_float(I v) { return _mm256_cvtepi32_ps(v); }
  static I bit_and(I v, int mask) { return _mm256_and_si256(v, _mm256_set1_epi32(mask)); }
  static I bit_or(I a, I b) { return _mm256_or_si256(a, b); }
  static I subtract(I v, int n) { return _mm256_sub_epi32(v, _mm256_set1_epi32(n)); }
  static I shift_right(I v, int n) { return _mm256_srli_epi32(v, n); }
  static I shift_left(I v, int n) { return _mm256_slli_epi32(v, n); }
  // `value` in the lanes whose bit is set.
  static I spread_bits(uint32_t set, int value) {
    const I lane = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
    const I on = _mm256_cmpeq_epi32(_mm256_and_si256(_mm256_set1_epi32(int(set)), lane), lane);
    return _mm256_and_si256(on, _mm256_set1_epi32(value));
  }
  // table[index], of sixteen (64-byte aligned) floats; index 0-15.
  static F lookup(const float* table, I index) {
    const F low = _mm256_permutevar8x32_ps(_mm256_load_ps(table), index);
    const F high = _mm256_permutevar8x32_ps(_mm256_load_ps(table + 8), index);
    return _mm256_blendv_ps(low, high, _mm256_castsi256_ps(_mm256_slli_epi32(index, 28)));
  }
  // The nibbles of 4 bytes, the high one first.
  static I nibble_pairs(const uint8_t* p) {
    int32_t four;
    __builtin_memcpy(&four, p, 4);
    const __m128i twice =
        _mm_shuffle_epi8(_mm_cvtsi32_si128(four), _mm_setr_epi8(0, 0, 1, 1, 2, 2, 3, 3, 0, 0, 0, 0, 0, 0, 0, 0));
    return bit_and(_mm256_srlv_epi32(_mm256_cvtepu8_epi32(twice), _mm256_setr_epi32(4, 0, 4, 0, 4, 0, 4, 0)), 15);
  }

  static F round_bf16(F v) {
    const I u = bits(v), even = _mm256_and_si256(_mm256_srli_epi32(u, 16), _mm256_set1_epi32(1));
    const I rounded = _mm256_add_epi32(_mm256_add_epi32(u, _mm256_set1_epi32(0x7fff)), even);
    const I quiet = _mm256_or_si256(u, _mm256_set1_epi32(1 << 22));
    const I kept = _mm256_blendv_epi8(rounded, quiet, bits(_mm256_cmp_ps(v, v, _CMP_UNORD_Q)));
    return _mm256_castsi256_ps(_mm256_and_si256(kept, _mm256_set1_epi32(int(0xffff0000))));
  }
  static void store_bf16(uint16_t* p, F v, F w) {
    const I a = _mm256_srli_epi32(bits(round_bf16(v)), 16), b = _mm256_srli_epi32(bits(round_bf16(w)), 16);
    _mm256_storeu_si256(reinterpret_cast<I*>(p), _mm256_permute4x64_epi64(_mm256_packus_epi32(a, b), 0b11011000));
  }

  // 8 × 8: riffle the rows three times, row i into row i + 4; unpacking riffles within halves of a register, so that the halves are
  // put together first.
  static void transpose(I* r) {
    I t[8];
    unroll<4>([&](auto i) __attribute__((always_inline)) {
      t[i] = _mm256_permute2x128_si256(r[i], r[i + 4], 0x20);      // left halves of rows i and i + 4
      t[i + 4] = _mm256_permute2x128_si256(r[i], r[i + 4], 0x31);  // right halves
    });
    unroll<2>([&](auto h) __attribute__((always_inline)) {
      constexpr int o = 4 * h;
      const I a = _mm256_unpacklo_epi32(t[o], t[o + 1]), b = _mm256_unpackhi_epi32(t[o], t[o + 1]);
      const I c = _mm256_unpacklo_epi32(t[o + 2], t[o + 3]), d = _mm256_unpackhi_epi32(t[o + 2], t[o + 3]);
      r[o] = _mm256_unpacklo_epi64(a, c), r[o + 1] = _mm256_unpackhi_epi64(a, c);
      r[o + 2] = _mm256_unpacklo_epi64(b, d), r[o + 3] = _mm256_unpackhi_epi64(b, d);
    });
  }

 private:
  static F widen(__m128i v) { return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(v), 16)); }
};

}  // namespace sedum::SEDUM_ISA_NAMESPACE
