#include "model/checkpoint/gguf_tokenizer.h"

#include "base/error.h"
#include "text/tokenizer_json.h"

namespace sedum {
namespace {

std::vector<std::string> strings(const GgufFile& file, const char* key) {
  const auto views = file.get<std::vector<std::string_view>>(key);
  return {views.begin(), views.end()};
}

// GGUF marks what begins a word with ▁; BERT's own files what continues one with ##.
TokenizerSpec bert(const GgufFile& file) {
  constexpr std::string_view kBegins = "\xE2\x96\x81";
  std::vector<std::string> tokens = strings(file, "tokenizer.ggml.tokens");
  for (std::string& token : tokens) {
    const bool bracketed = token.size() > 1 && token.front() == '[' && token.back() == ']';
    if (token.starts_with(kBegins))
      token.erase(0, kBegins.size());
    else if (!bracketed)
      token.insert(0, "##");
  }
  return bert_tokenizer(std::move(tokens), file.where());
}

void read_kinds(const GgufFile& file, TokenizerSpec& spec) {
  if (file.has("tokenizer.ggml.token_type"))
    for (const int32_t kind : file.get<std::vector<int32_t>>("tokenizer.ggml.token_type")) {
      if (kind < 1 || kind > 6)
        throw Error(file.where() + ": tokenizer.ggml.token_type holds " + std::to_string(kind), "the file is damaged");
      spec.kinds.push_back(TokenKind(kind));
    }
  if (!spec.kinds.empty() && spec.kinds.size() != spec.tokens.size())
    throw Error(file.where() + ": token types and tokens differ in number", "the file is damaged");
}

void read_sentencepiece(const GgufFile& file, bool unigram, TokenizerSpec& spec) {
  spec.model = unigram ? "sentencepiece-unigram" : "sentencepiece-bpe";
  const auto scores = file.get<std::vector<float>>("tokenizer.ggml.scores");
  spec.scores.assign(scores.begin(), scores.end());
  SentencePieceOptions& options = spec.sentencepiece;
  options.add_dummy_prefix = file.get_or<bool>("tokenizer.ggml.add_space_prefix", true);
  options.remove_extra_spaces = file.get_or<bool>("tokenizer.ggml.remove_extra_whitespaces", unigram);
  for (const TokenKind kind : spec.kinds) options.byte_fallback |= kind == TokenKind::kByte;
  if (const char* key = "tokenizer.ggml.precompiled_charsmap"; file.has(key)) {
    for (const int32_t byte : file.get<std::vector<int32_t>>(key)) options.charsmap.push_back(char(byte));
  }
  spec.add_bos = !unigram, spec.add_eos = unigram;
}

void read_byte_level(const GgufFile& file, TokenizerSpec& spec) {
  spec.pre_tokenizer = file.get_or<std::string>("tokenizer.ggml.pre", "gpt-2");
  if (spec.pre_tokenizer == "default") spec.pre_tokenizer = "gpt-2";
  apply_known_defaults(spec);
  spec.merges = strings(file, "tokenizer.ggml.merges");
  spec.add_prefix_space = file.get_or<bool>("tokenizer.ggml.add_space_prefix", false);
}

}  // namespace

TokenizerSpec read_gguf_tokenizer(const GgufFile& file) {
  const auto model = file.get<std::string>("tokenizer.ggml.model");
  const auto finish = [&file](TokenizerSpec spec) {
    spec.chat_template = file.get_or<std::string>("tokenizer.chat_template", "");
    return spec;
  };
  if (model == "bert") return finish(bert(file));
  TokenizerSpec spec;
  spec.tokens = strings(file, "tokenizer.ggml.tokens");
  read_kinds(file, spec);
  if (model == "gpt2")
    read_byte_level(file, spec);
  else if (model == "llama" || model == "t5")
    read_sentencepiece(file, model == "t5", spec);
  else
    throw Error(file.where() + ": the tokenizer \"" + printable(model) + "\" is not known here",
                "gpt2 (byte-level BPE), llama and t5 (SentencePiece) and bert (WordPiece) can be used");
  spec.bos = file.get_or<int32_t>("tokenizer.ggml.bos_token_id", -1);
  spec.eos = file.get_or<int32_t>("tokenizer.ggml.eos_token_id", -1);
  spec.unk = file.get_or<int32_t>("tokenizer.ggml.unknown_token_id", model == "gpt2" ? -1 : model == "llama" ? 0 : 2);
  spec.pad = file.get_or<int32_t>("tokenizer.ggml.padding_token_id", -1);
  spec.add_bos = file.get_or<bool>("tokenizer.ggml.add_bos_token", spec.add_bos);
  spec.add_eos = file.get_or<bool>("tokenizer.ggml.add_eos_token", spec.add_eos);
  return finish(std::move(spec));
}

}  // namespace sedum
