#pragma once
// SentencePiece: its model files, and its way of normalising text.
//
//   TokenizerSpec spec = read_sentencepiece("tokenizer.model");    // Error with path and reason
//   SentencePieceNormalizer normalizer(spec);
//   std::string normal = normalizer(" Hello  world");              // "▁Hello▁world"
//
// Kudo, Richardson 2018; the format is sentencepiece_model.proto.

#include <filesystem>
#include <string>
#include <string_view>

#include "text/byte_trie.h"
#include "text/charsmap.h"
#include "text/tokenizer.h"

namespace sedum {

TokenizerSpec read_sentencepiece(const std::filesystem::path& path);
TokenizerSpec parse_sentencepiece(std::string_view bytes, const std::string& name = "tokenizer.model");

// The same tokenizer as the parts that Hugging Face's converter makes of it (model "components"), for writing tokenizer.json.
TokenizerSpec sentencepiece_components(const TokenizerSpec& spec);
// The other way, for BPE: options for the parts, and scores as SentencePiece's trainer gives them to pieces in the order of the merges. Error where a
// part has no option. A piece that merges make in one way only may now be made in others: whether both cut alike is for the caller to see.
TokenizerSpec sentencepiece_of_components(TokenizerSpec spec, const std::string& name);

class SentencePieceNormalizer {
 public:
  explicit SentencePieceNormalizer(const TokenizerSpec& spec);  // keeps views into spec.tokens
  std::string operator()(std::string_view text) const;
  // The user-defined piece that `p` begins with; length 0: none.
  std::pair<size_t, int32_t> user_defined(const char* p, const char* end) const {
    return user_defined_.longest(p, end);
  }
  bool has_user_defined() const { return has_user_defined_; }

 private:
  // What stands for the beginning of [p, end), and how many bytes of it.
  std::pair<std::string_view, size_t> prefix(const char* p, const char* end) const;
  bool stands_for_itself(const char* p, const char* end) const;
  SentencePieceOptions options_;
  Charsmap charsmap_;
  ByteTrie user_defined_;
  bool has_user_defined_ = false;
};

}  // namespace sedum
