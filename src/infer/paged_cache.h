#pragma once
// Keys and values of many sequences in pages (Kwon et al.: "Efficient Memory Management for LLM Serving with PagedAttention", 2023).
//
//   PagedCache cache(arena, config, DType::kBF16, pages);
//   PagedSequence sequence;
//   cache.find(sequence, tokens, adapter);               // begins with whole pages that somebody has computed already
//   cache.reserve(sequence, 17);                         // pages for 17 more tokens; false when there are none
//   PagedStep step(cache, {{&sequence, 17}});            // this step's rows, in order: a SequenceState
//   model.hidden_states(ctx, {…, .state = &step});
//   step.commit();                                       // the sequences are longer now
//   cache.remember(sequence, tokens, adapter);           // whole pages can be found from now on
//   PagedSequence other = cache.fork(sequence);          // shares all pages; who writes to a shared one copies it first
//   cache.release(sequence);
//
// A page holds kPageTokens tokens of every layer. For a layer, values lie as (page, num_key_value_heads, kPageTokens, head_dim), keys by dimension,
// (page, num_key_value_heads, head_dim, kPageTokens): KeysValues in attention.h.
//
// Windows. Where every layer has a window, pages whose keys no later query sees are given back when room for the next tokens is reserved;
// they stay known, so that prompts with the same beginning find them while their memory is not needed. Layers share their pages: where some of
// them see everything (Gemma 3), all is kept.
//
// Prefix cache. A remembered page is known by its tokens and by the page before it (for the first: by a root, one for each adapter), so that
// a find compares all that its keys and values depend on. Pages of nobody stay known until their memory is needed: the least recently
// used go first, and of one sequence the later before the earlier.

#include <array>
#include <map>
#include <span>
#include <unordered_map>
#include <vector>

#include "model/config.h"
#include "model/nn/batch.h"

namespace sedum {

struct PagedSequence {
  std::vector<int32_t> pages;  // those before `first` are −1
  int64_t length = 0;          // tokens stored
  int64_t remembered = 0;      // pages, from the beginning, that are known
  int64_t first = 0;           // pages that were given back, because no later query sees their keys
  uint64_t serial = 0;         // of the last page that is remembered
  int64_t held() const { return int64_t(pages.size()) - first; }
};

class PagedCache {
 public:
  static constexpr int kPageTokens = 16;
  // Address space for all pages; memory is used as pages are.
  PagedCache(Arena& arena, const ModelConfig& config, DType dtype, int64_t pages);

  bool reserve(PagedSequence& sequence, int64_t tokens);
  void release(PagedSequence& sequence);
  PagedSequence fork(const PagedSequence& sequence);
  // Forgets the last tokens; remembered pages must stay, and so must the length that room was last reserved at.
  void truncate(PagedSequence& sequence, int64_t length);

  // `sequence` is empty. Gives it the longest known beginning of `tokens`, but never all of them: somebody wants the logits of the last.
  // Returns the tokens found.
  int64_t find(PagedSequence& sequence, std::span<const int32_t> tokens, uint64_t root);
  // Pages beyond `tokens` are left unknown (guesses that may be taken back). Where an equal page is known already, the sequence takes that one and frees its own.
  void remember(PagedSequence& sequence, std::span<const int32_t> tokens, uint64_t root);
  void forget();  // all pages of nobody become unknown

  int64_t free_pages() const { return int64_t(free_.size() + unused_.size()); }  // cached ones can be taken too
  int64_t cached_pages() const { return int64_t(unused_.size()); }
  int64_t page_count() const { return page_count_; }
  int64_t page_bytes() const;  // over all layers, keys and values
  // What a token takes of it. dtype: kF32, kBF16, or kI8 as scaled_heads.h has it.
  static int64_t token_bytes(const ModelConfig& config, DType dtype);
  // The longest sequence that can be computed, `rows` tokens at a time, when all pages are its own.
  int64_t longest(int64_t rows) const;
  static int64_t pages_for(int64_t tokens) { return (tokens + kPageTokens - 1) / kPageTokens; }

 private:
  friend class PagedStep;
  struct Key {
    uint64_t parent;
    std::array<int32_t, kPageTokens> tokens;
    bool operator==(const Key&) const = default;
  };
  struct KeyHash {
    size_t operator()(const Key& key) const;
  };
  struct Page {
    int32_t references = 0;
    uint64_t serial = 0;       // of its content, never used twice; 0: unknown
    uint64_t last_use = 0;     // its place in unused_
    const Key* key = nullptr;  // in known_
  };
  void release_unseen(PagedSequence& sequence);
  int32_t take_page();
  void drop(int32_t page);
  void make_unknown(int32_t page);
  void copy_page(int32_t from, int32_t to);
  static Key key_of(uint64_t parent, std::span<const int32_t> tokens, int64_t page);

  int64_t window_ = 0;                // the widest, if all layers have one; else 0
  int64_t page_count_, page_values_;  // values of a page in one layer's keys; with kI8 bytes, scales included
  int64_t heads_, head_dim_;
  DType dtype_;
  std::vector<Tensor> keys_, values_;  // by layer
  std::vector<int32_t> free_;          // unknown pages of nobody
  std::vector<Page> pages_;
  std::unordered_map<Key, int32_t, KeyHash> known_;
  std::map<uint64_t, int32_t> unused_;                    // known pages of nobody, by last use
  uint64_t clock_ = 0, next_serial_ = uint64_t{1} << 32;  // roots lie below
};

class PagedStep : public SequenceState {
 public:
  struct Part {
    PagedSequence* sequence;
    int64_t rows;
  };
  // Room for the rows must have been reserved.
  PagedStep(PagedCache& cache, std::vector<Part> parts);
  View store(Context& ctx, int64_t layer, const Tensor& keys, const Tensor& values) override;
  void commit();

 private:
  // store(x, group, slot): one head of one row goes to token `slot` of a page; group = page · num_key_value_heads + head.
  template <class F>
  void each_head(Context& ctx, const Tensor& from, F&& store) const;
  template <class T>
  void copy_keys(Context& ctx, const Tensor& from, T* pages) const;
  template <class T>
  void copy_values(Context& ctx, const Tensor& from, T* pages) const;
  void quantise_rows(Context& ctx, const Tensor& from, int8_t* pages) const;
  PagedCache& cache_;
  std::vector<Part> parts_;
  std::vector<AttentionSegment> segments_;
};

}  // namespace sedum
