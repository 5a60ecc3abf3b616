#include "infer/chat.h"

#include "base/error.h"
#include "base/json.h"
#include "infer/continue_text.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace sedum {

namespace {

std::string rendered(const Tokenizer& tokenizer, const ChatTemplate& chat, const nlohmann::ordered_json& messages,
                     const ChatOptions& given) {
  const TokenizerSpec& spec = tokenizer.spec();
  const auto token = [&](int32_t id) {
    return id >= 0 && size_t(id) < spec.tokens.size() ? spec.tokens[size_t(id)] : std::string();
  };
  TemplateOptions options;
  options.add_generation_prompt = true, options.bos_token = token(spec.bos), options.eos_token = token(spec.eos);
  if (!given.tools.empty()) options.tools = std::make_shared<nlohmann::ordered_json>(given.tools);
  if (!given.variables.empty()) options.variables = std::make_shared<nlohmann::ordered_json>(given.variables);
  return chat.render(messages, options);
}

}  // namespace

std::string chat_text(const GenerationEngine& engine, const nlohmann::ordered_json& messages,
                      const ChatOptions& given) {
  if (!engine.chat_template())
    throw Error(engine.model_name() + " has no chat template", "use `sedum generate --raw`, or /v1/completions");
  return rendered(engine.tokenizer(), *engine.chat_template(), messages, given);
}

std::vector<int32_t> chat_prompt(const GenerationEngine& engine, const nlohmann::ordered_json& messages) {
  return engine.tokenizer().encode(chat_text(engine, messages));  // the template writes BOS itself
}

std::vector<int32_t> chat_prompt(const Tokenizer& tokenizer, const ChatTemplate& chat,
                                 const nlohmann::ordered_json& messages) {
  return tokenizer.encode(rendered(tokenizer, chat, messages, {}));
}

}  // namespace sedum
