#include "text/tokenizer.h"

#include <algorithm>

#include <openssl/evp.h>

#include "base/error.h"
#include "text/added_tokens.h"
#include "text/bpe.h"
#include "text/pre_tokenizer.h"
#include "text/unicode.h"
#include "text/word_cache.h"

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
  w.put("sedum tokenizer 1");
  w.put(spec.model), w.put(canonical_pre_tokenizer(spec.pre_tokenizer)), w.put(spec.patterns), w.put(spec.tokens),
      w.put(spec.merges);
  w.put(spec.scores.size());
  w.bytes.append(reinterpret_cast<const char*>(spec.scores.data()), spec.scores.size() * sizeof(float));
  w.put(spec.added.size());
  for (const AddedToken& t : spec.added) {
    w.put(t.text), w.put(t.id);
    w.put(uint64_t(t.special | t.lstrip << 1 | t.rstrip << 2 | t.single_word << 3 | t.normalized << 4));
  }
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

bool is_literal(TokenKind kind) {
  return kind == TokenKind::kControl || kind == TokenKind::kUserDefined || kind == TokenKind::kUnknown;
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
    spec.kinds[size_t(token.id)] = token.special ? TokenKind::kControl : TokenKind::kUserDefined;
  }
  for (size_t id = 0; id < spec.tokens.size(); id++) {
    const TokenKind kind = spec.kinds[id];
    if (listed[id] || (kind != TokenKind::kControl && kind != TokenKind::kUserDefined)) continue;
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
  if (name == "qwen2") spec.nfc = true;
  if (name == "llama-bpe") spec.ignore_merges = spec.add_bos = true;
}

struct Tokenizer::Implementation {
  explicit Implementation(TokenizerSpec s);
  void encode_text(std::string_view text, WordCache& cache, std::vector<int32_t>& out) const;
  void encode_words(std::string_view text, WordCache& cache, std::vector<int32_t>& out) const;
  void encode_word(const char* p, const char* q, const char* end, WordCache& cache, std::vector<int32_t>& out) const;
  void build_bytes();

  TokenizerSpec spec;
  BpeModel::Vocabulary ids;  // by the token as stored
  std::unique_ptr<BpeModel> bpe;
  NextWord next_word = nullptr;
  std::unique_ptr<PatternSplitter> patterns;
  std::unique_ptr<AddedTokens> raw_added, normalized_added;
  std::string bytes;               // what all tokens stand for, one after the other
  std::vector<size_t> bytes_from;  // by id; one more at the end
  std::vector<bool> special, ends;
  std::string hash;
  mutable WordCachePool caches;
};

Tokenizer::Implementation::Implementation(TokenizerSpec s) : spec(std::move(s)) {
  if (spec.model != "bpe")
    throw Error("tokenizer model \"" + spec.model + "\" is not supported", "supported: bpe (byte-level)");
  complete(spec);
  if (!spec.pre_tokenizer.empty()) {
    next_word = find_pre_tokenizer(spec.pre_tokenizer);
    if (!next_word) apply_known_defaults(spec);  // throws, with the nearest name
  } else {
    patterns = std::make_unique<PatternSplitter>(spec.patterns);
  }
  BpeModel::Vocabulary ordinary;  // what users write can never merge into a control token
  ids.reserve(spec.tokens.size());
  ordinary.reserve(spec.tokens.size());
  for (size_t id = 0; id < spec.tokens.size(); id++) {
    if (spec.tokens[id].empty()) continue;
    ids.emplace(spec.tokens[id], int32_t(id));
    if (spec.kinds[id] != TokenKind::kControl && spec.kinds[id] != TokenKind::kUnused)
      ordinary.emplace(spec.tokens[id], int32_t(id));
  }
  bpe = std::make_unique<BpeModel>(ordinary, spec.merges, spec.ignore_merges, spec.unk);
  std::vector<AddedToken> added = spec.added;
  if (spec.nfc)
    for (AddedToken& token : added)
      if (token.normalized) token.text = unicode::nfc(token.text);
  raw_added = std::make_unique<AddedTokens>(added, false);
  normalized_added = std::make_unique<AddedTokens>(added, true);
  build_bytes();
  hash = digest(spec);
}

