#pragma once
// NumPy's .npy files: one array, read by mapping, written whole or piece by piece.
//
//   NpyArray ids = read_npy("batches.npy");
//   if (ids.dtype == DType::kI32) for (int32_t id : ids.values<int32_t>()) ...
//   write_npy("logits.npy", DType::kF32, {batch, seq, vocab}, [&](const ByteSink& sink) { ... });
//
// Versions 1 to 3, little endian, C order; f2 f4 f8 i1 u1 i4 i8 and bool (which reads as u8). Specification:
// numpy.lib.format.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "formats/tensor_source.h"

namespace sedum {

struct NpyArray {
  DType dtype = DType::kF32;
  bool is_bool = false;
  std::vector<int64_t> shape;  // () for a single number
  const void* data = nullptr;  // aligned
  size_t bytes = 0;
  std::shared_ptr<const void> owner;

  // ApiError unless T is the type of the array.
  template <class T>
  std::span<const T> values() const {
    check_type(dtype_of<T>);
    return {static_cast<const T*>(data), bytes / sizeof(T)};
  }

 private:
  void check_type(DType wanted) const;
};

NpyArray read_npy(const std::filesystem::path& path);
// From memory; `bytes` must stay as long as `owner` does.
NpyArray parse_npy(std::span<const std::byte> bytes, const std::string& label, std::shared_ptr<const void> owner);

void write_npy(const std::filesystem::path& path, DType dtype, std::vector<int64_t> shape, TensorProducer data);
void write_npy(const std::filesystem::path& path, DType dtype, std::vector<int64_t> shape, const void* data);
void write_npy_bool(const std::filesystem::path& path, std::vector<int64_t> shape,
                    const uint8_t* data);  // zeros and ones

}  // namespace sedum
