#include "compute/dtype/dtype.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>

#include "base/error.h"
#include "compute/dtype/blocks.h"
#include "compute/dtype/nf4.h"
#include "compute/dtype/table_blocks.h"

namespace sedum {
namespace {

constexpr DTypeInfo kInfo[] = {
    {"f32", 1, 4, false},    {"f16", 1, 2, false},     {"bf16", 1, 2, false},    {"f64", 1, 8, false},
    {"i8", 1, 1, false},     {"u8", 1, 1, false},      {"i32", 1, 4, false},     {"i64", 1, 8, false},
    {"q8_0", 32, 34, true},  {"q4_0", 32, 18, true},   {"q4_1", 32, 20, true},   {"q5_0", 32, 22, true},
    {"q5_1", 32, 24, true},  {"q4_K", 256, 144, true}, {"q5_K", 256, 176, true}, {"q6_K", 256, 210, true},
    {"q2_K", 256, 84, true}, {"q3_K", 256, 110, true}, {"iq4_nl", 32, 18, true}, {"iq4_xs", 256, 136, true},
    {"mxfp4", 32, 17, true}, {"nf4", 64, 36, true},
};
static_assert(std::size(kInfo) == size_t(kDTypes));

char lower(char c) { return c >= 'A' && c <= 'Z' ? char(c - 'A' + 'a') : c; }

template <class B>
void decode_blocks(const B* block, float* to, int64_t n) {
  for (const B* const end = block + n / B::kValues; block < end; ++block) {
    uint8_t q[B::kValues];
    block->quants(q);
    for (int b = 0; b < B::kValues / B::kSub; ++b, to += B::kSub) {
      const float scale = block->scale(b);
      const uint8_t* const sub = q + b * B::kSub;
      if constexpr (B::kHasMinimum) {
        const float minimum = block->minimum(b);
        for (int i = 0; i < B::kSub; ++i) to[i] = scale * float(sub[i]) + minimum;
      } else {
        for (int i = 0; i < B::kSub; ++i) to[i] = scale * float(int(sub[i]) - B::kZero);
      }
    }
  }
}

// Truncates into [0, top]; NaN gives 0, so that no value reaches an undefined conversion.
uint8_t truncate(float value, int top) { return value > 0 ? uint8_t(value < float(top) ? int(value) : top) : 0; }

// The value of largest magnitude, the first of equals, becomes −half: the end of the range that has one value more.
template <class B>
void encode_symmetric(const float* x, B* block) {
  constexpr int half = B::kZero;
  float top = x[0];
  for (int i = 1; i < B::kValues; ++i)
    if (std::abs(x[i]) > std::abs(top)) top = x[i];
  const float d = top / float(-half), inverse = d == 0 ? 0 : 1 / d;
  uint8_t q[B::kValues];
  for (int i = 0; i < B::kValues; ++i) q[i] = truncate(x[i] * inverse + (float(half) + 0.5f), 2 * half - 1);
  block->d.set(d), block->set_quants(q);
}

template <class B, int kTop>
void encode_affine(const float* x, B* block) {
  const auto [least, most] = std::minmax_element(x, x + B::kValues);
  const float d = (*most - *least) / float(kTop), inverse = d == 0 ? 0 : 1 / d;
  uint8_t q[B::kValues];
  for (int i = 0; i < B::kValues; ++i) q[i] = truncate((x[i] - *least) * inverse + 0.5f, kTop);
  block->d.set(d), block->m.set(*least), block->set_quants(q);
}

// Halves away from zero, as the reference does.
void encode_q8(const float* x, BlockQ8_0* block) {
  float top = 0;
  for (int i = 0; i < 32; ++i) top = std::max(top, std::abs(x[i]));
  const float d = top / 127, inverse = d == 0 ? 0 : 1 / d;
  for (int i = 0; i < 32; ++i) {
    const float q = std::round(x[i] * inverse);
    block->qs[i] = std::abs(q) <= 127 ? int8_t(q) : int8_t(q > 0 ? 127 : q < 0 ? -127 : 0);
  }
  block->d.set(d);
}

template <class B, class F>
void encode_blocks(const float* from, void* to, int64_t n, F encode_block) {
  B* block = static_cast<B*>(to);
  for (int64_t i = 0; i < n; i += B::kValues) encode_block(from + i, block++);
}

template <class To>
void store(const To& value, void* to, int64_t i) {
  std::memcpy(static_cast<char*>(to) + i * int64_t(sizeof value), &value, sizeof value);
}
template <class From>
From load(const void* from, int64_t i) {
  From value;
  std::memcpy(&value, static_cast<const char*>(from) + i * int64_t(sizeof value), sizeof value);
  return value;
}

void check_whole_blocks(const char* where, DType dtype, int64_t n) {
  const int block = info(dtype).block;
  if (n < 0 || n % block != 0)
    throw ApiError(where, std::to_string(n) + " values are not a whole number of blocks of " + std::to_string(block) +
                              " (" + name(dtype) + ")");
}

}  // namespace

const DTypeInfo& info(DType dtype) {
  SEDUM_CHECK(int(dtype) < kDTypes);
  return kInfo[int(dtype)];
}

std::optional<DType> dtype_from_name(std::string_view name) {
  for (int i = 0; i < kDTypes; ++i) {
    const std::string_view candidate = kInfo[i].name;
    if (std::equal(name.begin(), name.end(), candidate.begin(), candidate.end(),
                   [](char a, char b) { return lower(a) == lower(b); }))
      return DType(i);
  }
  return std::nullopt;
}

size_t row_bytes(DType dtype, int64_t values) {
  check_whole_blocks("row_bytes", dtype, values);
  return size_t(values / info(dtype).block) * size_t(info(dtype).block_bytes);
}

float f16_to_f32(uint16_t bits) {
  const uint32_t sign = uint32_t(bits & 0x8000) << 16, rest = uint32_t(bits & 0x7fff);
  if (rest >= 0x7c00) return std::bit_cast<float>(sign | 0x7f800000 | (rest & 0x3ff) << 13);
  if (rest >= 0x0400) return std::bit_cast<float>(sign | ((rest << 13) + ((127 - 15) << 23)));
  const float subnormal = float(rest) * 0x1p-24f;
  return std::bit_cast<float>(sign | std::bit_cast<uint32_t>(subnormal));
}

uint16_t f32_to_f16(float value) {
  const uint32_t u = std::bit_cast<uint32_t>(value);
  const uint16_t sign = uint16_t(u >> 16 & 0x8000);
  const uint32_t magnitude = u & 0x7fffffff;
  if (magnitude > 0x7f800000) return uint16_t(sign | 0x7e00 | (magnitude >> 13 & 0x1ff));
  if (magnitude >= 0x477ff000)
    return uint16_t(sign | 0x7c00);  // 65520: halfway above the largest half rounds to infinity
  if (magnitude <
      0x38800000) {  // below 2^-14: adding 0.5 leaves the multiple of 2^-24, rounded to nearest even, in the low bits
    const float shifted = std::bit_cast<float>(magnitude) + 0.5f;
    return uint16_t(sign | (std::bit_cast<uint32_t>(shifted) - std::bit_cast<uint32_t>(0.5f)));
  }
  const uint32_t rounded = magnitude + 0xfff + (magnitude >> 13 & 1);
  return uint16_t(sign | ((rounded - ((127 - 15) << 23)) >> 13));
}

void decode(DType dtype, const void* from, float* to, int64_t n) {
  check_whole_blocks("decode", dtype, n);
  if (n == 0) return;
  if (dtype == kNF4) return decode_nf4(static_cast<const BlockNF4*>(from), to, n);
  switch (dtype) {
    case DType::kF32:
      std::memcpy(to, from, size_t(n) * sizeof(float));
      return;
    case DType::kF64:
      for (int64_t i = 0; i < n; ++i) to[i] = float(load<double>(from, i));
      return;
    case DType::kF16:
      for (int64_t i = 0; i < n; ++i) to[i] = f16_to_f32(load<uint16_t>(from, i));
      return;
    case DType::kBF16:
      for (int64_t i = 0; i < n; ++i) to[i] = float(load<bf16>(from, i));
      return;
    default:
      break;
  }
  const bool known =
      with_stored_block_type(dtype, [&]<class B>(B*) { decode_blocks(static_cast<const B*>(from), to, n); });
  if (!known) throw ApiError("decode", std::string(name(dtype)) + " holds whole numbers");
}

void encode(DType dtype, const float* from, void* to, int64_t n) {
  check_whole_blocks("encode", dtype, n);
  if (n == 0) return;
  if (dtype == kNF4) return encode_nf4(from, static_cast<BlockNF4*>(to), n);
  switch (dtype) {
    case DType::kF32:
      std::memcpy(to, from, size_t(n) * sizeof(float));
      return;
    case DType::kF64:
      for (int64_t i = 0; i < n; ++i) store(double(from[i]), to, i);
      return;
    case DType::kF16:
      for (int64_t i = 0; i < n; ++i) store(f32_to_f16(from[i]), to, i);
      return;
    case DType::kBF16:
      for (int64_t i = 0; i < n; ++i) store(bf16(from[i]), to, i);
      return;
    case DType::kQ8_0:
      return encode_blocks<BlockQ8_0>(from, to, n, encode_q8);
    case DType::kQ4_0:
      return encode_blocks<BlockQ4_0>(from, to, n, encode_symmetric<BlockQ4_0>);
    case DType::kQ5_0:
      return encode_blocks<BlockQ5_0>(from, to, n, encode_symmetric<BlockQ5_0>);
    case DType::kQ4_1:
      return encode_blocks<BlockQ4_1>(from, to, n, encode_affine<BlockQ4_1, 15>);
    case DType::kQ5_1:
      return encode_blocks<BlockQ5_1>(from, to, n, encode_affine<BlockQ5_1, 31>);
    case DType::kQ4_K:
    case DType::kQ5_K:
    case DType::kQ6_K:
      return encode_k_quants(dtype, from, to, n);
    default:
      throw ApiError("encode", std::string("there is no encoder for ") + name(dtype));
  }
}

}  // namespace sedum
