#pragma once
// Folders in the forms that transformers loads: a quantiser's result for each linear layer, all else in f16. A folder that is there is
// replaced when all is written.
//
//   write_gptq_layer("parts/a.safetensors", "model.layers.0.mlp.up_proj", quantised);   // … for each of linear_layers()
//   write_gptq_folder("out", checkpoint, options, [&](const std::string& layer) { return "parts/" + layer + ".safetensors"; });
//   write_nf4_folder("out", checkpoint, runtime.pool);
//
// GPTQ: AutoGPTQ's layout (qweight, qzeros, scales, g_idx; checkpoint_format "gptq": zero points less one). NF4: bitsandbytes with
// double quantisation. int8: bitsandbytes' LLM.int8 (a scale for each row; outlier columns are found as activations pass, at 6.0).

#include <filesystem>
#include <functional>
#include <string>

#include "model/checkpoint/export.h"
#include "quant/gptq.h"

namespace sedum {

// The linear layers of a model, by name without ".weight": what is quantised. Embeddings, norms and the head are not.
std::vector<std::string> linear_layers(const Checkpoint& checkpoint);

// Error when a layer's sides are no multiples of the integers in a word (8 for 4 bits).
void check_gptq_shape(const std::string& layer, const Shape& shape, const GptqOptions& options);
// Changes a tensor that is not quantised, or the scales of one that is, before it is written: norms and rows that take over a scaling.
using TensorAdjuster = std::function<void(const std::string& name, std::vector<float>& values)>;
// One layer's four tensors in a file of their own, and a folder of the files of all layers.
void write_gptq_layer(const std::filesystem::path& path, const std::string& layer, const GroupQuantised& quantised);
void write_gptq_folder(const std::filesystem::path& folder, const Checkpoint& checkpoint, const GptqOptions& options,
                       const std::function<std::filesystem::path(const std::string& layer)>& part_of,
                       const TensorAdjuster& adjust = nullptr, uint64_t max_shard_bytes = kMaxShardBytes);
struct FolderOptions {
  TensorReader read = nullptr;  // the values to quantise, where they are not as stored: what a merge computes
  uint64_t max_shard_bytes = kMaxShardBytes;
};
void write_nf4_folder(const std::filesystem::path& folder, const Checkpoint& checkpoint, ThreadPool& pool,
                      const FolderOptions& options = {});
void write_int8_folder(const std::filesystem::path& folder, const Checkpoint& checkpoint,
                       const FolderOptions& options = {});

}  // namespace sedum
