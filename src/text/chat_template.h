#pragma once
// Chat templates: Jinja as published models ship it, rendered as transformers does (trim_blocks, lstrip_blocks, loop
// controls, `generation` blocks, its own tojson).
//
//   ChatTemplate chat(spec.chat_template);
//   TemplateOptions options;
//   options.add_generation_prompt = true;
//   std::string prompt = chat.render(messages, options);          // messages: [{"role": "user", "content": "Hi"}, ...]
//   for (Span s : chat.assistant_spans(messages, options).spans)  // bytes to compute a loss on
//
// Templates come out of files from strangers: steps, output and depth are limited, and nothing outside can be reached.
// Errors name the template's line and the reason.

#include <cstddef>
#include <cstdint>
#include <ctime>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

namespace sedum {

struct TemplateLimits {
  uint64_t steps = 5'000'000;           // expressions and statements evaluated
  uint64_t output_bytes = 64ull << 20;  // of the result and of any string on the way
  int depth = 100;                      // nesting of the source and of macro calls
};

struct TemplateOptions {
  std::shared_ptr<const nlohmann::ordered_json> tools;  // array of functions, or null
  bool add_generation_prompt = false;
  std::string bos_token, eos_token;
  std::shared_ptr<const nlohmann::ordered_json>
      variables;                   // object: further variables (enable_thinking, documents, ...)
  std::optional<std::time_t> now;  // for strftime_now (local time); default: the clock
  TemplateLimits limits;
};

struct Span {
  size_t begin, end;  // bytes [begin, end)
};

struct RenderedChat {
  std::string text;
  std::vector<Span> spans;  // what the assistant said, with the token that ends its turn
};

class ChatTemplate {
 public:
  explicit ChatTemplate(std::string source);  // throws Error: syntax
  ~ChatTemplate();
  ChatTemplate(ChatTemplate&&) noexcept;
  ChatTemplate& operator=(ChatTemplate&&) noexcept;

  std::string render(const nlohmann::ordered_json& messages, const TemplateOptions& options = {}) const;

  // The rendering of a whole conversation and where the assistant speaks in it: by the template's `generation` blocks,
  // or else by rendering prefixes (up to a message, with the generation prompt: how the full text goes on is the
  // assistant's part). Throws Error when the template rewrites what stands before (a prefix's rendering is no prefix of
  // the whole).
  RenderedChat assistant_spans(const nlohmann::ordered_json& messages, const TemplateOptions& options = {}) const;

  bool has_generation_blocks() const;
  const std::string& source() const;

 private:
  struct Implementation;
  std::unique_ptr<Implementation> impl_;
};

}  // namespace sedum
