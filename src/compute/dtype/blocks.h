#pragma once
// The block formats of GGUF, as they lie in a file: a struct for each, all bytes, so that any address may be read.
//
//   const auto& block = *static_cast<const BlockQ4_0*>(row);
//   uint8_t q[32];
//   block.quants(q);                                  // stored values in order, unsigned
//   float w = block.scale(0) * (int(q[5]) - BlockQ4_0::kZero);
//
// A block holds kValues weights of kBits bits in sub-blocks of kSub; a weight is scale(sub) · (q − kZero), plus minimum(sub) where kHasMinimum.
// Layouts: ggml-common.h; K-quants: ggml pull request 1684.

#include <cstdint>
#include <cstring>

#include "compute/dtype/dtype.h"

namespace sedum {

// A binary16 in the file's (little-endian) order.
struct StoredHalf {
  uint8_t low, high;
  uint16_t bits() const { return uint16_t(low | high << 8); }
  float value() const { return f16_to_f32(bits()); }
  void set(float value) {
    const uint16_t half = f32_to_f16(value);
    low = uint8_t(half), high = uint8_t(half >> 8);
  }
};

namespace block {

// 16 bytes of nibbles: the first half of the values in the low nibbles, the second in the high ones.
inline void nibbles_to(const uint8_t* qs, int bytes, uint8_t* q) {
  for (int i = 0; i < bytes; ++i) q[i] = qs[i] & 15, q[i + bytes] = qs[i] >> 4;
}
// Bit i of 32 becomes bit 4 of q[i]. Eight at once: a byte is repeated, byte i keeps its bit i, and adding 127 carries it to bit 7.
// The scalar loop took three quarters of the time in which Q5_0 is repacked.
inline void fifth_bits_to(const uint8_t* qh, uint8_t* q) {
  for (int i = 0; i < 4; ++i) {
    const uint64_t chosen = qh[i] * 0x0101010101010101u & 0x8040201008040201u;
    uint64_t eight;
    std::memcpy(&eight, q + 8 * i, 8);
    eight |= (chosen + 0x7f7f7f7f7f7f7f7fu) >> 3 & 0x1010101010101010u;
    std::memcpy(q + 8 * i, &eight, 8);
  }
}
// The inverses. Both clear what was there.
inline void nibbles_from(const uint8_t* q, int bytes, uint8_t* qs) {
  for (int i = 0; i < bytes; ++i) qs[i] = uint8_t((q[i] & 15) | q[i + bytes] << 4);
}
inline void fifth_bits_from(const uint8_t* q, uint8_t* qh) {
  uint32_t bits = 0;
  for (int i = 0; i < 32; ++i) bits |= uint32_t(q[i] >> 4 & 1) << i;
  std::memcpy(qh, &bits, 4);
}

}  // namespace block

struct BlockQ8_0 {
  static constexpr DType kType = DType::kQ8_0;
  static constexpr int kValues = 32, kSub = 32, kZero = 128, kBits = 8;
  static constexpr bool kHasMinimum = false;
  StoredHalf d;
  int8_t qs[32];
  void quants(uint8_t* q) const {
    for (int i = 0; i < 32; ++i) q[i] = uint8_t(qs[i]) ^ 128;
  }
  float scale(int) const { return d.value(); }
};

struct BlockQ4_0 {
  static constexpr DType kType = DType::kQ4_0;
  static constexpr int kValues = 32, kSub = 32, kZero = 8, kBits = 4;
  static constexpr bool kHasMinimum = false;
  StoredHalf d;
  uint8_t qs[16];
  void quants(uint8_t* q) const { block::nibbles_to(qs, 16, q); }
  void set_quants(const uint8_t* q) { block::nibbles_from(q, 16, qs); }
  float scale(int) const { return d.value(); }
};

struct BlockQ4_1 {
  static constexpr DType kType = DType::kQ4_1;
  static constexpr int kValues = 32, kSub = 32, kZero = 0, kBits = 4;
  static constexpr bool kHasMinimum = true;
  StoredHalf d, m;
  uint8_t qs[16];
  void quants(uint8_t* q) const { block::nibbles_to(qs, 16, q); }
  void set_quants(const uint8_t* q) { block::nibbles_from(q, 16, qs); }
  float scale(int) const { return d.value(); }
  float minimum(int) const { return m.value(); }
};

struct BlockQ5_0 {
  static constexpr DType kType = DType::kQ5_0;
  static constexpr int kValues = 32, kSub = 32, kZero = 16, kBits = 5;
  static constexpr bool kHasMinimum = false;
  StoredHalf d;
  uint8_t qh[4], qs[16];
  void quants(uint8_t* q) const { block::nibbles_to(qs, 16, q), block::fifth_bits_to(qh, q); }
  void set_quants(const uint8_t* q) { block::nibbles_from(q, 16, qs), block::fifth_bits_from(q, qh); }
  float scale(int) const { return d.value(); }
};

struct BlockQ5_1 {
  static constexpr DType kType = DType::kQ5_1;
  static constexpr int kValues = 32, kSub = 32, kZero = 0, kBits = 5;
  static constexpr bool kHasMinimum = true;
  StoredHalf d, m;
  uint8_t qh[4], qs[16];
  void quants(uint8_t* q) const { block::nibbles_to(qs, 16, q), block::fifth_bits_to(qh, q); }
  void set_quants(const uint8_t* q) { block::nibbles_from(q, 16, qs), block::fifth_bits_from(q, qh); }
  float scale(int) const { return d.value(); }
  float minimum(int) const { return m.value(); }
};

// Eight scales and eight minima of 6 bits in 12 bytes: the first four of each whole in the low bits of bytes 0-3 and 4-7, the
// others with their low nibbles in bytes 8-11 and their upper two bits above the first ones.
struct PackedScales6 {
  uint8_t bytes[12];
  int scale(int b) const { return b < 4 ? bytes[b] & 63 : (bytes[b + 4] & 15) | (bytes[b - 4] >> 6) << 4; }
  int minimum(int b) const { return b < 4 ? bytes[b + 4] & 63 : bytes[b + 4] >> 4 | (bytes[b] >> 6) << 4; }
  void set(const uint8_t* scales, const uint8_t* minima) {
    for (int b = 0; b < 4; ++b) {
      bytes[b] = uint8_t(scales[b] | (scales[b + 4] >> 4) << 6);
      bytes[b + 4] = uint8_t(minima[b] | (minima[b + 4] >> 4) << 6);
      bytes[b + 8] = uint8_t((scales[b + 4] & 15) | (minima[b + 4] & 15) << 4);
    }
  }
};

struct BlockQ4_K {
  static constexpr DType kType = DType::kQ4_K;
  static constexpr int kValues = 256, kSub = 32, kZero = 0, kBits = 4;
  static constexpr bool kHasMinimum = true;
  StoredHalf d, dmin;
  PackedScales6 scales;
  uint8_t qs[128];
  void quants(uint8_t* q) const {
    for (int c = 0; c < 4; ++c) block::nibbles_to(qs + 32 * c, 32, q + 64 * c);
  }
  void set_quants(const uint8_t* q) {
    for (int c = 0; c < 4; ++c) block::nibbles_from(q + 64 * c, 32, qs + 32 * c);
  }
  float scale(int b) const { return d.value() * float(scales.scale(b)); }
  float minimum(int b) const { return -(dmin.value() * float(scales.minimum(b))); }
};

struct BlockQ5_K {
  static constexpr DType kType = DType::kQ5_K;
  static constexpr int kValues = 256, kSub = 32, kZero = 0, kBits = 5;
  static constexpr bool kHasMinimum = true;
  StoredHalf d, dmin;
  PackedScales6 scales;
  uint8_t qh[32], qs[128];
  void quants(uint8_t* q) const {
    for (int c = 0; c < 4; ++c) block::nibbles_to(qs + 32 * c, 32, q + 64 * c);
    for (int b = 0; b < 8; ++b)
      for (int i = 0; i < 32; ++i) q[32 * b + i] |= uint8_t((qh[i] >> b & 1) << 4);
  }
  void set_quants(const uint8_t* q) {
    for (int c = 0; c < 4; ++c) block::nibbles_from(q + 64 * c, 32, qs + 32 * c);
    std::memset(qh, 0, sizeof qh);
    for (int b = 0; b < 8; ++b)
      for (int i = 0; i < 32; ++i) qh[i] |= uint8_t((q[32 * b + i] >> 4 & 1) << b);
  }
  float scale(int b) const { return d.value() * float(scales.scale(b)); }
  float minimum(int b) const { return -(dmin.value() * float(scales.minimum(b))); }
};

struct BlockQ6_K {
  static constexpr DType kType = DType::kQ6_K;
  static constexpr int kValues = 256, kSub = 16, kZero = 32, kBits = 6;
  static constexpr bool kHasMinimum = false;
  uint8_t ql[128], qh[64];
  int8_t scales[16];
  StoredHalf d;
  void quants(uint8_t* q) const {
    for (int h = 0; h < 2; ++h) {
      block::nibbles_to(ql + 64 * h, 64, q + 128 * h);
      for (int b = 0; b < 4; ++b)
        for (int i = 0; i < 32; ++i) q[128 * h + 32 * b + i] |= uint8_t((qh[32 * h + i] >> 2 * b & 3) << 4);
    }
  }
  void set_quants(const uint8_t* q) {
    std::memset(qh, 0, sizeof qh);
    for (int h = 0; h < 2; ++h) {
      block::nibbles_from(q + 128 * h, 64, ql + 64 * h);
      for (int b = 0; b < 4; ++b)
        for (int i = 0; i < 32; ++i) qh[32 * h + i] |= uint8_t((q[128 * h + 32 * b + i] >> 4 & 3) << 2 * b);
    }
  }
  float scale(int b) const { return d.value() * float(scales[b]); }
};

static_assert(sizeof(BlockQ8_0) == 34 && sizeof(BlockQ4_0) == 18 && sizeof(BlockQ4_1) == 20 &&
              sizeof(BlockQ5_0) == 22 && sizeof(BlockQ5_1) == 24 && sizeof(BlockQ4_K) == 144 &&
              sizeof(BlockQ5_K) == 176 && sizeof(BlockQ6_K) == 210);

// Calls f with a (null) pointer of the block's type; false if `dtype` is no block format.
template <class F>
bool with_block_type(DType dtype, F&& f) {
  switch (dtype) {
    case DType::kQ8_0:
      f(static_cast<BlockQ8_0*>(nullptr));
      return true;
    case DType::kQ4_0:
      f(static_cast<BlockQ4_0*>(nullptr));
      return true;
    case DType::kQ4_1:
      f(static_cast<BlockQ4_1*>(nullptr));
      return true;
    case DType::kQ5_0:
      f(static_cast<BlockQ5_0*>(nullptr));
      return true;
    case DType::kQ5_1:
      f(static_cast<BlockQ5_1*>(nullptr));
      return true;
    case DType::kQ4_K:
      f(static_cast<BlockQ4_K*>(nullptr));
      return true;
    case DType::kQ5_K:
      f(static_cast<BlockQ5_K*>(nullptr));
      return true;
    case DType::kQ6_K:
      f(static_cast<BlockQ6_K*>(nullptr));
      return true;
    default:
      return false;
  }
}

// The search that encode() uses for K-quants: least squared error.
void encode_k_quants(DType dtype, const float* from, void* to, int64_t n);

}  // namespace sedum
