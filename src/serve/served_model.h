#pragma once
// A model under the name that requests call it by: the one that was loaded, or one of its adapters.
//
//   ServedModel model = served_model(engine);                       // tokenizer and template are the engine's own
//   ServedModel poet = served_model(engine, "poet", "poet");        // its adapter

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "infer/engine.h"
#include "serve/openai/request.h"
#include "text/answer_parser.h"

namespace sedum::serve {

struct EncodedChat {
  std::string text;  // the rendered prompt
  std::vector<int32_t> ids;
};

struct ServedModel {
  std::string name, adapter = {};
  GenerationEngine* engine;                                                 // outlives the server
  std::function<EncodedChat(const openai::ChatRequest&)> encode_chat = {};  // throws Error: the template refuses
  std::function<std::vector<int32_t>(std::string_view, bool add_special)> encode_text = {};
  std::function<std::string(std::span<const int32_t>)> decode = {};
  std::function<std::string(int32_t)> token_text = {};
  AnswerSyntax syntax = {};  // how its answers write reasoning and calls
  int vocabulary = 0;
  int32_t first =
      -1;  // what a text that has no tokens goes on from: BOS or what ends texts in training; −1: there is none
};

ServedModel served_model(GenerationEngine& engine, std::string name = "",  // "": the engine's name
                         std::string adapter = "");

}  // namespace sedum::serve
