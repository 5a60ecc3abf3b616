#pragma once
#include <string>
#include <vector>

#include "base/json.h"
#include "infer/engine.h"

namespace sedum {

struct ChatOptions {
  nlohmann::ordered_json tools = {};      // as OpenAI's API has them; null: none
  nlohmann::ordered_json variables = {};  // further ones of the template: enable_thinking …
};

// The text of a conversation by the engine's chat template. Error with the mend when the model has none.
std::string chat_text(const GenerationEngine& engine, const nlohmann::ordered_json& messages,
                      const ChatOptions& options = {});
// The token ids of a conversation by the engine's chat template, ending where the assistant begins.
std::vector<int32_t> chat_prompt(const GenerationEngine& engine, const nlohmann::ordered_json& messages);

}  // namespace sedum
