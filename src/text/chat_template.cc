#include "text/chat_template.h"

#include "base/error.h"
#include "base/json.h"
#include "text/jinja/interpreter.h"
#include "text/jinja/parser.h"

namespace sedum {

namespace {

using Json = nlohmann::ordered_json;

// Reasoning goes by several names; as in transformers each of these templates' names is filled from whichever is there.
Json with_reasoning_names(const Json& message) {
  for (const char* name : {"reasoning_content", "thinking", "reasoning"}) {
    const auto found = message.find(name);
    if (found == message.end() || found->is_null()) continue;
    Json out = Json::object();
    out["thinking"] = *found;
    for (const auto& [key, value] : message.items()) out[key] = value;
    out["reasoning_content"] = *found;
    return out;
  }
  return message;
}

Json checked(const Json& messages) {
  if (!messages.is_array()) throw Error("chat messages must be an array");
  Json out = Json::array();
  for (const Json& message : messages) {
    if (!message.is_object())
      throw Error("a chat message must be an object with role and content, not " + std::string(message.type_name()));
    out.push_back(with_reasoning_names(message));
  }
  return out;
}

bool from_assistant(const Json& message) {
  const auto role = message.find("role");
  return role != message.end() && role->is_string() && *role == "assistant";
}

}  // namespace

struct ChatTemplate::Implementation {
  explicit Implementation(std::string s) : source(std::move(s)), parsed(jinja::parse(source, TemplateLimits().depth)) {}

  jinja::Output run(const Json& messages, const TemplateOptions& options) const {
    jinja::Interpreter in(options.limits, options.now.value_or(std::time(nullptr)));
    in.define("messages", in.from_json(messages));
    in.define("tools", options.tools ? in.from_json(*options.tools) : jinja::Value(jinja::None{}));
    in.define("documents", jinja::Value(jinja::None{}));
    in.define("add_generation_prompt", jinja::Value(options.add_generation_prompt));
    in.define("bos_token", jinja::Value(options.bos_token));
    in.define("eos_token", jinja::Value(options.eos_token));
    if (options.variables) {
      if (!options.variables->is_object()) throw Error("template variables must be an object");
      for (const auto& [name, value] : options.variables->items()) in.define(name, in.from_json(value));
    }
    return in.run(parsed.body);
  }

  std::string source;
  jinja::Template parsed;
};

ChatTemplate::ChatTemplate(std::string source) : impl_(std::make_unique<Implementation>(std::move(source))) {}
ChatTemplate::~ChatTemplate() = default;
ChatTemplate::ChatTemplate(ChatTemplate&&) noexcept = default;
ChatTemplate& ChatTemplate::operator=(ChatTemplate&&) noexcept = default;

std::string ChatTemplate::render(const Json& messages, const TemplateOptions& options) const {
  return impl_->run(checked(messages), options).text;
}

RenderedChat ChatTemplate::assistant_spans(const Json& messages, const TemplateOptions& options) const {
  const Json all = checked(messages);
  TemplateOptions whole = options;
  whole.add_generation_prompt = false;
  if (!whole.now) whole.now = std::time(nullptr);  // one clock for all renderings
  jinja::Output out = impl_->run(all, whole);
  if (impl_->parsed.has_generation) return {std::move(out.text), std::move(out.generations)};

  RenderedChat result{std::move(out.text), {}};
  TemplateOptions prompt = whole;
  prompt.add_generation_prompt = true;
  Json prefix = Json::array();
  for (size_t i = 0; i < all.size(); i++) {
    if (!from_assistant(all[i])) {
      prefix.push_back(all[i]);
      continue;
    }
    const auto must_begin_with = [&](const std::string& text) {
      if (result.text.starts_with(text)) return;
      throw Error("the chat template writes the conversation up to message " + std::to_string(i) +
                      " differently when more follows, so that what the assistant said cannot be found in the text",
                  "train on the whole text, or use a template with {% generation %} blocks");
    };
    const std::string before = impl_->run(prefix, prompt).text;
    prefix.push_back(all[i]);
    const std::string after = i + 1 == all.size() ? result.text : impl_->run(prefix, whole).text;
    must_begin_with(before);
    must_begin_with(after);
    if (after.size() < before.size()) must_begin_with(before + '\0');  // throws
    result.spans.push_back({before.size(), after.size()});
  }
  return result;
}

bool ChatTemplate::has_generation_blocks() const { return impl_->parsed.has_generation; }
const std::string& ChatTemplate::source() const { return impl_->source; }

}  // namespace sedum
