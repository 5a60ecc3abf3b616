// tokenizer.json in SentencePiece's own terms: options for its parts, scores for its merges.

#include "base/json.h"
#include "text/json_fields.h"
#include "text/sentencepiece.h"
#include "text/word_model.h"

namespace sedum {

namespace {

using fields::Json;
constexpr const char* kSpace = "\xE2\x96\x81";  // ▁

class PartsReader {
 public:
  explicit PartsReader(const std::string& name) : name_(name) { options_.add_dummy_prefix = false; }

  SentencePieceOptions read(const Json& parts) {
    normalizer(fields::at(parts, "normalizer"));
    pre_tokenizer(fields::at(parts, "pre_tokenizer"));
    const Json& model = fields::at(parts, "model");
    if (fields::text(model, "type") != "BPE") no_option("the model", model);
    for (const char* mark : {"continuing_subword_prefix", "end_of_word_suffix"})
      if (!fields::text(model, mark).empty()) no_option(mark, fields::at(model, mark));
    if (!spaces_) no_option("spaces that stay spaces", Json());
    return options_;
  }

 private:
  [[noreturn]] void no_option(const std::string& what, const Json& part) const {
    const std::string type = fields::text(part, "type");
    throw Error(name_ + ": SentencePiece has no option for " + what + (type.empty() ? "" : " " + type),
                "keep it as a folder");
  }

  void normalizer(const Json& part) {
    const std::string type = fields::text(part, "type");
    if (part.is_null()) return;
    if (type == "Sequence")
      for (const Json& one : fields::at(part, "normalizers")) normalizer(one);
    else if (type == "Prepend" && fields::text(part, "prepend") == kSpace)
      options_.add_dummy_prefix = true;
    else if (type == "Replace" && cuts_spaces(part) && fields::text(part, "content") == kSpace)
      spaces_ = true;
    else
      no_option("the normalizer", part);
  }

  void pre_tokenizer(const Json& part) {
    const std::string type = fields::text(part, "type");
    if (part.is_null()) return;
    if (type == "Sequence") {
      for (const Json& one : fields::at(part, "pretokenizers")) pre_tokenizer(one);
    } else if (type == "Metaspace" && fields::text(part, "replacement", kSpace) == kSpace) {
      options_.add_dummy_prefix = fields::text(part, "prepend_scheme") != "never";
      spaces_ = true;
    } else if (!(type == "Split" && spaces_ && cuts_spaces(part))) {  // Gemma's: no space is left to split at
      no_option("the pre-tokenizer", part);
    }
  }

  static bool cuts_spaces(const Json& part) { return fields::text(fields::at(part, "pattern"), "String") == " "; }

  const std::string& name_;
  SentencePieceOptions options_;
  bool spaces_ = false;
};

// As SentencePiece's trainer numbers them: from 0 downwards what merges make, in their order, then the characters, by id.
void score_pieces(TokenizerSpec& spec) {
  TokenIds ids;
  for (size_t id = 0; id < spec.tokens.size(); id++)
    if (spec.kinds[id] == TokenKind::kNormal) ids.emplace(spec.tokens[id], int32_t(id));
  spec.scores.assign(spec.tokens.size(), 0);
  double next = 0;
  std::vector<bool> scored(spec.tokens.size());
  const auto score = [&](int32_t id) {
    if (!scored[size_t(id)]) spec.scores[size_t(id)] = next--;
    scored[size_t(id)] = true;
  };
  for (const std::string& line : spec.merges) {
    const size_t space = line.find(' ', 1);
    if (space == std::string::npos) continue;
    const std::string piece = line.substr(0, space) + line.substr(space + 1);
    if (const auto found = ids.find(piece); found != ids.end()) score(found->second);
  }
  for (size_t id = 0; id < spec.tokens.size(); id++)
    if (spec.kinds[id] == TokenKind::kNormal) score(int32_t(id));
}

}  // namespace

TokenizerSpec sentencepiece_of_components(TokenizerSpec spec, const std::string& name) {
  const Json parts = try_parse_json(spec.components);
  spec.sentencepiece = PartsReader(name).read(parts);
  spec.model = "sentencepiece-bpe";
  spec.kinds.resize(spec.tokens.size(), TokenKind::kNormal);
  TokenIds ids;
  for (size_t id = 0; id < spec.tokens.size(); id++) ids.emplace(spec.tokens[id], int32_t(id));
  if (fields::flag(fields::at(parts, "model"), "byte_fallback"))
    for (const int32_t id : byte_tokens(ids)) {
      spec.kinds[size_t(id)] = TokenKind::kByte;
      spec.sentencepiece.byte_fallback = true;
    }
  if (spec.unk >= 0) spec.kinds[size_t(spec.unk)] = TokenKind::kUnknown;
  // The converter lists runs of ▁ among Gemma's added tokens, as SentencePiece finds them in what it normalised.
  spec.sentencepiece.match_user_defined = true;
  score_pieces(spec);
  spec.components.clear(), spec.merges.clear();
  return spec;
}

}  // namespace sedum
