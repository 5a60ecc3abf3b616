#pragma once
// A model under the name that requests call it by.
//
//   ServedModel model = served_model(engine);   // tokenizer and template are the engine's own

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "infer/engine.h"
#include "serve/openai/request.h"

namespace sedum::serve {

struct ServedModel {
  std::string name;
  GenerationEngine* engine;  // outlives the server
  std::function<std::vector<int32_t>(const std::vector<openai::ChatMessage>&)>
      encode_chat;  // throws Error: the template refuses
  std::function<std::vector<int32_t>(std::string_view)> encode_text;
  std::function<std::string(std::span<const int32_t>)> decode;
  int vocabulary = 0;
};

ServedModel served_model(GenerationEngine& engine, std::string name = "");  // "": the engine's name

}  // namespace sedum::serve
