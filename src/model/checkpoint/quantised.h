#pragma once
// Quantised weights as Hugging Face folders hold them, one matrix as several tensors: bitsandbytes NF4 and int8, GPTQ, AWQ.
//
//   QuantisedFormat format = read_quantisation(config_json, where);   // config.json's quantization_config; kNone without one
//   std::shared_ptr<const TensorSource> whole = assembled(open_tensors(folder), format);
//   whole->get("model.layers.0.mlp.up_proj.weight");                  // one matrix again
//
// What comes back: NF4 in blocks of 64 keeps its bits (kNF4); GPTQ and AWQ of 4 bits whose zero points are all 8 and whose groups
// are multiples of 32 columns in order become Q4_0, and 8 bits with zero points 128 Q8_0, with the same values; all else is decoded to
// f32. GPTQ: AutoGPTQ's layout, zero points stored less one ("gptq") or as they are ("gptq_v2"). AWQ: AutoAWQ's "gemm".

#include <filesystem>
#include <memory>
#include <string>

#include <nlohmann/json_fwd.hpp>

#include "compute/tensor/tensor.h"
#include "formats/tensor_source.h"

namespace sedum {

struct QuantisedFormat {
  enum class Method { kNone, kBitsandbytes, kGptq, kAwq } method = Method::kNone;
  int bits = 4;
  int64_t group_size = 128;  // −1: one group for all columns
  bool zeros_less_one = true;
  float int8_outliers = 0;  // bitsandbytes int8: llm_int8_threshold (kernels/outliers.h)
};

// Error for a method that is not known.
QuantisedFormat read_quantisation(const nlohmann::json& config, const std::string& where);
// The same of a folder that may have no config.json.
QuantisedFormat read_quantisation(const std::filesystem::path& folder);
// Whether `name` (that of the matrix, ".weight" at its end) is there in parts.
bool has_quantised(const TensorSource& source, const std::string& name);
Tensor read_quantised(const TensorSource& source, const std::string& name, const QuantisedFormat& format);

// The source itself where nothing in it is quantised; else one that puts matrices together when they are asked for, once each.
std::shared_ptr<const TensorSource> assembled(std::unique_ptr<TensorSource> source, const QuantisedFormat& format);

}  // namespace sedum
