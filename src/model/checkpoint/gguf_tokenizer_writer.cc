#include <algorithm>
#include <utility>

#include "base/error.h"
#include "base/json.h"
#include "model/checkpoint/gguf_tokenizer.h"
#include "text/json_fields.h"
#include "text/sentencepiece.h"

namespace sedum {
namespace {

constexpr const char* kMend = "keep it as a folder";
constexpr std::string_view kSpace = "\xE2\x96\x81";  // ▁

std::string padding_token(size_t id) { return "[PAD" + std::to_string(id) + "]"; }

bool is_sentencepiece(const TokenizerSpec& spec) { return spec.model.starts_with("sentencepiece-"); }

// tokenizer.json of SentencePiece's kind: BPE over characters that falls back to bytes.
bool falls_back_to_bytes(const TokenizerSpec& spec) {
  const fields::Json parts = try_parse_json(spec.components), &model = fields::at(parts, "model");
  return fields::text(model, "type") == "BPE" && fields::flag(model, "byte_fallback");
}

// What `llama` leaves out in llama.cpp: it normalises nothing, and fails at a character without a token when bytes are missing.
void check_options(const TokenizerSpec& spec, const std::string& where) {
  const SentencePieceOptions& options = spec.sentencepiece;
  const bool unigram = spec.model == "sentencepiece-unigram";
  const auto refuse = [&](const char* what) {
    throw Error(where + ": llama.cpp knows no " + what + " in SentencePiece's " + (unigram ? "unigram" : "BPE"), kMend);
  };
  if (options.space_as_suffix || !options.escape_spaces) refuse("space behind a word, and no space but ▁");
  if (!unigram && options.remove_extra_spaces) refuse("removing of spaces");
  if (!unigram && !options.charsmap.empty()) refuse("table of characters");
  if (unigram == options.byte_fallback)
    refuse(unigram ? "bytes for unknown characters" : "vocabulary without all bytes");
}

void replace_marks(std::string& text) {
  for (size_t at; (at = text.find(kSpace)) != text.npos;) text.replace(at, kSpace.size(), " ");
}

// What stands before and behind a text, found by looking: parts of tokenizer.json say it in several ways.
void look_at_frame(const Tokenizer& tokenizer, TokenizerSpec& spec, const std::string& where) {
  const std::vector<int32_t> plain = tokenizer.encode("a"), framed = tokenizer.encode("a", {.add_special = true});
  const auto at = std::search(framed.begin(), framed.end(), plain.begin(), plain.end());
  const auto before = at - framed.begin(), behind = framed.end() - at - ptrdiff_t(plain.size());
  if (before > 1 || behind > 1 || behind < 0)
    throw Error(where + ": GGUF has one token before a text and one behind it at most", kMend);
  spec.add_bos = before > 0, spec.add_eos = behind > 0;
  if (before > 0) spec.bos = framed.front();
  if (behind > 0) spec.eos = framed.back();
}

// What read_gguf_tokenizer() will make of it.
TokenizerSpec sentencepiece_form(const Tokenizer& tokenizer, const std::string& where) {
  TokenizerSpec spec = tokenizer.spec();
  if (spec.model == "components") spec = sentencepiece_of_components(std::move(spec), where);
  check_options(spec, where);
  look_at_frame(tokenizer, spec, where);
  // There user-defined pieces are found in the text as it stands, with its spaces.
  if (spec.sentencepiece.match_user_defined)
    for (size_t id = 0; id < spec.tokens.size(); id++)
      if (spec.kinds[id] == TokenKind::kUserDefined) replace_marks(spec.tokens[id]);
  spec.sentencepiece.match_user_defined = spec.ignore_merges = false;
  for (double& score : spec.scores) score = double(float(score));
  list_gguf_added(spec, needs_phi3_name(tokenizer));
  return spec;
}

struct Sample {
  std::string text;
  const char* reason;
};

std::vector<Sample> samples(const Tokenizer& tokenizer, const TokenizerSpec& form) {
  std::vector<Sample> all;
  const char* order = "its merges have an order that no scores give";
  for (const char* text :
       {"The quick brown foxes' 12,345.67 jumps (over) \"lazy\" dogs; isn't it?!", "naïve café Ünïcode ŁÓDŹ",
        "Привет, мир! Γειά σου κόσμε", "多肉植物 を育てる 다육식물", "שלום مرحبا नमस्ते",
        "🌵🏜️ 👩‍👩‍👧 e\u0301", "if (x >= 10) {\n\treturn y[i]->z;\n}\n\n",
        "https://example.org/a_b?c=d%20e", "aaaaaaaaaaaa ------ ======="})
    all.push_back({text, order});
  for (const char* text : {"", "a", " a", "  a b  c", "a ", "\n a", "   ", "\t\n\n  x", " \u00A0 "})
    all.push_back({text, "its way with spaces has no key in GGUF"});
  for (const AddedToken& added : tokenizer.spec().added) {
    std::string token = added.text;
    replace_marks(token);
    for (const std::string space : {"", " ", "  \n"})
      all.push_back({"one" + space + token + space + "two" + token + token,
                     "what stands around an added token has no key in GGUF"});
  }
  std::vector<int32_t> pieces;
  for (size_t id = 0; id < form.tokens.size(); id++)
    if (form.kinds[id] == TokenKind::kNormal) pieces.push_back(int32_t(id));
  for (const size_t stride : {1, 7919}) {  // beside neighbours by id, and by chance
    std::string run;
    for (size_t i = 0; i < pieces.size(); i++) {
      run += tokenizer.token_bytes(pieces[i * stride % pieces.size()]);
      if (i % 8 == 7 || i + 1 == pieces.size()) all.push_back({std::exchange(run, {}), order});
    }
  }
  return all;
}

void check_same_ids(const Tokenizer& tokenizer, const TokenizerSpec& form, const std::string& where) {
  const Tokenizer written(form);
  if (written.hash() == tokenizer.hash()) return;
  for (const auto& [text, reason] : samples(tokenizer, form)) {
    const EncodeOptions options{.add_special = true};
    const std::vector<int32_t> ids = tokenizer.encode(text, options);
    if (written.encode(text, options) == ids && written.decode(ids) == tokenizer.decode(ids)) continue;
    throw Error(where + ": " + reason + ": llama.cpp would cut \"" + printable(text) + "\" otherwise", kMend);
  }
}

void write_sentencepiece(GgufWriter& out, const TokenizerSpec& spec, size_t rows) {
  const bool unigram = spec.model == "sentencepiece-unigram";
  out.set("tokenizer.ggml.model", unigram ? "t5" : "llama");
  std::vector<float> scores(spec.scores.begin(), spec.scores.end());
  scores.resize(std::max(rows, scores.size()), -10000);  // what fills the list is not to be made of text
  out.set("tokenizer.ggml.scores", scores);
  const SentencePieceOptions& options = spec.sentencepiece;
  out.set("tokenizer.ggml.add_space_prefix", options.add_dummy_prefix);
  if (!unigram) return;
  out.set("tokenizer.ggml.remove_extra_whitespaces", options.remove_extra_spaces);
  if (!options.charsmap.empty())
    out.set("tokenizer.ggml.precompiled_charsmap",
            std::vector<uint8_t>(options.charsmap.begin(), options.charsmap.end()));
}

void write_byte_level(GgufWriter& out, const TokenizerSpec& spec) {
  out.set("tokenizer.ggml.model", "gpt2");
  out.set("tokenizer.ggml.pre", spec.pre_tokenizer);
  out.set("tokenizer.ggml.merges", spec.merges);
}

}  // namespace

void write_gguf_tokenizer(GgufWriter& out, const Tokenizer& tokenizer, int64_t rows, const std::string& where) {
  TokenizerSpec spec = tokenizer.spec();  // complete: added tokens that GGUF names by kind alone
  if (is_sentencepiece(spec) || (spec.model == "components" && falls_back_to_bytes(spec))) {
    spec = sentencepiece_form(tokenizer, where);
    check_same_ids(tokenizer, spec, where);
    write_sentencepiece(out, spec, size_t(std::max<int64_t>(rows, 0)));
  } else if (!spec.pre_tokenizer.empty()) {
    write_byte_level(out, spec);
  } else {
    throw Error(where + ": GGUF has no name for this tokenizer's way of cutting words", kMend);
  }
  std::vector<std::string> tokens = spec.tokens;
  while (int64_t(tokens.size()) < rows) tokens.push_back(padding_token(tokens.size()));
  out.set("tokenizer.ggml.tokens", tokens);
  std::vector<int32_t> kinds(tokens.size(), int32_t(TokenKind::kUnused));
  std::transform(spec.kinds.begin(), spec.kinds.end(), kinds.begin(), [](TokenKind kind) { return int32_t(kind); });
  out.set("tokenizer.ggml.token_type", kinds);
  const auto id = [&](const char* key, int32_t value) {
    if (value >= 0) out.set(key, uint32_t(value));
  };
  id("tokenizer.ggml.bos_token_id", spec.bos), id("tokenizer.ggml.eos_token_id", spec.eos);
  id("tokenizer.ggml.unknown_token_id", spec.unk), id("tokenizer.ggml.padding_token_id", spec.pad);
  out.set("tokenizer.ggml.add_bos_token", spec.add_bos);
  out.set("tokenizer.ggml.add_eos_token", spec.add_eos);
  if (!spec.chat_template.empty()) out.set("tokenizer.chat_template", spec.chat_template);
}

TokenizerSpec without_padding(TokenizerSpec spec) {
  while (!spec.tokens.empty() && spec.tokens.size() == spec.kinds.size() && spec.kinds.back() == TokenKind::kUnused &&
         spec.tokens.back() == padding_token(spec.tokens.size() - 1))
    spec.tokens.pop_back(), spec.kinds.pop_back();
  if (spec.scores.size() > spec.tokens.size()) spec.scores.resize(spec.tokens.size());
  return spec;
}

}  // namespace sedum
