#pragma once
// Where an adapter begins, by PEFT's init_lora_weights; some change the base under it, so that base and adapter together begin as the
// model was.
//
//   const LoraStart start = lora_start(pool, config, "model.layers.0.mlp.up_proj", weights, rows, cols, seed);
//
// | init_lora_weights | A (r,in), B (out,r); s = lora_alpha / r | base |
// |---|---|---|
// | true, gaussian, false | uniform and 0; normal and 0; both uniform | W |
// | orthogonal | random with B·A = 0: halves of one orthogonal matrix | W |
// | pissa, pissa_niter_N | √(Σ/s)·Vᵀ and U·√(Σ/s) of the r largest singular values; by N random iterations | W − s·B·A |
// | olora | R and Q of W = Q·R, their first r rows and columns | W − s·B·A |
// | loftq | of what NF4 leaves of W, √Σ·Vᵀ and U·√Σ; loftq_iter times, each time of W less the adapter | NF4 |
//
// Meng et al.: "PiSSA", 2024; Büyükakyüz: "OLoRA", 2024; Li et al.: "LoftQ", 2023.

#include <string>
#include <vector>

#include "base/thread_pool.h"
#include "compute/dtype/nf4.h"
#include "model/adapters/lora_config.h"

namespace sedum {

struct LoraStart {
  std::vector<float> a, b;  // (r,in), (out,r)
  std::vector<float> base;  // (out,in); empty: W as it is
};

// w (out,in) by rows; only read by what depends on it. Error where the layer is too small for the rank.
LoraStart lora_start(ThreadPool& pool, const LoraConfig& config, const std::string& name, const float* w, int64_t out,
                     int64_t in, uint64_t seed);

// NF4 whose scales stay f32: PEFT's LoftQ does not quantise them again (bitsandbytes' compress_statistics=False). A multiple of 64 values.
void as_nf4(ThreadPool& pool, const std::vector<float>& values, BlockNF4* to);

}  // namespace sedum
