#pragma once
// What a GGUF file says of a model: sizes, tokenizer, the divisors of its rotary frequencies, and which tensors it holds.
//
//   write_gguf_metadata(out, checkpoint, mixture.file_type);
//   for (const auto& [name, divisors] : gguf_divisors(checkpoint.config())) out.add(name, …);
//
// "llama.cpp" is its version 0.5.0 (llama-cpp-python 0.3.36), whose reading of every key written here was looked up in its sources and
// compared by tools/gguf_families_check.py.

#include <string>
#include <utility>
#include <vector>

#include "formats/gguf.h"
#include "model/checkpoint/checkpoint.h"

namespace sedum {

// Error where GGUF has no words for what changes results, or llama.cpp would load none of it.
void write_gguf_metadata(GgufWriter& out, const Checkpoint& like, uint32_t file_type);

// A tensor of the model's GGUF file and what it is made of: one of the model's own, or (stacked) a matrix of every expert of a layer.
struct GgufParts {
  std::string name;
  std::vector<std::string> parts;
  bool stacked = false;
};
std::vector<GgufParts> gguf_parts(const Checkpoint& like);

// The tensors that are no weights: rope_freqs.weight, or rope_factors_long.weight and rope_factors_short.weight.
std::vector<std::pair<std::string, std::vector<float>>> gguf_divisors(const ModelConfig& config);

// Where llama.cpp's answers part from this model's though its file says all: a sentence for the user; "" where nothing is known.
std::string gguf_limit(const ModelConfig& config);

// The model's name as GGUF holds it. llama.cpp looks up Phi-3's own tokens wherever it reads "phi3" or "phi-3", and loads no file that
// lacks them: "my-phi3-tune" becomes "my-phi 3-tune". Where the tokenizer is Phi-3's (gguf_tokenizer.h), the name says so.
std::string gguf_model_name(std::string name, bool phi3 = false);

}  // namespace sedum
