#pragma once
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "infer/engine.h"

namespace sedum {

// The token ids of a conversation by the engine's chat template, ending where the assistant begins. Error with the mend when the model has no
// template.
std::vector<int32_t> chat_prompt(const GenerationEngine& engine, const nlohmann::ordered_json& messages);

}  // namespace sedum
