#include "infer/chat.h"

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace sedum {

std::vector<int32_t> chat_prompt(const GenerationEngine& engine, const nlohmann::ordered_json& messages) {
  if (!engine.chat_template())
    throw Error(engine.model_name() + " has no chat template", "use `sedum generate --raw`, or /v1/completions");
  const Tokenizer& tokenizer = engine.tokenizer();
  const TokenizerSpec& spec = tokenizer.spec();
  const auto token = [&](int32_t id) {
    return id >= 0 && size_t(id) < spec.tokens.size() ? spec.tokens[size_t(id)] : std::string();
  };
  TemplateOptions options;
  options.add_generation_prompt = true, options.bos_token = token(spec.bos), options.eos_token = token(spec.eos);
  return tokenizer.encode(engine.chat_template()->render(messages, options));  // the template writes BOS itself
}

}  // namespace sedum
