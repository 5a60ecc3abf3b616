#include "text/tokenizer.h"

#include <algorithm>
#include <utility>

#include <openssl/evp.h>

#include "base/error.h"
#include "text/added_tokens.h"
#include "text/bpe.h"
#include "text/pre_tokenizer.h"
#include "text/token_engine.h"
#include "text/unicode.h"

namespace sedum {

namespace {

// Names of tokens that end an answer in published chat models; files often list only one of several.
constexpr std::string_view kEndNames[] = {"<|im_end|>",
                                          "<|eot_id|>",
                                          "<|eom_id|>",
                                          "<|end_of_text|>",
                                          "<|endoftext|>",
                                          "<end_of_turn>",
                                          "<|end|>",
                                          "<|END_OF_TURN_TOKEN|>",
                                          "<|return|>",
                                          "<|call|>",
                                          "</s>",
                                          "<EOT>",
                                          "<|end_of_role|>",
                                          "<\xEF\xBD\x9C"
                                          "end\xE2\x96\x81of\xE2\x96\x81sentence\xEF\xBD\x9C>"};

std::string sha256_hex(const std::string& bytes) {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned length = 0;
  SEDUM_CHECK(EVP_Digest(bytes.data(), bytes.size(), digest, &length, EVP_sha256(), nullptr) == 1);
  std::string hex;
  for (unsigned i = 0; i < length; i++)
    hex += "0123456789abcdef"[digest[i] >> 4], hex += "0123456789abcdef"[digest[i] & 15];
  return hex;
}

// Fields with their lengths, so that no two specs write the same bytes.
struct Writer {
  std::string bytes;
  void put(std::string_view text) { put(text.size()), bytes += text; }
  void put(uint64_t number) { bytes.append(reinterpret_cast<const char*>(&number), sizeof(number)); }
  void put(int32_t number) { put(uint64_t(uint32_t(number))); }
  void put(const std::vector<std::string>& list) {
    put(list.size());
    for (const std::string& text : list) put(text);
  }
};

std::string digest(const TokenizerSpec& spec) {
  Writer w;
  w.put("sedum tokenizer 2");
  w.put(spec.model), w.put(canonical_pre_tokenizer(spec.pre_tokenizer)), w.put(spec.patterns), w.put(spec.tokens),
      w.put(spec.merges);
  w.put(spec.scores.size());
  w.bytes.append(reinterpret_cast<const char*>(spec.scores.data()), spec.scores.size() * sizeof(double));
  w.put(spec.added.size());
  for (const AddedToken& t : spec.added) {
    w.put(t.text), w.put(t.id);
    w.put(uint64_t(t.special | t.lstrip << 1 | t.rstrip << 2 | t.single_word << 3 | t.normalized << 4));
  }
  const SentencePieceOptions& sp = spec.sentencepiece;
  w.put(spec.components), w.put(sp.charsmap);
  w.put(uint64_t(sp.add_dummy_prefix | sp.remove_extra_spaces << 1 | sp.escape_spaces << 2 | sp.space_as_suffix << 3 |
                 sp.byte_fallback << 4 | sp.match_user_defined << 5));
  w.put(uint64_t(spec.nfc | spec.ignore_merges << 1 | spec.add_prefix_space << 2 | spec.add_bos << 3 |
                 spec.add_eos << 4));
  w.put(spec.bos), w.put(spec.eos), w.put(spec.unk);
  return sha256_hex(w.bytes);
}

void check_id(const TokenizerSpec& spec, int32_t id, const char* what) {
  if (id < -1 || id >= int32_t(spec.tokens.size())) {
    throw Error("tokenizer: " + std::string(what) + " is token " + std::to_string(id) + ", but the vocabulary has " +
                std::to_string(spec.tokens.size()));
  }
}

// Brings lists to full length, adds the control tokens to the added ones and the end tokens to those that end generation.
void complete(TokenizerSpec& spec) {
  if (spec.tokens.empty()) throw Error("tokenizer: the vocabulary is empty");
  if (spec.tokens.size() > size_t(INT32_MAX)) throw Error("tokenizer: too many tokens");
  if (!spec.kinds.empty() && spec.kinds.size() != spec.tokens.size()) {
    throw Error("tokenizer: " + std::to_string(spec.tokens.size()) + " tokens but " +
                std::to_string(spec.kinds.size()) + " token types");
  }
  spec.kinds.resize(spec.tokens.size(), TokenKind::kNormal);
  check_id(spec, spec.bos, "bos"), check_id(spec, spec.eos, "eos"), check_id(spec, spec.unk, "unk"),
      check_id(spec, spec.pad, "pad");
  for (int32_t id : spec.end_of_generation) check_id(spec, id, "an end-of-generation token");

  std::vector<bool> listed(spec.tokens.size());
  for (const AddedToken& token : spec.added) {
    check_id(spec, token.id, "an added token");
    if (token.id < 0) throw Error("tokenizer: the added token \"" + token.text + "\" has no id");
    listed[size_t(token.id)] = true;
    spec.tokens[size_t(token.id)] = token.text;
    TokenKind& kind = spec.kinds[size_t(token.id)];
    if (!token.special) kind = TokenKind::kUserDefined;
    if (token.special && kind != TokenKind::kUnknown) kind = TokenKind::kControl;
  }
  for (size_t id = 0; id < spec.tokens.size(); id++) {
    const TokenKind kind = spec.kinds[id];
    if (listed[id] || (kind != TokenKind::kControl && kind != TokenKind::kUserDefined)) continue;
    if (kind == TokenKind::kUserDefined && spec.sentencepiece.match_user_defined) continue;
    AddedToken token;
    token.text = spec.tokens[id];
    token.id = int32_t(id);
    token.special = kind == TokenKind::kControl;
    spec.added.push_back(token);
  }
  auto& ends = spec.end_of_generation;
  if (spec.eos >= 0) ends.push_back(spec.eos);
  for (const AddedToken& token : spec.added)
    if (std::find(std::begin(kEndNames), std::end(kEndNames), token.text) != std::end(kEndNames))
      ends.push_back(token.id);
  std::sort(ends.begin(), ends.end());
  ends.erase(std::unique(ends.begin(), ends.end()), ends.end());
  std::erase(ends, -1);
}

}  // namespace

void apply_known_defaults(TokenizerSpec& spec) {
  const std::string_view name = canonical_pre_tokenizer(spec.pre_tokenizer);
  if (name.empty()) {
    const std::string near = nearest_name(spec.pre_tokenizer, known_pre_tokenizers());
    throw Error("pre-tokenizer \"" + spec.pre_tokenizer + "\" is not known" +
                    (near.empty() ? "" : "; nearest: \"" + near + "\""),
                "use the model's tokenizer.json, which spells its patterns out");
  }
  const auto is = [&](std::initializer_list<std::string_view> names) {
    return std::find(names.begin(), names.end(), spec.pre_tokenizer) != names.end();
  };
  if (is({"qwen2", "deepseek-r1-qwen", "megrez", "f2llmv2", "qwen35"})) spec.nfc = true;
  if (is({"llama-bpe", "llama3", "llama-v3", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2", "jina-v5-nano",
          "tekken"}))
    spec.ignore_merges = spec.add_bos = true;
  if (is({"glm4", "glm5", "minicpm5", "youtu", "granite-embed-multi-97m"})) spec.ignore_merges = true;
  if (name == "chameleon") spec.add_bos = true;
}

struct Tokenizer::Implementation {
  explicit Implementation(TokenizerSpec s);
  void build_bytes();
  void encode(std::string_view text, const EncodeOptions& options, std::vector<int32_t>& out) const;

