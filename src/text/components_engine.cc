// tokenizer.json's parts put together: normalizer, pre-tokenizer, model, decoder.

#include <limits>

#include "base/json.h"
#include "text/bpe.h"
#include "text/char_bpe.h"
#include "text/json_fields.h"
#include "text/normalizer.h"
#include "text/pre_tokenizer_steps.h"
#include "text/token_decoder.h"
#include "text/token_engine.h"
#include "text/unicode.h"
#include "text/wordpiece.h"

namespace sedum {

namespace {

using fields::Json;
constexpr const char* kName = "tokenizer.json";

Json parsed(const std::string& components) {
  Json json = try_parse_json(components);
  if (!json.is_object()) throw Error("tokenizer: the components are no JSON object");
  return json;
}

// Tokens that carry marks of where in a word they stand: made of characters, not of bytes.
bool has_markers(const Json& model) {
  return !fields::text(model, "end_of_word_suffix").empty() ||
         !fields::text(model, "continuing_subword_prefix").empty();
}

// Whole words and nothing else.
class WordLevel : public WordModel {
 public:
  WordLevel(const TokenIds& ids, int32_t unknown) : ids_(ids), unknown_(unknown) {}
  void encode(std::string_view word, WordCache&, std::vector<int32_t>& out) const override {
    const auto found = ids_.find(word);
    const int32_t id = found == ids_.end() ? unknown_ : found->second;
    if (id >= 0) out.push_back(id);
  }

 private:
  const TokenIds& ids_;
  int32_t unknown_;
};

// Byte-level BPE behind pre-tokenizers that a list of patterns does not describe.
class ByteBpe : public WordModel {
 public:
  ByteBpe(const TokenIds& ids, const TokenizerSpec& spec) : bpe_(ids, spec.merges, spec.ignore_merges, spec.unk) {}
  void encode(std::string_view word, WordCache& cache, std::vector<int32_t>& out) const override {
    const char* end = word.data() + word.size();
    encode_cached(word.data(), end, end, cache, out, [&](std::string_view w) { bpe_.encode_word(w, out); });
  }

 private:
  BpeModel bpe_;
};

class ComponentsEngine : public TokenEngine {
 public:
  ComponentsEngine(const TokenizerSpec& spec, const TokenIds& ids, const Json& json)
      : TokenEngine(PostProcessor(json, spec, kName)),
        spec_(spec),
        normalizer_(fields::at(json, "normalizer"), kName),
        pre_tokenizer_(fields::at(json, "pre_tokenizer"), kName, !has_markers(fields::at(json, "model"))),
        decoder_(fields::at(json, "decoder"), kName) {
    // What users write can never become a control token; nor do words begin with tokens that were added to the vocabulary later.
    const std::string type = fields::text(fields::at(json, "model"), "type");
    const bool whole = type == "WordPiece" || type == "WordLevel";
    for (const auto& [text, id] : ids) {
      const TokenKind kind = spec.kinds[size_t(id)];
      if (kind != TokenKind::kControl && !(whole && kind == TokenKind::kUserDefined)) ordinary_.emplace(text, id);
    }
    build_model(fields::at(json, "model"));
    find_bert(json);
  }

  std::string normalize(std::string_view text) const override { return normalizer_(text); }

  void encode_normal(std::string_view text, bool at_start, TokenCache& cache,
                     std::vector<int32_t>& out) const override {
    PreTokenizerSteps::Work work;
    pre_tokenizer_.split(text, at_start, work);
    double sum = 0;
    for (const std::string_view piece : work.pieces) {
      if (unigram_)
        sum = 0, unigram_->encode(piece, sum, cache.unigram(), out);
      else
        model_->encode(piece, cache.words, out);
    }
  }

  void encode_raw(std::string_view text, bool at_start, TokenCache& cache, std::vector<int32_t>& out) const override {
    if (!bert_) return encode_normal(normalizer_(text), at_start, cache, out);
    // Between ASCII spaces, and around ideographs, nothing can change what stands on the other side: chunks are remembered as they
    // were written.
    const char *p = text.data(), *end = p + text.size();
    while (p < end) {
      if (*p == ' ' || *p == '\n' || *p == '\t' || *p == '\r') {
        p++;
        continue;
      }
      const char* q = chunk_end(p, end);
      encode_cached(p, q, end, cache.words, out, [&](std::string_view chunk) { encode_bert(chunk, out); });
      p = q;
    }
  }

  std::string token_text(int32_t id, bool first) const override {
    return decoder_.token(spec_.tokens[size_t(id)], first);
  }
  bool first_differs() const override { return true; }
  int spaces_to_strip() const override { return decoder_.strip_left(); }
  bool stores_byte_alphabet() const override { return pre_tokenizer_.ends_in_bytes(); }

