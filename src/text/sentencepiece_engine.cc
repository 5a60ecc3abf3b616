// SentencePiece's models from .model and GGUF files.

#include <algorithm>
#include <limits>

#include "base/error.h"
#include "text/char_bpe.h"
#include "text/sentencepiece.h"
#include "text/token_engine.h"

namespace sedum {

namespace {

constexpr std::string_view kSpace = "\xE2\x96\x81";  // ▁

class SentencePieceEngine : public TokenEngine {
 public:
  SentencePieceEngine(const TokenizerSpec& spec, const TokenIds& ids)
      : TokenEngine(PostProcessor(spec)), spec_(spec), normalizer_(spec) {
    if (spec.scores.size() != spec.tokens.size())
      throw Error("tokenizer: " + std::to_string(spec.tokens.size()) + " tokens but " +
                  std::to_string(spec.scores.size()) + " scores");
    std::vector<int32_t> bytes;
    if (spec.sentencepiece.byte_fallback) bytes = byte_tokens(ids);
    if (spec.model == "sentencepiece-bpe")
      build_bpe(std::move(bytes));
    else
      build_unigram(std::move(bytes));
  }

  std::string normalize(std::string_view text) const override { return normalizer_(text); }
  bool keeps_bytes() const override { return true; }  // the normaliser replaces what is no UTF-8, byte by byte

  void encode_normal(std::string_view text, bool, TokenCache& cache, std::vector<int32_t>& out) const override {
    if (unigram_) {
      double sum = 0;
      return unigram_->encode(text, sum, cache.unigram(), out);
    }
    if (!normalizer_.has_user_defined()) return bpe_->encode(text, cache.words, out);
    const char *begin = text.data(), *end = begin + text.size();
    for (const char* p = begin; p < end;) {
      const auto [length, id] = normalizer_.user_defined(p, end);
      if (length == 0) {
        p++;
        continue;
      }
      bpe_->encode({begin, size_t(p - begin)}, cache.words, out);
      out.push_back(id);
      begin = p += length;
    }
    bpe_->encode({begin, size_t(end - begin)}, cache.words, out);
  }

  std::string token_text(int32_t id, bool) const override {
    const std::string& text = spec_.tokens[size_t(id)];
    const TokenKind kind = spec_.kinds[size_t(id)];
    if (kind == TokenKind::kControl || kind == TokenKind::kUnknown) return text;
    if (const int byte = kind == TokenKind::kByte ? byte_of_token(text) : -1; byte >= 0)
      return std::string(1, char(byte));
    std::string out;
    for (size_t at = 0; at < text.size();) {
      const bool space = std::string_view(text).substr(at).starts_with(kSpace);
      out += space ? ' ' : text[at];
      at += space ? kSpace.size() : 1;
    }
    return out;
  }
  int spaces_to_strip() const override {
    return spec_.sentencepiece.add_dummy_prefix && !spec_.sentencepiece.space_as_suffix ? 1 : 0;
  }

 private:
  void build_bpe(std::vector<int32_t> bytes) {
    TokenIds ordinary;
    std::vector<std::pair<std::string_view, float>> pieces;
    for (size_t id = 0; id < spec_.tokens.size(); id++) {
      if (spec_.kinds[id] != TokenKind::kNormal || !ordinary.emplace(spec_.tokens[id], int32_t(id)).second) continue;
      pieces.emplace_back(spec_.tokens[id], float(spec_.scores[id]));
    }
    CharBpe::Options options;
    options.unknown = spec_.unk, options.byte_fallback = std::move(bytes), options.fuse_unknown = true;
    bpe_ = std::make_unique<CharBpe>(ordinary, pieces, std::move(options));
  }

  void build_unigram(std::vector<int32_t> bytes) {
    std::vector<UnigramPiece> pieces;
    float least = std::numeric_limits<float>::max(), most = std::numeric_limits<float>::min();
    for (size_t id = 0; id < spec_.tokens.size(); id++) {
      const TokenKind kind = spec_.kinds[id];
      const float score = float(spec_.scores[id]);
      if (kind == TokenKind::kNormal) least = std::min(least, score), most = std::max(most, score);
      const bool user_defined = kind == TokenKind::kUserDefined && spec_.sentencepiece.match_user_defined;
      if (kind == TokenKind::kNormal || user_defined)
        pieces.push_back({spec_.tokens[id], int32_t(id), score, user_defined});
    }
    if (pieces.empty()) throw Error("tokenizer: the unigram model has no pieces");
    Unigram::Options options;
    options.unknown = spec_.unk, options.byte_fallback = std::move(bytes), options.single_precision = true;
    options.min_score = least, options.max_score = most;
    unigram_ = std::make_unique<Unigram>(pieces, std::move(options));
  }

  const TokenizerSpec& spec_;
  SentencePieceNormalizer normalizer_;
  std::unique_ptr<CharBpe> bpe_;
  std::unique_ptr<Unigram> unigram_;
};

}  // namespace

std::unique_ptr<TokenEngine> make_sentencepiece_engine(const TokenizerSpec& spec, const TokenIds& ids) {
  return std::make_unique<SentencePieceEngine>(spec, ids);
}

std::unique_ptr<TokenEngine> make_token_engine(const TokenizerSpec& spec, const TokenIds& ids) {
  if (spec.model == "bpe") return make_byte_level_engine(spec);
  if (spec.model == "sentencepiece-bpe" || spec.model == "sentencepiece-unigram")
    return make_sentencepiece_engine(spec, ids);
  if (spec.model == "components") return make_components_engine(spec, ids);
  throw Error("tokenizer model \"" + spec.model + "\" is not supported",
              "supported: bpe (byte-level), sentencepiece-bpe, sentencepiece-unigram, components");
}

}  // namespace sedum
