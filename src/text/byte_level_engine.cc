// Byte-level BPE with a known pre-tokenizer or patterns: what most published models use.

#include "text/bpe.h"
#include "text/pre_tokenizer.h"
#include "text/token_engine.h"
#include "text/unicode.h"

namespace sedum {

namespace {

class ByteLevelEngine : public TokenEngine {
 public:
  explicit ByteLevelEngine(const TokenizerSpec& spec) : TokenEngine(PostProcessor(spec)), spec_(spec) {
    if (spec.pre_tokenizer.empty()) {
      patterns_ = std::make_unique<PatternSplitter>(spec.patterns);
    } else if (next_word_ = find_pre_tokenizer(spec.pre_tokenizer); !next_word_) {
      patterns_ = std::make_unique<PatternSplitter>(pre_tokenizer_patterns(spec.pre_tokenizer));
    }
    BpeModel::Vocabulary ordinary;  // what users write can never merge into a control token
    ordinary.reserve(spec.tokens.size());
    for (size_t id = 0; id < spec.tokens.size(); id++)
      if (!spec.tokens[id].empty() && spec.kinds[id] != TokenKind::kControl && spec.kinds[id] != TokenKind::kUnused)
        ordinary.emplace(spec.tokens[id], int32_t(id));
    bpe_ = std::make_unique<BpeModel>(ordinary, spec.merges, spec.ignore_merges, spec.unk);
  }

  std::string normalize(std::string_view text) const override {
    return spec_.nfc ? unicode::nfc(text) : std::string(text);
  }
  void encode_raw(std::string_view text, bool at_start, TokenCache& cache, std::vector<int32_t>& out) const override {
    if (!spec_.nfc) return encode_normal(text, at_start, cache, out);
    encode_normal(unicode::nfc(text), at_start, cache, out);
  }
  void encode_normal(std::string_view text, bool, TokenCache& cache, std::vector<int32_t>& out) const override {
    if (!spec_.add_prefix_space || text.starts_with(' ')) return encode_words(text, cache.words, out);
    encode_words(" " + std::string(text), cache.words, out);
  }

  std::string token_text(int32_t id, bool) const override {
    const std::string& text = spec_.tokens[size_t(id)];
    std::string decoded;
    return is_literal(spec_.kinds[size_t(id)]) || !from_byte_alphabet(text, decoded) ? text : decoded;
  }
  bool keeps_bytes() const override { return true; }
  bool stores_byte_alphabet() const override { return true; }

 private:
  void encode_words(std::string_view text, WordCache& cache, std::vector<int32_t>& out) const {
    const char *p = text.data(), *end = p + text.size();
    const auto encode = [&](std::string_view word) { bpe_->encode_word(word, out); };
    if (next_word_) {
      for (const char* q; p < end; p = q) {
        q = next_word_(p, end);
        encode_cached(p, q, end, cache, out, encode);
      }
    } else {
      for (const std::string_view word : patterns_->split(text))
        encode_cached(word.data(), word.data() + word.size(), end, cache, out, encode);
    }
  }

  const TokenizerSpec& spec_;
  std::unique_ptr<BpeModel> bpe_;
  NextWord next_word_ = nullptr;
  std::unique_ptr<PatternSplitter> patterns_;
};

}  // namespace

std::unique_ptr<TokenEngine> make_byte_level_engine(const TokenizerSpec& spec) {
  return std::make_unique<ByteLevelEngine>(spec);
}

}  // namespace sedum
