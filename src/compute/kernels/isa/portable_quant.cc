// The int8 product in plain C++: registers are arrays of 16 lanes.
#include <cmath>
#include <cstring>
#include <utility>

#include "compute/kernels/generic/quantised.h"
#include "compute/kernels/quantised_panel.h"
#include "compute/kernels/ref/quantised.h"

namespace sedum {
namespace {

struct QuantisedPortable {
  static constexpr int kLanes = 16, kRows = 2, kTogether = 1;
  static constexpr bool kHasSigns = false, kSumsIn16Bits = false, kWidens = false;
  struct I {  // 64 bytes of a line, or 16 sums
    union {
      uint8_t bytes[64];
      int32_t sums[16];
    };
  };
  struct F {
    float f[16];
  };

  template <class Of>
  static SEDUM_INLINE F floats(Of of) {
    F x;
    for (int i = 0; i < 16; ++i) x.f[i] = of(i);
    return x;
  }
  template <class Of>
  static SEDUM_INLINE I integers(Of of) {
    I x;
    for (int i = 0; i < 16; ++i) x.sums[i] = of(i);
    return x;
  }
  static SEDUM_INLINE I load(const uint8_t* p) {
    I x;
    std::memcpy(x.bytes, p, 64);
    return x;
  }
  template <bool kHigh>
  static SEDUM_INLINE I nibbles(I x) {
    for (uint8_t& byte : x.bytes) byte = kHigh ? byte >> 4 : byte & 15;
    return x;
  }
  template <int kShift, int kMask>
  static SEDUM_INLINE I merge_bits(I bits, I q) {
    for (int i = 0; i < 64; ++i)
      q.bytes[i] |= (kShift > 0 ? bits.bytes[i] << (kShift & 7) : bits.bytes[i] >> (-kShift & 7)) & kMask;
    return q;
  }
  static SEDUM_INLINE F halves(const uint8_t* p) {
    return floats([&](int i) { return f16_to_f32(uint16_t(p[2 * i] | p[2 * i + 1] << 8)); });
  }
  static SEDUM_INLINE F signed_bytes(const uint8_t* p) {
    return floats([&](int i) { return float(int8_t(p[i])); });
  }
  static SEDUM_INLINE F unsigned_bytes(const uint8_t* p) {
    return floats([&](int i) { return float(p[i]); });
  }
  static SEDUM_INLINE F zero() { return F{}; }
  static SEDUM_INLINE F broadcast(float x) {
    return floats([&](int) { return x; });
  }
  static SEDUM_INLINE F multiply(const F& a, const F& b) {
    return floats([&](int i) { return a.f[i] * b.f[i]; });
  }
  static SEDUM_INLINE F fma(const F& a, const F& b, const F& c) {
    return floats([&](int i) { return std::fma(a.f[i], b.f[i], c.f[i]); });
  }
  static SEDUM_INLINE F to_float(const I& x) {
    return floats([&](int i) { return float(x.sums[i]); });
  }
  static SEDUM_INLINE void store(float* p, const F& x) { std::memcpy(p, x.f, sizeof x.f); }
  static SEDUM_INLINE I zero_integers() {
    return integers([](int) { return 0; });
  }
  template <int kShift>
  static SEDUM_INLINE I shifted(int32_t x) {
    return integers([&](int) { return x * (1 << kShift); });
  }
  template <int kTop, int kFirst, int kCount, int R, class Line>
  static SEDUM_INLINE void dots(I (&dot)[R][1], Line line, const uint8_t* quads) {
    unroll<kCount>([&](auto i) SEDUM_INLINE {
      constexpr int g = kFirst + decltype(i)::value;
      const I w = line(std::integral_constant<int, g>{}, std::integral_constant<int, 0>{});
      for (int r = 0; r < R; ++r) {
        const int8_t* const x = reinterpret_cast<const int8_t*>(quads) + (g * R + r) * 4;
        for (int c = 0; c < 16; ++c)
          for (int j = 0; j < 4; ++j) dot[r][0].sums[c] += w.bytes[4 * c + j] * x[j];
      }
    });
  }

  static float value(const float* p) { return *p; }
  static float value(const uint16_t* p) { return __builtin_bit_cast(float, uint32_t(*p) << 16); }
  template <class T>
  static void quantise(const T* a, const T* b, const T* c, const T* d, const FourBlocks& to) {
    const T* const blocks[4] = {a, b, c, d};
    for (int i = 0; i < 4; ++i) {
      float x[32];
      for (int j = 0; j < 32; ++j) x[j] = value(blocks[i] + j);
      const ref::QuantisedBlock block = ref::quantise_block(x);
      int first = 0, second = 0;
      for (int j = 0; j < 16; ++j) first += block.q[j], second += block.q[j + 16];
      to.heads[i] = {block.scale, block.scale * float(first + second), -(first + second), -first, -second};
      for (int g = 0; g < 8; ++g) std::memcpy(to.quads + size_t(g) * to.stride + 4 * i, block.q + 4 * g, 4);
    }
  }
};

}  // namespace

const QuantisedKernels kQuantisedPortable = quantised_kernels<QuantisedPortable>();

}  // namespace sedum
