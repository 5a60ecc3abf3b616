#pragma once
// Models out of the program, in the forms that others load.

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "compute/autograd/variable.h"
#include "model/checkpoint/checkpoint.h"

namespace sedum {

// A Hugging Face folder: config.json, model.safetensors (f32), tokenizer.json, tokenizer_config.json with the chat template.
// parameters: all of the model's tensors, named as in Hugging Face's files.
void write_folder(const std::filesystem::path& folder, const Checkpoint& like, const std::vector<Variable>& parameters);

// Gives a tensor of the model as f32, by Hugging Face name.
using TensorReader = std::function<std::vector<float>(const std::string& hf_name)>;
TensorReader stored_values(const Checkpoint& checkpoint);

// A GGUF file of the model's tensors: matrices as `type` (f32, f16, bf16, or a block type; where a row is no multiple of the block, f16), vectors
// as f32, tokenizer and template included. read: stored_values(), or what a merge computes.
void write_gguf(const std::filesystem::path& path, const Checkpoint& like, DType type, const TensorReader& read);
// The same as a Hugging Face folder with tensors of `type` f32, f16 or bf16.
void write_folder(const std::filesystem::path& folder, const Checkpoint& like, DType type, const TensorReader& read);

}  // namespace sedum
