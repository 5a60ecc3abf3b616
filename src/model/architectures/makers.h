#pragma once
// One maker for each file of this folder: what build_model() chooses among.

#include "model/causal_model.h"

namespace sedum {

std::unique_ptr<CausalModel> make_gemma2(const ModelConfig& config, LayerFactory& factory);
std::unique_ptr<CausalModel> make_gemma3(const ModelConfig& config, LayerFactory& factory);
std::unique_ptr<CausalModel> make_gpt2(const ModelConfig& config, LayerFactory& factory);
std::unique_ptr<CausalModel> make_phi3(const ModelConfig& config, LayerFactory& factory);
std::unique_ptr<CausalModel> make_qwen3(const ModelConfig& config, LayerFactory& factory);
std::unique_ptr<CausalModel> make_smollm3(const ModelConfig& config, LayerFactory& factory);

}  // namespace sedum
