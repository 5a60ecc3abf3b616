#pragma once
// Which type each tensor of a GGUF file gets: llama.cpp's mixtures.
//
//   GgufMixture mixture = gguf_mixture("q4_K_M", config);            // Error for a name that is not known
//   mixture.type_of("blk.0.ffn_down.weight", {576, 1536});           // DType::kQ6_K: this one gets more bits
//   mixture.file_type;                                               // 15, for general.file_type
//
// The rules are those of llama.cpp's llama-quant.cpp: the output layer (and the embedding, where it serves as one) in Q6_K; "M" mixtures
// keep attn_v and ffn_down of an eighth of the layers at either end, and of every third between, in Q6_K; a row that is no multiple of
// the block falls back: Q4_K → Q5_0, Q5_K → Q5_1, Q6_K → Q8_0, and where 32 does not divide it either F16.

#include <cstdint>
#include <string>
#include <vector>

#include "compute/dtype/dtype.h"
#include "compute/tensor/shape.h"
#include "model/config.h"

namespace sedum {

struct GgufMixture {
  std::string name;
  DType type = DType::kF16;
  uint32_t file_type = 1;
  int64_t layers = 0;
  bool tied = false;
  bool more_bits = false;       // an "M" mixture
  bool few_more = false;        // an "S" mixture: Q5_K for the first layers
  bool has_importance = false;  // with an importance matrix Q4_0 and Q5_0 give the first ffn_down a minimum
  DType type_of(const std::string& gguf_name, const Shape& shape) const;
};

GgufMixture gguf_mixture(const std::string& name, const ModelConfig& config);
const std::vector<std::string>& gguf_mixture_names();

}  // namespace sedum
