#pragma once
// Keys and values of many sequences in pages (Kwon et al.: "Efficient Memory Management for LLM Serving with PagedAttention", 2023).
//
//   PagedCache cache(arena, config, DType::kBF16, pages);
//   PagedSequence sequence;
//   cache.reserve(sequence, 17);                         // pages for 17 more tokens; false when there are none
//   PagedStep step(cache, {{&sequence, 17}});            // this step's rows, in order: a SequenceState
//   model.hidden_states(ctx, {…, .state = &step});
//   step.commit();                                       // the sequences are longer now
//   cache.release(sequence);
//
// A page holds kPageTokens tokens of every layer. For a layer, keys lie as (page, num_key_value_heads, kPageTokens, head_dim), values too.

#include <vector>

#include "model/config.h"
#include "model/nn/batch.h"

namespace sedum {

struct PagedSequence {
  std::vector<int32_t> pages;
  int64_t length = 0;  // tokens stored
};

class PagedCache {
 public:
  static constexpr int kPageTokens = 32;
  // Address space for all pages; memory is used as pages are.
  PagedCache(Arena& arena, const ModelConfig& config, DType dtype, int64_t pages);

  bool reserve(PagedSequence& sequence, int64_t tokens);
  void release(PagedSequence& sequence);
  int64_t free_pages() const { return int64_t(free_.size()); }
  int64_t page_count() const { return page_count_; }
  int64_t page_bytes() const;  // over all layers, keys and values
  static int64_t pages_for(int64_t tokens) { return (tokens + kPageTokens - 1) / kPageTokens; }

 private:
  friend class PagedStep;
  int64_t page_count_, page_values_;  // values of a page in one layer's keys
  int64_t heads_, head_dim_;
  DType dtype_;
  std::vector<Tensor> keys_, values_;  // by layer
  std::vector<int32_t> free_;
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
  template <class T>
  void copy_rows(Context& ctx, const Tensor& from, Tensor& to) const;
  PagedCache& cache_;
  std::vector<Part> parts_;
  std::vector<AttentionSegment> segments_;
};

}  // namespace sedum
