#pragma once
// WordPiece: of a word the longest token that it begins with, then of the rest the longest that continues, and so on; a word that
// cannot be cut so is unknown. Wu et al. 2016, "Google's Neural Machine Translation System"; Devlin et al. 2018 ("##").

#include "text/byte_trie.h"
#include "text/word_model.h"

namespace sedum {

class WordPiece : public WordModel {
 public:
  struct Options {
    int32_t unknown = -1;
    std::string continuing_prefix = "##";
    size_t max_characters = 100;  // longer words are unknown
  };
  WordPiece(const TokenIds& ids, Options options);
  void encode(std::string_view word, WordCache&, std::vector<int32_t>& out) const override { encode_word(word, out); }
  void encode_word(std::string_view word, std::vector<int32_t>& out) const;

 private:
  Options options_;
  ByteTrie first_, continuing_;
};

}  // namespace sedum
