#include "formats/pending_tensor.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "base/error.h"

namespace sedum {

PendingTensor pending_tensor(const char* where, std::string name, DType dtype, std::vector<int64_t> shape,
                             TensorProducer data, const std::vector<PendingTensor>& others) {
  const auto bytes = stored_bytes(dtype, shape);
  if (!bytes) throw ApiError(where, fmt::format("{} {} is no shape for {}", name, shape_text(shape), info(dtype).name));
  if (std::any_of(others.begin(), others.end(), [&](const PendingTensor& t) { return t.name == name; }))
    throw ApiError(where, "two tensors are named " + name);
  return {std::move(name), dtype, std::move(shape), *bytes, std::move(data)};
}

void write_tensor(const char* where, AtomicFile& file, const PendingTensor& tensor) {
  uint64_t written = 0;
  tensor.data([&](const void* data, size_t bytes) {
    written += bytes;
    if (written <= tensor.bytes) file.write(data, bytes);
  });
  if (written != tensor.bytes)
    throw ApiError(where, fmt::format("{} needs {} bytes, its producer gave {}", tensor.name, tensor.bytes, written));
}

void write_zeros(AtomicFile& file, uint64_t count) { file.write(std::string(count, '\0')); }

}  // namespace sedum
