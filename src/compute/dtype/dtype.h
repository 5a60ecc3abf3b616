#pragma once
// How numbers are stored: plain types and the block formats of GGUF and bitsandbytes.
//
//   row_bytes(DType::kQ4_0, 4096) == 2304            // 128 blocks of 18 bytes
//   decode(DType::kQ4_0, row, floats, 4096);         // exactly the values that the reference implementations give
//   encode(DType::kQ8_0, floats, row, 4096);
//
// decode and encode are the scalar codecs: specification and oracle of every packed or vectorised reader. Block layouts follow
// ggml's `ggml-common.h` (little endian); the K-quants are described in ggml pull request 1684.

#include <bit>
#include <cstdint>
#include <optional>
#include <string_view>

namespace sedum {

enum class DType : uint8_t {
  kF32,
  kF16,
  kBF16,
  kF64,
  kI8,
  kU8,
  kI32,
  kI64,
  kQ8_0,
  kQ4_0,
  kQ4_1,
  kQ5_0,
  kQ5_1,
  kQ4_K,
  kQ5_K,
  kQ6_K,
  kCount
};

struct DTypeInfo {
  const char* name;  // "f32", "q4_K" …: as the command line and the reports spell it
  int block;         // values in a block
  int block_bytes;
  bool quantised;  // several values share a scale
};

const DTypeInfo& info(DType dtype);
inline const char* name(DType dtype) { return info(dtype).name; }
std::optional<DType> dtype_from_name(std::string_view name);
size_t row_bytes(DType dtype, int64_t values);  // ApiError unless `values` is a multiple of the block

// bfloat16: the upper half of a float, rounded to nearest even; NaN stays NaN.
struct bf16 {
  uint16_t bits = 0;
  bf16() = default;
  explicit bf16(float value) {
    const uint32_t u = std::bit_cast<uint32_t>(value);
    bits = (u & 0x7fffffff) > 0x7f800000 ? uint16_t(u >> 16 | 64) : uint16_t((u + 0x7fff + (u >> 16 & 1)) >> 16);
  }
  explicit operator float() const { return std::bit_cast<float>(uint32_t(bits) << 16); }
};

// IEEE 754 binary16.
float f16_to_f32(uint16_t bits);
uint16_t f32_to_f16(float value);

// n must be a multiple of the block. decode: any floating or block type; encode: the types that have one right answer, K-quants
// by a search of our own.
void decode(DType dtype, const void* from, float* to, int64_t n);
void encode(DType dtype, const float* from, void* to, int64_t n);

template <class T>
struct dtype_of_type;
template <>
struct dtype_of_type<float> {
  static constexpr DType value = DType::kF32;
};
template <>
struct dtype_of_type<double> {
  static constexpr DType value = DType::kF64;
};
template <>
struct dtype_of_type<bf16> {
  static constexpr DType value = DType::kBF16;
};
template <>
struct dtype_of_type<int32_t> {
  static constexpr DType value = DType::kI32;
};
template <>
struct dtype_of_type<int64_t> {
  static constexpr DType value = DType::kI64;
};
template <>
struct dtype_of_type<int8_t> {
  static constexpr DType value = DType::kI8;
};
template <>
struct dtype_of_type<uint8_t> {
  static constexpr DType value = DType::kU8;
};
template <class T>
constexpr DType dtype_of = dtype_of_type<T>::value;

// What statistics and intermediate sums of a scalar type are kept in: f32, and f64 for double.
template <class T>
struct stat_type {
  using type = float;
};
template <>
struct stat_type<double> {
  using type = double;
};
template <class T>
using stat_t = typename stat_type<T>::type;

}  // namespace sedum