 private:
  void build_model(const Json& model) {
    const std::string type = fields::text(model, "type", "BPE");
    if (type == "BPE") {
      build_bpe(model);
    } else if (type == "Unigram") {
      build_unigram(model);
    } else if (type == "WordPiece") {
      WordPiece::Options options;
      options.unknown = spec_.unk;
      options.continuing_prefix = fields::text(model, "continuing_subword_prefix", "##");
      options.max_characters = size_t(std::max<int64_t>(fields::number(model, "max_input_chars_per_word", 100), 0));
      wordpiece_ = std::make_shared<WordPiece>(ordinary_, options);
      model_ = wordpiece_;
    } else if (type == "WordLevel") {
      model_ = std::make_shared<WordLevel>(ordinary_, spec_.unk);
    } else {
      fields::not_supported(kName, "the model", model);
    }
  }

  void build_bpe(const Json& model) {
    if (pre_tokenizer_.ends_in_bytes()) {
      model_ = std::make_shared<ByteBpe>(ordinary_, spec_);
      return;
    }
    std::vector<std::pair<std::string, std::string>> merges;
    for (const std::string& line : spec_.merges) {
      const size_t space = line.find(' ', 1);
      if (space == std::string::npos) throw Error("merge \"" + line + "\" is not a pair");
      merges.emplace_back(line.substr(0, space), line.substr(space + 1));
    }
    CharBpe::Options options;
    options.unknown = spec_.unk;
    if (fields::flag(model, "byte_fallback")) options.byte_fallback = byte_tokens(ordinary_);
    options.fuse_unknown = fields::flag(model, "fuse_unk");
    options.ignore_merges = spec_.ignore_merges;
    options.continuing_prefix = fields::text(model, "continuing_subword_prefix");
    options.word_suffix = fields::text(model, "end_of_word_suffix");
    model_ = std::make_shared<CharBpe>(ordinary_, merges, std::move(options));
  }

  void build_unigram(const Json& model) {
    std::vector<UnigramPiece> pieces;
    Unigram::Options options;
    options.unknown = spec_.unk;
    options.min_score = std::numeric_limits<double>::max();
    for (size_t id = 0; id < spec_.scores.size(); id++) {
      options.min_score = std::min(options.min_score, spec_.scores[id]);
      if (spec_.kinds[id] == TokenKind::kNormal || spec_.kinds[id] == TokenKind::kUserDefined)
        pieces.push_back({spec_.tokens[id], int32_t(id), spec_.scores[id]});
    }
    if (pieces.empty()) throw Error("tokenizer: the unigram model has no pieces");
    if (fields::flag(model, "byte_fallback")) options.byte_fallback = byte_tokens(ordinary_);
    unigram_ = std::make_unique<Unigram>(pieces, std::move(options));
  }

  // BERT's usual parts are run together, word by word.
  void find_bert(const Json& json) {
    const Json& normalizer = fields::at(json, "normalizer");
    bert_ = wordpiece_ && fields::text(normalizer, "type") == "BertNormalizer" &&
            fields::text(fields::at(json, "pre_tokenizer"), "type") == "BertPreTokenizer" &&
            fields::flag(normalizer, "handle_chinese_chars", true);
  }

  static const char* chunk_end(const char* p, const char* end) {
    const char* begin = p;
    while (p < end && *p != ' ' && *p != '\n' && *p != '\t' && *p != '\r') {
      if (static_cast<unsigned char>(*p) < 0x80) {
        p++;
        continue;
      }
      const unicode::Decoded c = unicode::decode_multibyte(p, end);
      if (is_chinese_character(c.code)) return p == begin ? p + c.length : p;
      p += c.length;
    }
    return p;
  }

  void encode_bert(std::string_view chunk, std::vector<int32_t>& out) const {
    const std::string normal = normalizer_(chunk);
    const char *p = normal.data(), *end = p + normal.size(), *word = p;
    const auto flush = [&](const char* to) {
      if (to > word) wordpiece_->encode_word({word, size_t(to - word)}, out);
    };
    while (p < end) {
      const unicode::Decoded c = unicode::decode(p, end);
      const bool space = unicode::is_space(c.code);
      if (space || is_bert_punctuation(c.code)) {
        flush(p);
        word = space ? p + c.length : p;
        if (!space) flush(p + c.length), word = p + c.length;
      }
      p += c.length;
    }
    flush(end);
  }

  const TokenizerSpec& spec_;
  Normalizer normalizer_;
  PreTokenizerSteps pre_tokenizer_;
  TokenDecoder decoder_;
  TokenIds ordinary_;
  std::shared_ptr<WordModel> model_;
  std::shared_ptr<WordPiece> wordpiece_;
  std::unique_ptr<Unigram> unigram_;
  bool bert_ = false;
};

}  // namespace

std::unique_ptr<TokenEngine> make_components_engine(const TokenizerSpec& spec, const TokenIds& ids) {
  return std::make_unique<ComponentsEngine>(spec, ids, parsed(spec.components));
}

}  // namespace sedum
