#pragma once
// Tensors of a file by name, whatever the file: all that the model loader needs to know of a format.
//
//   std::unique_ptr<TensorSource> source = open_tensors("model.gguf");   // or .safetensors, an index, a folder
//   const StoredTensor* t = source->find("blk.0.ffn_up.weight");         // nullptr: the file has none of that name
//   decode(t->dtype, t->data, floats, t->shape[0] * t->shape[1]);
//
// The file is mapped: `data` points into it and stays valid while the source, or its owner(), lives.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "compute/dtype/dtype.h"

namespace sedum {

struct StoredTensor {
  std::string name;
  DType dtype = DType::kF32;
  std::vector<int64_t> shape;  // row major: outermost first, rows of shape.back() values
  const void* data = nullptr;  // aligned to the dtype's scalar
  size_t bytes = 0;
};

class TensorSource {
 public:
  virtual ~TensorSource() = default;
  virtual const std::vector<std::string>& names() const = 0;  // in the order of the file
  // Error when the tensor is there, but of a type that cannot be read.
  virtual const StoredTensor* find(std::string_view name) const = 0;
  virtual std::shared_ptr<const void> owner() const = 0;  // keeps every `data` alive
  virtual std::string where() const = 0;                  // the path, for messages
  // Lets mapped pages go, where there are any; what is read again comes back from the file.
  virtual void forget_pages() const {}

  const StoredTensor& get(std::string_view name) const;  // Error naming the nearest when there is none
};

std::unique_ptr<TensorSource> open_tensors(const std::filesystem::path& path);

// How the writers ask for a tensor's bytes, so that one tensor need not be in memory at once:
//   writer.add("x", DType::kF32, {rows, cols}, [&](const ByteSink& sink) { for (...) sink(row, bytes); });
using ByteSink = std::function<void(const void* data, size_t bytes)>;
using TensorProducer = std::function<void(const ByteSink& sink)>;
TensorProducer producer_of(const void* data, size_t bytes);  // the data must outlive the producer

std::string shape_text(const std::vector<int64_t>& shape);  // "(4, 8)"
std::string printable(
    std::string_view name);  // a name from a file, for a message: no control characters, at most 100 bytes

// Size of a tensor; nullopt when a size is negative, the last one is no multiple of the block, or the product overflows.
std::optional<uint64_t> stored_bytes(DType dtype, const std::vector<int64_t>& shape);

}  // namespace sedum
