#include "serve/served_model.h"

#include <nlohmann/json.hpp>

#include "infer/chat.h"
#include "text/tokenizer.h"

namespace sedum::serve {
namespace {

std::vector<int32_t> encode_chat(const GenerationEngine& engine, const std::vector<openai::ChatMessage>& messages) {
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const openai::ChatMessage& message : messages)
    list.push_back({{"role", message.role}, {"content", message.content}});
  return chat_prompt(engine, list);
}

}  // namespace

ServedModel served_model(GenerationEngine& engine, std::string name) {
  ServedModel model;
  model.name = name.empty() ? engine.model_name() : std::move(name);
  model.engine = &engine;
  model.encode_chat = [&engine](const auto& messages) { return encode_chat(engine, messages); };
  model.encode_text = [&engine](std::string_view text) {
    return engine.tokenizer().encode(text, {.add_special = true});
  };
  model.decode = [&engine](std::span<const int32_t> ids) { return engine.tokenizer().decode(ids); };
  model.vocabulary = engine.tokenizer().vocab_size();
  return model;
}

}  // namespace sedum::serve
