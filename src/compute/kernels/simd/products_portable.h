#pragma once
// Four lanes by the compiler's vector extension, tiles of 4 × 8: any processor, at what its baseline gives (SSE2, NEON).

namespace sedum::SEDUM_ISA_NAMESPACE {

struct Simd {
  using F = float __attribute__((vector_size(16)));
  using I = int32_t __attribute__((vector_size(16)));
  static constexpr int lanes = 4, rows = 4;

  static F zero() { return F{}; }
  static F set1(float x) { return F{x, x, x, x}; }
  static F load(const float* p) { return copy<F>(p); }
  static void store(float* p, F v) { __builtin_memcpy(p, &v, sizeof v); }
  static F load_some(const float* p, int64_t n) {
    F v{};
    __builtin_memcpy(&v, p, size_t(n < 4 ? n : 4) * 4);
    return v;
  }
  static F load_bf16(const uint16_t* p) { return F(I{p[0], p[1], p[2], p[3]} << 16); }
  static F load_bf16_some(const uint16_t* p, int64_t n) {
    uint16_t some[4] = {};
    __builtin_memcpy(some, p, size_t(n < 4 ? n : 4) * 2);
    return load_bf16(some);
  }
  static F load_f16(const uint16_t* p) { return F{half(p[0]), half(p[1]), half(p[2]), half(p[3])}; }
  static float half(uint16_t bits) { return f16_to_f32(bits); }
  static F round_f16(F v) {
    for (int i = 0; i < 4; ++i) v[i] = f16_to_f32(f32_to_f16(v[i]));
    return v;
  }
  static F multiply(F a, F b) { return a * b; }
  static F multiply_add(F a, F b, F c) { return a * b + c; }

  static I bits(F v) { return I(v); }
  static void store_bits(float* p, I v) { __builtin_memcpy(p, &v, sizeof v); }
  static I load_u8(const uint8_t* p) { return I{p[0], p[1], p[2], p[3]}; }
  static I load_i8(const int8_t* p) { return I{p[0], p[1], p[2], p[3]}; }
  static F to_float(I v) { return __builtin_convertvector(v, F); }
  static I bit_and(I v, int mask) { return v & mask; }
  static I bit_or(I a, I b) { return a | b; }
  static I subtract(I v, int n) { return v - n; }
  static I shift_right(I v, int n) { return v >> n; }  // of what is not negative
  static I shift_left(I v, int n) { return v << n; }
  // `value` in the lanes whose bit is set.
  static I spread_bits(uint32_t set, int value) {
    const I lane{1, 2, 4, 8};
    return ((I{} + int(set)) & lane) == lane ? I{} + value : I{};
  }
  // table[index], of sixteen floats; index 0-15.
  static F lookup(const float* table, I index) {
    return F{table[index[0]], table[index[1]], table[index[2]], table[index[3]]};
  }
  // The nibbles of 2 bytes, the high one first.
  static I nibble_pairs(const uint8_t* p) { return I{p[0] >> 4, p[0] & 15, p[1] >> 4, p[1] & 15}; }

  static F round_bf16(F v) { return F{round(v[0]), round(v[1]), round(v[2]), round(v[3])}; }
  static void store_bf16(uint16_t* p, F v, F w) {
    for (int i = 0; i < 4; ++i) p[i] = bf16(v[i]).bits, p[i + 4] = bf16(w[i]).bits;
  }
  static void transpose(I* r) {
    const I a = __builtin_shuffle(r[0], r[1], I{0, 4, 1, 5}), b = __builtin_shuffle(r[0], r[1], I{2, 6, 3, 7});
    const I c = __builtin_shuffle(r[2], r[3], I{0, 4, 1, 5}), d = __builtin_shuffle(r[2], r[3], I{2, 6, 3, 7});
    r[0] = __builtin_shuffle(a, c, I{0, 1, 4, 5}), r[1] = __builtin_shuffle(a, c, I{2, 3, 6, 7});
    r[2] = __builtin_shuffle(b, d, I{0, 1, 4, 5}), r[3] = __builtin_shuffle(b, d, I{2, 3, 6, 7});
  }

 private:
  template <class V>
  static V copy(const void* p) {
    V v;
    __builtin_memcpy(&v, p, sizeof v);
    return v;
  }
  static float round(float x) { return float(bf16(x)); }
};

}  // namespace sedum::SEDUM_ISA_NAMESPACE
