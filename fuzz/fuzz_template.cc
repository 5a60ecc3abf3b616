// Chat templates from strangers: parsed and rendered with small limits. Errors are allowed, nothing else.

#include <cstddef>
#include <cstdint>
#include <string>

#include "base/error.h"
#include "base/json.h"
#include "text/chat_template.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const auto messages = sedum::parse_json<nlohmann::ordered_json>(
      R"([{"role": "system", "content": " s "}, {"role": "user", "content": "é"}, {"role": "assistant", "content": null,
          "tool_calls": [{"function": {"name": "f", "arguments": {"x": [1, 2.5, true, null]}}}]}])");
  try {
    sedum::TemplateOptions options;
    options.limits = {.steps = 20'000, .output_bytes = 1 << 20, .depth = 50};
    options.add_generation_prompt = true;
    options.tools = std::make_shared<nlohmann::ordered_json>(messages);
    options.now = 0;
    const sedum::ChatTemplate chat(std::string(reinterpret_cast<const char*>(data), size));
    chat.render(messages, options);
    chat.assistant_spans(messages, options);
  } catch (const sedum::Error&) {
  }
  return 0;
}
