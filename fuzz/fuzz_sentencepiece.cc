// SentencePiece models from strangers: read, built, and used on their own bytes. Errors are allowed, nothing else.

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/error.h"
#include "text/sentencepiece.h"
#include "text/tokenizer_json.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  try {
    const sedum::Tokenizer tokenizer(sedum::parse_sentencepiece(text));
    tokenizer.decode(tokenizer.encode(text, {.add_special = true}));
    sedum::write_tokenizer_json(tokenizer.spec());
  } catch (const sedum::Error&) {
  }
  return 0;
}
