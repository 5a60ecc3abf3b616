#include "model/checkpoint/gguf_tokenizer.h"

#include <algorithm>
#include <cctype>

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

// Merges over the characters of a whole text, ▁ for spaces, bytes for characters without a token (Gemma 4's tokenizer.json).
void read_character_level(const GgufFile& file, TokenizerSpec& spec) {
  spec.model = "components";
  spec.merges = strings(file, "tokenizer.ggml.merges");
  spec.components = R"({
    "normalizer": {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
    "model": {"type": "BPE", "byte_fallback": true, "fuse_unk": true},
    "decoder": {"type": "Sequence", "decoders": [
      {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"}]}
  })";
}

void read_byte_level(const GgufFile& file, const std::string& pre, TokenizerSpec& spec) {
  spec.pre_tokenizer = pre;
  apply_known_defaults(spec);
  spec.merges = strings(file, "tokenizer.ggml.merges");
  spec.add_prefix_space = file.get_or<bool>("tokenizer.ggml.add_space_prefix", false);
}

// `gpt2` is what llama.cpp calls any merges in order; the pre-tokenizer's name says of what. Where there is none it takes patterns of its
// own, which are no model's.
void read_merges(const GgufFile& file, bool gemma, TokenizerSpec& spec) {
  std::string pre = file.get_or<std::string>("tokenizer.ggml.pre", gemma ? "gemma4" : "default");
  if (pre.empty()) pre = "default";
  if (gemma || pre == "gemma4" || pre == "granite-embed-multi-311m" || pre == "sarvam-moe")
    return read_character_level(file, spec);
  if (pre == "whitespace")
    throw Error(file.where() + ": the pre-tokenizer \"whitespace\" cuts characters, not bytes",
                "use the model's tokenizer.json");
  read_byte_level(file, pre, spec);
}

constexpr std::string_view kPhi3Unstripped[] = {"<unk>", "<s>", "<|endoftext|>"};

}  // namespace

bool is_phi3_name(std::string name) {
  for (char& c : name) c = char(std::tolower(static_cast<unsigned char>(c)));
  return name.find("phi3") != name.npos || name.find("phi-3") != name.npos;
}

bool needs_phi3_name(const Tokenizer& tokenizer) {
  const TokenizerSpec& spec = tokenizer.spec();
  for (const std::string_view token : kPhi3Unstripped)
    if (!tokenizer.id_of(token)) return false;
  return spec.model != "bpe" && tokenizer.id_of("</s>") &&
         std::any_of(spec.added.begin(), spec.added.end(), [](const AddedToken& token) { return token.rstrip; });
}

void list_gguf_added(TokenizerSpec& spec, bool phi3) {
  spec.added.clear();
  for (size_t id = 0; id < spec.kinds.size(); id++) {
    const TokenKind kind = spec.kinds[id];
    if (kind != TokenKind::kControl && kind != TokenKind::kUserDefined && kind != TokenKind::kUnknown) continue;
    AddedToken token{.text = spec.tokens[id], .id = int32_t(id), .special = kind != TokenKind::kUserDefined};
    token.rstrip = phi3 && std::find(std::begin(kPhi3Unstripped), std::end(kPhi3Unstripped), token.text) ==
                               std::end(kPhi3Unstripped);
    spec.added.push_back(std::move(token));
  }
}

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
  const bool merges = model == "gpt2" || model == "gemma4";
  if (merges)
    read_merges(file, model == "gemma4", spec);
  else if (model == "llama" || model == "t5")
    read_sentencepiece(file, model == "t5", spec);
  else
    throw Error(file.where() + ": the tokenizer \"" + printable(model) + "\" is not known here",
                "gpt2 (byte-level BPE), gemma4, llama and t5 (SentencePiece) and bert (WordPiece) can be used");
  spec.bos = file.get_or<int32_t>("tokenizer.ggml.bos_token_id", -1);
  spec.eos = file.get_or<int32_t>("tokenizer.ggml.eos_token_id", -1);
  spec.unk = file.get_or<int32_t>("tokenizer.ggml.unknown_token_id", merges ? -1 : model == "llama" ? 0 : 2);
  spec.pad = file.get_or<int32_t>("tokenizer.ggml.padding_token_id", -1);
  spec.add_bos = file.get_or<bool>("tokenizer.ggml.add_bos_token", spec.add_bos);
  spec.add_eos = file.get_or<bool>("tokenizer.ggml.add_eos_token", spec.add_eos);
  if (spec.model != "bpe") list_gguf_added(spec, is_phi3_name(file.get_or<std::string>("general.name", "")));
  return finish(std::move(spec));
}

}  // namespace sedum
