// The older files of tokenizers, from strangers: BERT's vocab.txt (first byte even), or vocab.json, a zero byte, merges.txt. Read, built,
// and used on their own bytes. Errors are allowed, nothing else.

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/error.h"
#include "text/tokenizer_json.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace sedum;
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  try {
    TokenizerSpec spec;
    if (data[0] % 2 == 0) {
      spec = parse_vocab_txt(text, "fuzz.txt");
    } else {
      const std::string_view vocabulary = text.substr(0, text.find('\0'));
      spec = parse_vocab_and_merges(vocabulary, text.substr(std::min(vocabulary.size() + 1, text.size())), "qwen2",
                                    "fuzz.json");
    }
    const Tokenizer tokenizer(std::move(spec));
    tokenizer.decode(tokenizer.encode(text, {.add_special = true}));
  } catch (const Error&) {
  }
  return 0;
}
