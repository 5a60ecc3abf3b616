#pragma once
// What a Tokenizer does between added tokens, by kind of tokenizer; and tokens back to text.

#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "text/post_processor.h"
#include "text/tokenizer.h"
#include "text/unigram.h"
#include "text/word_cache.h"
#include "text/word_model.h"

namespace sedum {

// What one thread remembers of words while it encodes.
struct TokenCache {
  WordCache words;
  std::unique_ptr<UnigramCache> parts = {};
  UnigramCache& unigram() {
    if (!parts) parts = std::make_unique<UnigramCache>();
    return *parts;
  }
};

class TokenCachePool {
 public:
  std::unique_ptr<TokenCache> take() {
    const std::lock_guard lock(mutex_);
    if (free_.empty()) return std::make_unique<TokenCache>();
    auto cache = std::move(free_.back());
    free_.pop_back();
    return cache;
  }
  void give_back(std::unique_ptr<TokenCache> cache) {
    const std::lock_guard lock(mutex_);
    free_.push_back(std::move(cache));
  }

 private:
  std::mutex mutex_;
  std::vector<std::unique_ptr<TokenCache>> free_;
};

class TokenEngine {
 public:
  explicit TokenEngine(PostProcessor post_processor) : post_processor_(std::move(post_processor)) {}
  virtual ~TokenEngine() = default;

  virtual std::string normalize(std::string_view text) const = 0;
  // `at_start`: the part begins the whole text. Appends.
  virtual void encode_normal(std::string_view normal, bool at_start, TokenCache& cache,
                             std::vector<int32_t>& out) const = 0;
  virtual void encode_raw(std::string_view text, bool at_start, TokenCache& cache, std::vector<int32_t>& out) const {
    encode_normal(normalize(text), at_start, cache, out);
  }

  virtual std::string token_text(int32_t id, bool first) const = 0;
  virtual bool first_differs() const { return false; }
  virtual int spaces_to_strip() const { return 0; }
  virtual bool keeps_bytes() const { return false; }  // bytes that are no UTF-8 come through
  virtual bool stores_byte_alphabet() const { return false; }
  const PostProcessor& post_processor() const { return post_processor_; }

 private:
  PostProcessor post_processor_;
};

// Token kinds that are text as it stands.
inline bool is_literal(TokenKind kind) {
  return kind == TokenKind::kControl || kind == TokenKind::kUserDefined || kind == TokenKind::kUnknown;
}

// Throws Error when the spec contradicts itself. `spec` and `ids` (views into it) outlive the engine.
std::unique_ptr<TokenEngine> make_token_engine(const TokenizerSpec& spec, const TokenIds& ids);
std::unique_ptr<TokenEngine> make_byte_level_engine(const TokenizerSpec& spec);
std::unique_ptr<TokenEngine> make_sentencepiece_engine(const TokenizerSpec& spec, const TokenIds& ids);
std::unique_ptr<TokenEngine> make_components_engine(const TokenizerSpec& spec, const TokenIds& ids);

// Through the cache of words, for models of whole words.
template <class Encode>
inline void encode_cached(const char* p, const char* q, const char* end, WordCache& cache, std::vector<int32_t>& out,
                          Encode encode) {
  const size_t length = size_t(q - p);
  if (length > WordCache::kMaxBytes) return encode(std::string_view(p, length));
  const WordCache::Key key = WordCache::key(p, length, size_t(end - p));
  WordCache::Slot& slot = cache.slot(key);
  if (slot.holds(key)) {
    for (size_t i = 0; i < WordCache::kMaxIds && slot.ids[i] >= 0; i++) out.push_back(slot.ids[i]);
    return;
  }
  const size_t before = out.size();
  encode(std::string_view(p, length));
  const size_t count = out.size() - before;
  if (count > 0 && count <= WordCache::kMaxIds) slot.put(key, {out.data() + before, count});
}

}  // namespace sedum
