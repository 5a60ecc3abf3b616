#pragma once
// The tokenizer in a GGUF file's metadata (ggml's docs/gguf.md): gpt2 (byte-level BPE), llama (SentencePiece BPE), t5 (unigram), bert.
//
//   Tokenizer tokenizer(read_gguf_tokenizer(file));

#include "formats/gguf.h"
#include "text/tokenizer.h"

namespace sedum {

// Throws Error with the file's name and what is wrong or not known.
TokenizerSpec read_gguf_tokenizer(const GgufFile& file);

}  // namespace sedum