  TokenizerSpec spec;
  TokenIds ids;  // by the token as stored
  std::unique_ptr<TokenEngine> engine;
  std::unique_ptr<AddedTokens> raw_added, normalized_added;
  std::string bytes;               // what all tokens stand for, one after the other
  std::vector<size_t> bytes_from;  // by id; one more at the end
  std::vector<bool> special, ends;
  std::string hash;
  mutable TokenCachePool caches;
};

Tokenizer::Implementation::Implementation(TokenizerSpec s) : spec(std::move(s)) {
  complete(spec);
  ids.reserve(spec.tokens.size());
  for (size_t id = 0; id < spec.tokens.size(); id++)
    if (!spec.tokens[id].empty()) ids.emplace(spec.tokens[id], int32_t(id));
  engine = make_token_engine(spec, ids);
  std::vector<AddedToken> added = spec.added;
  for (AddedToken& token : added)
    if (token.normalized) token.text = engine->normalize(token.text);
  raw_added = std::make_unique<AddedTokens>(added, false);
  normalized_added = std::make_unique<AddedTokens>(added, true);
  build_bytes();
  hash = digest(spec);
}

void Tokenizer::Implementation::build_bytes() {
  special.resize(spec.tokens.size());
  ends.resize(spec.tokens.size());
  for (size_t id = 0; id < spec.tokens.size(); id++) {
    special[id] = spec.kinds[id] == TokenKind::kControl || spec.kinds[id] == TokenKind::kUnknown;
    bytes_from.push_back(bytes.size());
    bytes += engine->token_text(int32_t(id), false);
  }
  bytes_from.push_back(bytes.size());
  for (int32_t id : spec.end_of_generation) ends[size_t(id)] = true;
}

void Tokenizer::Implementation::encode(std::string_view text, const EncodeOptions& options,
                                       std::vector<int32_t>& out) const {
  std::unique_ptr<TokenCache> cache = caches.take();
  const auto on_token = [&](const AddedToken& token) { out.push_back(token.id); };
  const bool whole_parts = normalized_added->empty();
  const auto on_raw = [&](std::string_view part) {
    const bool at_start = part.data() == text.data();
    if (whole_parts) return engine->encode_raw(part, at_start, *cache, out);
    const std::string normal = engine->normalize(part);
    normalized_added->split(
        normal, options.parse_special,
        [&](std::string_view piece) {
          engine->encode_normal(piece, at_start && piece.data() == normal.data(), *cache, out);
        },
        on_token);
  };
  raw_added->split(text, options.parse_special, on_raw, on_token);
  caches.give_back(std::move(cache));
}

Tokenizer::Tokenizer(TokenizerSpec spec) : impl_(std::make_unique<Implementation>(std::move(spec))) {}
Tokenizer::~Tokenizer() = default;
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;
Tokenizer& Tokenizer::operator=(Tokenizer&&) noexcept = default;

std::vector<int32_t> Tokenizer::encode(std::string_view text, EncodeOptions options) const {
  const Implementation& t = *impl_;
  std::vector<int32_t> out;
  out.reserve(text.size() / 3 + 8);
  const PostProcessor& frame = t.engine->post_processor();
  if (options.add_special) frame.before(out);
  // Files hold what people wrote, well-formed or not; the engines that cannot keep other bytes replace them.
  if (t.engine->keeps_bytes() || unicode::is_valid(text)) {
    t.encode(text, options, out);
  } else {
    t.encode(unicode::replace_invalid(text), options, out);
  }
  if (options.add_special) frame.behind(out);
  return out;
}

Encoding Tokenizer::encode_single(std::string_view text, std::optional<Truncation> truncation) const {
  const PostProcessor& frame = impl_->engine->post_processor();
  return frame.single(encode(text), truncation.value_or(frame.truncation()));
}

Encoding Tokenizer::encode_pair(std::string_view first, std::string_view second,
                                std::optional<Truncation> truncation) const {
  const PostProcessor& frame = impl_->engine->post_processor();
  return frame.pair(encode(first), encode(second), truncation.value_or(frame.truncation()));
}

void Tokenizer::pad(std::span<Encoding> batch, std::optional<Padding> padding) const {
  Padding p = padding.value_or(impl_->engine->post_processor().padding());
  if (!padding && p.id == 0 && impl_->spec.pad >= 0) p.id = impl_->spec.pad;
  pad_encodings(batch, p);
}

std::string Tokenizer::decode(std::span<const int32_t> ids, bool skip_special) const {
  std::string out;
  bool first = true;
  for (int32_t id : ids) {
    if (skip_special && is_special(id)) continue;
    if (std::exchange(first, false))
      out += first_token_bytes(id);
    else
      out += token_bytes(id);
  }
  size_t spaces = 0;
  while (spaces < size_t(spaces_to_strip()) && spaces < out.size() && out[spaces] == ' ') spaces++;
  return spaces ? out.substr(spaces) : out;
}

std::string_view Tokenizer::token_bytes(int32_t id) const {
  if (id < 0 || id >= vocab_size()) {
    throw Error("token id " + std::to_string(id) + " is outside the vocabulary of " + std::to_string(vocab_size()));
  }
  const size_t from = impl_->bytes_from[size_t(id)];
  return std::string_view(impl_->bytes).substr(from, impl_->bytes_from[size_t(id) + 1] - from);
}

std::string Tokenizer::first_token_bytes(int32_t id) const {
  const std::string_view inside = token_bytes(id);  // checks the id
  return impl_->engine->first_differs() ? impl_->engine->token_text(id, true) : std::string(inside);
}

int Tokenizer::spaces_to_strip() const { return impl_->engine->spaces_to_strip(); }

std::optional<int32_t> Tokenizer::id_of(std::string_view text) const {
  const auto& ids = impl_->ids;
  const auto literal = ids.find(text);
  const bool bytes = impl_->engine->stores_byte_alphabet();
  if (literal != ids.end() && (!bytes || is_literal(impl_->spec.kinds[size_t(literal->second)])))
    return literal->second;
  if (!bytes) return std::nullopt;
  const auto found = ids.find(to_byte_alphabet(text));
  if (found != ids.end() && !is_literal(impl_->spec.kinds[size_t(found->second)])) return found->second;
  return std::nullopt;
}

bool Tokenizer::is_special(int32_t id) const { return id >= 0 && id < vocab_size() && impl_->special[size_t(id)]; }
bool Tokenizer::ends_generation(int32_t id) const { return id >= 0 && id < vocab_size() && impl_->ends[size_t(id)]; }
int32_t Tokenizer::vocab_size() const { return int32_t(impl_->spec.tokens.size()); }
const TokenizerSpec& Tokenizer::spec() const { return impl_->spec; }
const std::string& Tokenizer::hash() const { return impl_->hash; }

}  // namespace sedum
