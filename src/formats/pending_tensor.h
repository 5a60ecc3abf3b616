#pragma once
// A tensor that a writer has promised and not yet written: both writers put names, shapes and sizes first, data after.

#include <cstdint>
#include <string>
#include <vector>

#include "base/file.h"
#include "formats/tensor_source.h"

namespace sedum {

struct PendingTensor {
  std::string name;
  DType dtype = DType::kF32;
  std::vector<int64_t> shape;
  uint64_t bytes = 0;
  TensorProducer data;
};

// ApiError when the shape does not fit the dtype, or the name is already among `others`. `where` names the writer.
PendingTensor pending_tensor(const char* where, std::string name, DType dtype, std::vector<int64_t> shape,
                             TensorProducer data, const std::vector<PendingTensor>& others);

// Runs the producer; ApiError unless it gives exactly `bytes`.
void write_tensor(const char* where, AtomicFile& file, const PendingTensor& tensor);
void write_zeros(AtomicFile& file, uint64_t count);

}  // namespace sedum
