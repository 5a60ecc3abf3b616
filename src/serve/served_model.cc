#include "serve/served_model.h"

#include "base/json.h"
#include "infer/chat.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace sedum::serve {
namespace {

using json = nlohmann::ordered_json;

// For templates that know no tools: said in words, in Hermes' form, which is what most models have seen.
json with_tools_in_words(json messages, const json& tools) {
  std::string text = "You may call functions to help with the user's request. They are, as JSON:\n<tools>\n";
  for (const json& tool : tools) text += tool["function"].dump() + "\n";
  text +=
      "</tools>\nTo call one, answer with a JSON object inside <tool_call></tool_call> and nothing else:\n"
      "<tool_call>\n{\"name\": <function-name>, \"arguments\": <arguments-object>}\n</tool_call>";
  if (messages.empty() || messages[0]["role"] != "system")
    messages.insert(messages.begin(), json{{"role", "system"}, {"content", text}});
  else
    messages[0]["content"] = messages[0]["content"].get<std::string>() + "\n\n" + text;
  for (json& message : messages) {  // calls and results that the template would drop
    if (message.contains("tool_calls")) {
      std::string content = message["content"].get<std::string>();
      for (const json& call : message["tool_calls"])
        content += "\n<tool_call>\n" + call["function"].dump() + "\n</tool_call>";
      message = {{"role", "assistant"}, {"content", content}};
    } else if (message["role"] == "tool") {
      message = {{"role", "user"},
                 {"content", "<tool_response>\n" + message["content"].get<std::string>() + "\n</tool_response>"}};
    }
  }
  return messages;
}

}  // namespace

ServedModel served_model(GenerationEngine& engine, std::string name, std::string adapter) {
  ServedModel model;
  model.name = name.empty() ? engine.model_name() : std::move(name);
  model.adapter = std::move(adapter);
  model.engine = &engine;
  if (engine.chat_template()) model.syntax = answer_syntax(engine.chat_template()->source());
  const bool knows_tools = model.syntax.tools != ToolSyntax::kNone;
  if (!knows_tools) model.syntax.tools = ToolSyntax::kHermes;
  model.encode_chat = [&engine, knows_tools](const openai::ChatRequest& chat) {
    const bool tools = !chat.tools.empty() && chat.tool_use != openai::ToolUse::kNone;
    ChatOptions options{.tools = {}, .variables = chat.variables};
    if (tools && knows_tools) options.tools = chat.tools;
    const std::string text = chat_text(
        engine, tools && !knows_tools ? with_tools_in_words(chat.messages, chat.tools) : chat.messages, options);
    return EncodedChat{text, engine.tokenizer().encode(text)};  // the template writes BOS itself
  };
  model.encode_text = [&engine](std::string_view text, bool add_special) {
    return engine.tokenizer().encode(text, {.add_special = add_special});
  };
  model.decode = [&engine](std::span<const int32_t> ids) { return engine.tokenizer().decode(ids); };
  model.token_text = [&engine](int32_t id) {
    return id < engine.tokenizer().vocab_size() ? std::string(engine.tokenizer().token_bytes(id)) : std::string();
  };
  model.vocabulary = engine.tokenizer().vocab_size();
  const TokenizerSpec& spec = engine.tokenizer().spec();
  model.first = spec.bos >= 0 ? spec.bos : spec.eos;  // without BOS texts were trained on one after the other's end
  return model;
}

}  // namespace sedum::serve
