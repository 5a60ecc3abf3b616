#include "formats/ggml_types.h"

#include <algorithm>
#include <iterator>

#include "compute/dtype/more_dtypes.h"

// The tensor types of ggml (ggml.h, enum ggml_type; block sizes from ggml-common.h), those that Sedum reads and those that it
// can only name and measure.

namespace sedum {
namespace {

constexpr auto kNone = std::nullopt;
constexpr GgmlType kTypes[] = {
    {0, "F32", 1, 4, DType::kF32},        {1, "F16", 1, 2, DType::kF16},        {2, "Q4_0", 32, 18, DType::kQ4_0},
    {3, "Q4_1", 32, 20, DType::kQ4_1},    {6, "Q5_0", 32, 22, DType::kQ5_0},    {7, "Q5_1", 32, 24, DType::kQ5_1},
    {8, "Q8_0", 32, 34, DType::kQ8_0},    {9, "Q8_1", 32, 40, kNone},           {10, "Q2_K", 256, 84, kQ2_K},
    {11, "Q3_K", 256, 110, kQ3_K},        {12, "Q4_K", 256, 144, DType::kQ4_K}, {13, "Q5_K", 256, 176, DType::kQ5_K},
    {14, "Q6_K", 256, 210, DType::kQ6_K}, {15, "Q8_K", 256, 292, kNone},        {16, "IQ2_XXS", 256, 66, kNone},
    {17, "IQ2_XS", 256, 74, kNone},       {18, "IQ3_XXS", 256, 98, kNone},      {19, "IQ1_S", 256, 50, kNone},
    {20, "IQ4_NL", 32, 18, kIQ4_NL},      {21, "IQ3_S", 256, 110, kNone},       {22, "IQ2_S", 256, 82, kNone},
    {23, "IQ4_XS", 256, 136, kIQ4_XS},    {24, "I8", 1, 1, DType::kI8},         {25, "I16", 1, 2, kNone},
    {26, "I32", 1, 4, DType::kI32},       {27, "I64", 1, 8, DType::kI64},       {28, "F64", 1, 8, DType::kF64},
    {29, "IQ1_M", 256, 56, kNone},        {30, "BF16", 1, 2, DType::kBF16},     {34, "TQ1_0", 256, 54, kNone},
    {35, "TQ2_0", 256, 66, kNone},        {39, "MXFP4", 32, 17, kMXFP4},        {40, "NVFP4", 64, 36, kNone},
};

}  // namespace

const GgmlType* find_ggml_type(uint32_t id) {
  const auto type = std::find_if(std::begin(kTypes), std::end(kTypes), [&](const GgmlType& t) { return t.id == id; });
  return type == std::end(kTypes) ? nullptr : type;
}

std::string ggml_type_name(uint32_t type_id) {
  const GgmlType* type = find_ggml_type(type_id);
  return type ? type->name : "type " + std::to_string(type_id);
}

std::optional<DType> dtype_from_ggml(uint32_t type_id) {
  const GgmlType* type = find_ggml_type(type_id);
  return type ? type->dtype : std::nullopt;
}

std::optional<uint32_t> ggml_from_dtype(DType dtype) {
  for (const GgmlType& type : kTypes)
    if (type.dtype == dtype) return type.id;
  return std::nullopt;
}

}  // namespace sedum
