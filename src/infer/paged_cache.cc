#include "infer/paged_cache.h"

#include "base/error.h"

namespace sedum {

PagedCache::PagedCache(Arena& arena, const ModelConfig& config, DType dtype, int64_t pages)
    : page_count_(pages),
      page_values_(config.num_key_value_heads * kPageTokens * config.head_dim),
      heads_(config.num_key_value_heads),
      head_dim_(config.head_dim),
      dtype_(dtype) {
  for (int64_t layer = 0; layer < config.num_hidden_layers; ++layer) {
    keys_.push_back(Tensor::empty(arena, dtype, {pages, page_values_}));
    values_.push_back(Tensor::empty(arena, dtype, {pages, page_values_}));
  }
  for (int64_t p = pages; p > 0; --p)
    free_.push_back(int32_t(p - 1));  // low numbers first: memory is touched as it is needed
}

int64_t PagedCache::page_bytes() const { return int64_t(row_bytes(dtype_, page_values_)) * 2 * int64_t(keys_.size()); }

bool PagedCache::reserve(PagedSequence& sequence, int64_t tokens) {
  const int64_t more = pages_for(sequence.length + tokens) - int64_t(sequence.pages.size());
  if (more > free_pages()) return false;
  for (int64_t i = 0; i < more; ++i) sequence.pages.push_back(free_.back()), free_.pop_back();
  return true;
}

void PagedCache::release(PagedSequence& sequence) {
  free_.insert(free_.end(), sequence.pages.rbegin(), sequence.pages.rend());
  sequence = {};
}

PagedStep::PagedStep(PagedCache& cache, std::vector<Part> parts) : cache_(cache), parts_(std::move(parts)) {
  int64_t row = 0;
  for (const auto& [sequence, rows] : parts_) {
    SEDUM_CHECK(int64_t(sequence->pages.size()) >= PagedCache::pages_for(sequence->length + rows), "no pages reserved");
    segments_.push_back({row, rows, 0, sequence->length + rows, sequence->pages.data()});
    row += rows;
  }
}

template <class T>
void PagedStep::copy_rows(Context& ctx, const Tensor& from, Tensor& to) const {
  const float* source = from.data<float>();
  T* pages = to.data<T>();
  const int64_t width = cache_.heads_ * cache_.head_dim_;
  ctx.pool->parallel_for(
      from.shape().rows(),
      [&](int64_t begin, int64_t end) {
        size_t part = 0;
        int64_t part_begin = 0;
        for (int64_t row = begin; row < end; ++row) {
          while (row >= part_begin + parts_[part].rows) part_begin += parts_[part++].rows;
          const PagedSequence& sequence = *parts_[part].sequence;
          const int64_t position = sequence.length + row - part_begin;
          T* page = pages + sequence.pages[size_t(position / PagedCache::kPageTokens)] * cache_.page_values_;
          for (int64_t h = 0; h < cache_.heads_; ++h) {
            T* slot = page + (h * PagedCache::kPageTokens + position % PagedCache::kPageTokens) * cache_.head_dim_;
            for (int64_t d = 0; d < cache_.head_dim_; ++d) slot[d] = T(source[row * width + h * cache_.head_dim_ + d]);
          }
        }
      },
      8);
}

SequenceState::View PagedStep::store(Context& ctx, int64_t layer, const Tensor& keys, const Tensor& values) {
  Tensor &k = cache_.keys_[size_t(layer)], &v = cache_.values_[size_t(layer)];
  if (ctx.runs()) {
    if (cache_.dtype_ == DType::kBF16)
      copy_rows<bf16>(ctx, keys, k), copy_rows<bf16>(ctx, values, v);
    else
      copy_rows<float>(ctx, keys, k), copy_rows<float>(ctx, values, v);
  }
  return {{cache_.dtype_, k.raw(), v.raw(), 0, PagedCache::kPageTokens, cache_.page_values_}, &segments_};
}

void PagedStep::commit() {
  for (const auto& [sequence, rows] : parts_) sequence->length += rows;
}

}  // namespace sedum
