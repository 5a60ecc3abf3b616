#pragma once
// Models out of the program, in the forms that others load.

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "base/thread_pool.h"
#include "compute/autograd/variable.h"
#include "formats/safetensors.h"
#include "model/checkpoint/checkpoint.h"
#include "model/checkpoint/mixture.h"

namespace sedum {

// A Hugging Face folder: config.json, model.safetensors (f32), tokenizer.json, tokenizer_config.json with the chat template.
// parameters: all of the model's tensors, named as in Hugging Face's files.
void write_folder(const std::filesystem::path& folder, const Checkpoint& like, const std::vector<Variable>& parameters);

// Gives a tensor of the model as f32, by Hugging Face name.
using TensorReader = std::function<std::vector<float>(const std::string& hf_name)>;
TensorReader stored_values(const Checkpoint& checkpoint);

// Importance of a tensor's columns, by GGUF name: as many values as a row has, or null where there are none.
using ImportanceReader = std::function<const std::vector<float>*(const std::string& gguf_name)>;

// A GGUF file of the model's tensors, each of the type that the mixture says, tokenizer and template included. read: stored_values(),
// or what a merge computes. The same bits for any number of threads.
void write_gguf(const std::filesystem::path& path, const Checkpoint& like, const GgufMixture& mixture,
                const TensorReader& read, ThreadPool& pool, const ImportanceReader& importance = nullptr);
// The mixture named after `type`, on one thread.
void write_gguf(const std::filesystem::path& path, const Checkpoint& like, DType type, const TensorReader& read);
// The same as a Hugging Face folder with tensors of `type` f32, f16 or bf16. A folder that is there is replaced when all is written.
void write_folder(const std::filesystem::path& folder, const Checkpoint& like, DType type, const TensorReader& read,
                  uint64_t max_shard_bytes = kMaxShardBytes);

// What stands beside the weights of a folder: config.json, with `quantization_config` (JSON) if that is not empty, tokenizer.json and
// tokenizer_config.json. torch_dtype: "float32", "float16", "bfloat16".
void write_folder_description(const std::filesystem::path& folder, const Checkpoint& like, const char* torch_dtype,
                              const std::string& quantization_config = "");

}  // namespace sedum
