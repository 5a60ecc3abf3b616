#pragma once
// Encoding K-quants with an importance matrix.
//
//   encode_k_quants(DType::kQ4_K, row, blocks, 4096, importance);   // importance: one value for each of the row's columns

#include <cstdint>

#include "compute/dtype/dtype.h"

namespace sedum {

inline bool is_k_quant(DType dtype) { return dtype == DType::kQ4_K || dtype == DType::kQ5_K || dtype == DType::kQ6_K; }

// Least squared error, each weighted by the importance of its column (n values, none negative; null: all alike).
void encode_k_quants(DType dtype, const float* from, void* to, int64_t n, const float* importance);

}  // namespace sedum
