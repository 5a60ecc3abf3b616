#pragma once
// ggml's numbers for the types of tensors.
//
//   ggml_type_name(12) == "Q4_K"; dtype_from_ggml(12) == DType::kQ4_K; ggml_type_name(77) == "type 77"

#include <cstdint>
#include <optional>
#include <string>

#include "compute/dtype/dtype.h"

namespace sedum {

struct GgmlType {
  uint32_t id;
  const char* name;
  int block, block_bytes;
  std::optional<DType> dtype;  // none: Sedum has no codec for it
};

const GgmlType* find_ggml_type(uint32_t id);  // nullptr: a number that ggml does not use, or not yet

std::string ggml_type_name(uint32_t type_id);
std::optional<DType> dtype_from_ggml(uint32_t type_id);
std::optional<uint32_t> ggml_from_dtype(DType dtype);  // nullopt: ggml has no such type (U8)

}  // namespace sedum