void Tokenizer::Implementation::build_bytes() {
  special.resize(spec.tokens.size());
  ends.resize(spec.tokens.size());
  std::string decoded;
  for (size_t id = 0; id < spec.tokens.size(); id++) {
    special[id] = spec.kinds[id] == TokenKind::kControl || spec.kinds[id] == TokenKind::kUnknown;
    bytes_from.push_back(bytes.size());
    const bool literal = is_literal(spec.kinds[id]) || !from_byte_alphabet(spec.tokens[id], decoded);
    bytes += literal ? spec.tokens[id] : decoded;
  }
  bytes_from.push_back(bytes.size());
  for (int32_t id : spec.end_of_generation) ends[size_t(id)] = true;
}

inline void Tokenizer::Implementation::encode_word(const char* p, const char* q, const char* end, WordCache& cache,
                                                   std::vector<int32_t>& out) const {
  const size_t length = size_t(q - p);
  if (length > WordCache::kMaxBytes) return bpe->encode_word({p, length}, out);
  const WordCache::Key key = WordCache::key(p, length, size_t(end - p));
  WordCache::Slot& slot = cache.slot(key);
  if (slot.holds(key)) {
    for (size_t i = 0; i < WordCache::kMaxIds && slot.ids[i] >= 0; i++) out.push_back(slot.ids[i]);
    return;
  }
  const size_t before = out.size();
  bpe->encode_word({p, length}, out);
  const size_t count = out.size() - before;
  if (count > 0 && count <= WordCache::kMaxIds) slot.put(key, {out.data() + before, count});
}

void Tokenizer::Implementation::encode_words(std::string_view text, WordCache& cache, std::vector<int32_t>& out) const {
  const char *p = text.data(), *end = p + text.size();
  if (next_word) {
    for (const char* q; p < end; p = q) {
      q = next_word(p, end);
      encode_word(p, q, end, cache, out);
    }
  } else {
    for (std::string_view word : patterns->split(text))
      encode_word(word.data(), word.data() + word.size(), end, cache, out);
  }
}

// Text between added tokens.
void Tokenizer::Implementation::encode_text(std::string_view text, WordCache& cache, std::vector<int32_t>& out) const {
  if (!spec.add_prefix_space || text.starts_with(' ')) return encode_words(text, cache, out);
  encode_words(" " + std::string(text), cache, out);
}

Tokenizer::Tokenizer(TokenizerSpec spec) : impl_(std::make_unique<Implementation>(std::move(spec))) {}
Tokenizer::~Tokenizer() = default;
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;
Tokenizer& Tokenizer::operator=(Tokenizer&&) noexcept = default;

std::vector<int32_t> Tokenizer::encode(std::string_view text, EncodeOptions options) const {
  const Implementation& t = *impl_;
  std::vector<int32_t> out;
  out.reserve(text.size() / 3 + 8);
  std::unique_ptr<WordCache> cache = t.caches.take();
  if (options.add_special && t.spec.add_bos && t.spec.bos >= 0) out.push_back(t.spec.bos);
  const auto on_token = [&](const AddedToken& token) { out.push_back(token.id); };
  const auto on_normal = [&](std::string_view part) { t.encode_text(part, *cache, out); };
  const auto on_raw = [&](std::string_view part) {
    const std::string normal = t.spec.nfc ? unicode::nfc(part) : std::string();
    const std::string_view view = t.spec.nfc ? std::string_view(normal) : part;
    t.normalized_added->split(view, options.parse_special, on_normal, on_token);
  };
  t.raw_added->split(text, options.parse_special, on_raw, on_token);
  if (options.add_special && t.spec.add_eos && t.spec.eos >= 0) out.push_back(t.spec.eos);
  t.caches.give_back(std::move(cache));
  return out;
}

std::string Tokenizer::decode(std::span<const int32_t> ids, bool skip_special) const {
  std::string out;
  for (int32_t id : ids)
    if (!skip_special || !is_special(id)) out += token_bytes(id);
  return out;
}

std::string_view Tokenizer::token_bytes(int32_t id) const {
  if (id < 0 || id >= vocab_size()) {
    throw Error("token id " + std::to_string(id) + " is outside the vocabulary of " + std::to_string(vocab_size()));
  }
  const size_t from = impl_->bytes_from[size_t(id)];
  return std::string_view(impl_->bytes).substr(from, impl_->bytes_from[size_t(id) + 1] - from);
}

std::optional<int32_t> Tokenizer::id_of(std::string_view text) const {
  const auto& ids = impl_->ids;
  const auto literal = ids.find(text);
  if (literal != ids.end() && is_literal(impl_->spec.kinds[size_t(literal->second)])) return literal->second;
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
