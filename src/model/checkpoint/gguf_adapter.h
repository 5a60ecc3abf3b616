#pragma once
// A LoRA adapter as llama.cpp loads it (`--lora adapter.gguf`).
//
//   write_gguf_adapter("adapter.gguf", base_checkpoint, read_adapter("runs/mine/adapter", arena));
//
// Metadata: general.type "adapter", adapter.type "lora", adapter.lora.alpha; for each layer NAME.lora_a (r, in) and NAME.lora_b
// (out, r) in f32. Rows of B that belong to q and k of a llama model are interleaved, as those of its weights are. Experts of a layer stand
// in one pair, (experts, r, in) and (experts, out, r), with zeros for those that the adapter has not.

#include <filesystem>

#include "model/adapters/peft.h"
#include "model/checkpoint/checkpoint.h"

namespace sedum {

// Error when the adapter holds more than low-rank pairs (DoRA, saved modules, biases), or names a layer that the model has not.
void write_gguf_adapter(const std::filesystem::path& path, const Checkpoint& base, const StoredAdapter& adapter);

}  // namespace sedum
