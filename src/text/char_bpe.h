#pragma once
// Byte-pair encoding over characters: SentencePiece's BPE (Llama, Mistral, Gemma) and Hugging Face's without a byte level, with byte
// fallback, markers of word parts ("##", "</w>") and unknown tokens.
//
//   CharBpe::Options options;
//   options.byte_fallback = byte_tokens(ids);
//   CharBpe bpe(ids, merges, options);                // merges in order
//   CharBpe bpe(ids, scored_pieces, options);         // SentencePiece: any two neighbours that make a piece, the best score first
//
// Kudo, Richardson 2018, "SentencePiece: A simple and language independent subword tokenizer and detokenizer".

#include <array>
#include <memory>
#include <span>
#include <utility>

#include "text/char_cuts.h"
#include "text/merge_table.h"
#include "text/word_model.h"

namespace sedum {

class CharBpe : public WordModel {
 public:
  struct Options {
    int32_t unknown = -1;
    std::vector<int32_t> byte_fallback = {};  // by byte; empty: unknown characters become `unknown`
    bool fuse_unknown = false;                // one for a run of them
    bool ignore_merges = false;               // whole words first
    std::string continuing_prefix = {};       // of every character but a word's first
    std::string word_suffix = {};             // of a word's last character
  };
  CharBpe(const TokenIds& ids, std::span<const std::pair<std::string, std::string>> merges, Options options);
  CharBpe(const TokenIds& ids, std::span<const std::pair<std::string_view, float>> pieces, Options options);

  void encode(std::string_view word, WordCache& cache, std::vector<int32_t>& out) const override;

 private:
  static constexpr int32_t kNoSymbol = -1;
  int32_t symbol_of(char32_t code) const {
    const auto& page = pages_[code >> 8];
    return page ? (*page)[code & 0xFF] : kNoSymbol;
  }
  void add_character(char32_t code, int32_t id);
  void add_characters(const TokenIds& ids);
  int32_t symbol_or_new(std::string_view text, const TokenIds& ids);
  void encode_part(std::string_view part, std::vector<int32_t>& out) const;
  void encode_marked(std::string_view word, std::vector<int32_t>& out) const;
  void emit(std::span<const int32_t> symbols, std::vector<int32_t>& out) const;

  using Page = std::array<int32_t, 256>;
  Options options_;
  std::vector<std::unique_ptr<Page>> pages_ = std::vector<std::unique_ptr<Page>>(0x1100);
  MergeTable merges_;
  CharCuts cuts_;
  bool cutting_ = true;
  int32_t next_symbol_;          // above the ids: characters that only parts of pieces have
  std::vector<char32_t> extra_;  // by symbol - first_extra_
  int32_t first_extra_;
  std::unordered_map<std::string, int32_t> words_;   // with ignore_merges
  std::unordered_map<std::string, int32_t> marked_;  // with markers: tokens by text
};

}  // namespace sedum
