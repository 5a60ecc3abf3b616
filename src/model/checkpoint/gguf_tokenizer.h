#pragma once
// The tokenizer in a GGUF file's metadata (ggml's docs/gguf.md): gpt2 (byte-level BPE), llama (SentencePiece BPE), t5 (unigram), bert.
//
//   Tokenizer tokenizer(read_gguf_tokenizer(file));
//   write_gguf_tokenizer(out, tokenizer, config.vocab_size, path);      // all but bert

#include "formats/gguf.h"
#include "text/tokenizer.h"

namespace sedum {

// Throws Error with the file's name and what is wrong or not known.
TokenizerSpec read_gguf_tokenizer(const GgufFile& file);

// llama.cpp counts the rows of the embeddings by the list of tokens: where a model has more `rows` than tokens (Qwen2.5: 151,936 and 151,665),
// unused ones fill the list, "[PAD151665]" and on, as its converter names them. Error, with `where`, where GGUF cannot say what the tokenizer
// does. For SentencePiece that is tried: what would be read from the file must give the same ids for samples, for every piece beside
// others, and for every added token between words.
void write_gguf_tokenizer(GgufWriter& out, const Tokenizer& tokenizer, int64_t rows, const std::string& where);

// A tokenizer without the tokens that fill the list:
TokenizerSpec without_padding(TokenizerSpec spec);

// GGUF has no key for added tokens that take the whitespace behind them. llama.cpp knows one case, by the model's name: in Phi-3 all do but
// "<unk>", "<s>" and "<|endoftext|>".
bool is_phi3_name(std::string name);
bool needs_phi3_name(const Tokenizer& tokenizer);

// Lists what llama.cpp finds in texts: control, user-defined and unknown tokens.
void list_gguf_added(TokenizerSpec& spec, bool phi3);

}  // namespace sedum
