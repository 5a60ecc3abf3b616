#include "infer/paged_cache.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/error.h"
#include "compute/kernels/generic/attention_table.h"

namespace sedum {
namespace {

// What one head of one token takes, in values of `dtype`.
int64_t stored_values(int64_t head_dim, DType dtype) {
  return dtype == DType::kI8 ? scaled_head_bytes(head_dim) : head_dim;
}

// Keys as their integers stand for them: see scaled_heads.h.
Tensor turned_heads(Context& ctx, const Tensor& keys, int64_t head_dim) {
  Tensor turned = ctx.empty(DType::kF32, keys.shape());
  const int64_t width = keys.size(-1);
  ctx.pool->parallel_for(
      keys.shape().rows(),
      [&](int64_t begin, int64_t end) {
        std::copy_n(keys.data<float>() + begin * width, (end - begin) * width, turned.data<float>() + begin * width);
        for (int64_t at = begin * width; at < end * width; at += head_dim)
          turn_blocks(turned.data<float>() + at, head_dim);
      },
      8);
  return turned;
}

}  // namespace

PagedCache::PagedCache(Arena& arena, const ModelConfig& config, DType dtype, int64_t pages)
    : page_count_(pages),
      page_values_(config.num_key_value_heads * kPageTokens * stored_values(config.head_dim, dtype)),
      heads_(config.num_key_value_heads),
      head_dim_(config.head_dim),
      dtype_(dtype),
      pages_(size_t(pages)) {
  for (int64_t layer = 0; layer < config.num_hidden_layers; ++layer) {
    keys_.push_back(Tensor::empty(arena, dtype, {pages, page_values_}));
    values_.push_back(Tensor::empty(arena, dtype, {pages, page_values_}));
  }
  for (int64_t layer = 0; layer < config.num_hidden_layers; ++layer) {
    const int64_t window = config.window_of(layer);
    if (window == 0) {
      window_ = 0;
      break;
    }
    window_ = std::max(window_, window);
  }
  for (int64_t p = pages; p > 0; --p)
    free_.push_back(int32_t(p - 1));  // low numbers first: memory is touched as it is needed
}

int64_t PagedCache::page_bytes() const { return int64_t(row_bytes(dtype_, page_values_)) * 2 * int64_t(keys_.size()); }

int64_t PagedCache::token_bytes(const ModelConfig& config, DType dtype) {
  return 2 * config.num_hidden_layers * config.num_key_value_heads * stored_values(config.head_dim, dtype) *
         int64_t(row_bytes(dtype, 1));
}

int64_t PagedCache::longest(int64_t rows) const {
  // A window and the rows, neither beginning at a page's or a block's border, and a page that is copied before it is written.
  const int64_t held = pages_for(window_ + rows) + kKeyBlock / kPageTokens + 2;
  return window_ > 0 && held <= page_count_ ? INT64_MAX / kPageTokens : page_count_ * kPageTokens;
}

// The next query, at position length, sees the keys from length + 1 − window on, and reads from the beginning of their block.
void PagedCache::release_unseen(PagedSequence& sequence) {
  if (window_ == 0) return;
  const int64_t end = std::max<int64_t>(0, sequence.length + 1 - window_) / kKeyBlock * (kKeyBlock / kPageTokens);
  for (; sequence.first < end; ++sequence.first) drop(std::exchange(sequence.pages[size_t(sequence.first)], -1));
}

bool PagedCache::reserve(PagedSequence& sequence, int64_t tokens) {
  release_unseen(sequence);
  const size_t written = size_t(sequence.length / kPageTokens);  // the first page that changes
  const bool shared =
      tokens > 0 && written < sequence.pages.size() && pages_[size_t(sequence.pages[written])].references > 1;
  const int64_t more = std::max<int64_t>(0, pages_for(sequence.length + tokens) - int64_t(sequence.pages.size()));
  if (more + shared > free_pages()) return false;
  if (shared) {
    const int32_t copy = take_page();
    copy_page(sequence.pages[written], copy);
    drop(std::exchange(sequence.pages[written], copy));
  }
  for (int64_t i = 0; i < more; ++i) sequence.pages.push_back(take_page());
  return true;
}

void PagedCache::release(PagedSequence& sequence) {
  while (sequence.held() > 0) drop(sequence.pages.back()), sequence.pages.pop_back();
  sequence = {};
}

PagedSequence PagedCache::fork(const PagedSequence& sequence) {
  PagedSequence copy = sequence;
  copy.pages.resize(size_t(pages_for(sequence.length)));  // without room that was only reserved
  for (int64_t i = copy.first; i < int64_t(copy.pages.size()); ++i) ++pages_[size_t(copy.pages[size_t(i)])].references;
  return copy;
}

void PagedCache::truncate(PagedSequence& sequence, int64_t length) {
  SEDUM_CHECK(length <= sequence.length && length >= std::max(sequence.remembered, sequence.first) * kPageTokens,
              "remembered tokens are kept");
  sequence.length = length;
  for (; int64_t(sequence.pages.size()) > pages_for(length); sequence.pages.pop_back()) drop(sequence.pages.back());
}

int64_t PagedCache::find(PagedSequence& sequence, std::span<const int32_t> tokens, uint64_t root) {
  SEDUM_CHECK(sequence.pages.empty(), "an empty sequence");
  uint64_t parent = root;
  for (int64_t i = 0; (i + 1) * kPageTokens < int64_t(tokens.size()); ++i) {
    const auto known = known_.find(key_of(parent, tokens, i));
    if (known == known_.end()) break;
    Page& page = pages_[size_t(known->second)];
    if (page.references++ == 0) unused_.erase(page.last_use);
    parent = page.serial;
    sequence.pages.push_back(known->second);
  }
  sequence.remembered = int64_t(sequence.pages.size()), sequence.serial = parent;
  return sequence.length = sequence.remembered * kPageTokens;
}

void PagedCache::remember(PagedSequence& sequence, std::span<const int32_t> tokens, uint64_t root) {
  for (int64_t& i = sequence.remembered; (i + 1) * kPageTokens <= std::min(sequence.length, int64_t(tokens.size()));
       ++i) {
    if (i < sequence.first) return;  // given back before it was remembered: what follows cannot be found
    const auto [known, is_new] =
        known_.try_emplace(key_of(i == 0 ? root : sequence.serial, tokens, i), sequence.pages[size_t(i)]);
    Page& page = pages_[size_t(known->second)];
    if (is_new) {
      page.serial = next_serial_++, page.key = &known->first;
    } else {
      if (page.references++ == 0) unused_.erase(page.last_use);
      drop(std::exchange(sequence.pages[size_t(i)], known->second));
    }
    sequence.serial = page.serial;
  }
}

void PagedCache::forget() {
  while (!unused_.empty()) {
    const int32_t page = unused_.begin()->second;
    make_unknown(page);
    free_.push_back(page);
  }
}

int32_t PagedCache::take_page() {
  int32_t page;
  if (!free_.empty()) {
    page = free_.back(), free_.pop_back();
  } else {
    page = unused_.begin()->second;
    make_unknown(page);
  }
  pages_[size_t(page)].references = 1;
  return page;
}

void PagedCache::drop(int32_t page) {
  Page& p = pages_[size_t(page)];
  SEDUM_CHECK(p.references > 0, "a page of nobody");
  if (--p.references > 0) return;
  if (p.key)
    unused_.emplace(p.last_use = ++clock_, page);
  else
    free_.push_back(page);
}

void PagedCache::make_unknown(int32_t page) {
  Page& p = pages_[size_t(page)];
  unused_.erase(p.last_use);
  known_.erase(known_.find(*p.key));
  p = {};
}

void PagedCache::copy_page(int32_t from, int32_t to) {
  for (std::vector<Tensor>* tensors : {&keys_, &values_})
    for (Tensor& t : *tensors) {
      char* const base = static_cast<char*>(t.raw());
      const size_t bytes = row_bytes(dtype_, page_values_);
      std::memcpy(base + size_t(to) * bytes, base + size_t(from) * bytes, bytes);
    }
}

PagedCache::Key PagedCache::key_of(uint64_t parent, std::span<const int32_t> tokens, int64_t page) {
  Key key{parent, {}};
  std::copy_n(tokens.begin() + page * kPageTokens, kPageTokens, key.tokens.begin());
  return key;
}

// FNV-1a over 64-bit words, mixed at the end.
size_t PagedCache::KeyHash::operator()(const Key& key) const {
  uint64_t h = 1469598103934665603u ^ key.parent;
  for (const int32_t token : key.tokens) h = (h ^ uint32_t(token)) * 1099511628211u;
  h ^= h >> 32;
  return size_t(h * 0x9E3779B97F4A7C15u);
}

PagedStep::PagedStep(PagedCache& cache, std::vector<Part> parts) : cache_(cache), parts_(std::move(parts)) {
  int64_t row = 0;
  for (const auto& [sequence, rows] : parts_) {
    SEDUM_CHECK(int64_t(sequence->pages.size()) >= PagedCache::pages_for(sequence->length + rows), "no pages reserved");
    segments_.push_back({row, rows, 0, sequence->length + rows, sequence->pages.data()});
    row += rows;
  }
}

template <class F>
void PagedStep::each_head(Context& ctx, const Tensor& from, F&& store) const {
  const float* source = from.data<float>();
  const int64_t width = cache_.heads_ * cache_.head_dim_;
  ctx.pool->parallel_for(
      from.shape().rows(),
      [&](int64_t begin, int64_t end) {
        size_t part = 0;
        int64_t part_begin = 0;
        for (int64_t row = begin; row < end; ++row) {
          while (row >= part_begin + parts_[part].rows) part_begin += parts_[part++].rows;
          const PagedSequence& sequence = *parts_[part].sequence;
          const int64_t position = sequence.length + row - part_begin,
                        page = sequence.pages[size_t(position / PagedCache::kPageTokens)];
          for (int64_t h = 0; h < cache_.heads_; ++h)
            store(source + row * width + h * cache_.head_dim_, page * cache_.heads_ + h,
                  position % PagedCache::kPageTokens);
        }
      },
      8);
}

template <class T>
void PagedStep::copy_keys(Context& ctx, const Tensor& from, T* pages) const {
  const int64_t dim = cache_.head_dim_;
  each_head(ctx, from, [&](const float* x, int64_t group, int64_t slot) {
    T* to = pages + group * dim * PagedCache::kPageTokens + slot;
    for (int64_t d = 0; d < dim; ++d, to += PagedCache::kPageTokens) *to = T(x[d]);
  });
}

template <class T>
void PagedStep::copy_values(Context& ctx, const Tensor& from, T* pages) const {
  const int64_t dim = cache_.head_dim_;
  each_head(ctx, from, [&](const float* x, int64_t group, int64_t slot) {
    T* const to = pages + (group * PagedCache::kPageTokens + slot) * dim;
    for (int64_t d = 0; d < dim; ++d) to[d] = T(x[d]);
  });
}

void PagedStep::quantise_rows(Context& ctx, const Tensor& from, int8_t* pages) const {
  const QuantiseHead quantise = quantise_head();
  const int64_t dim = cache_.head_dim_, bytes = scaled_head_bytes(dim);
  each_head(ctx, from, [&](const float* x, int64_t group, int64_t slot) {
    quantise(x, dim, pages + (group * PagedCache::kPageTokens + slot) * bytes);
  });
}

SequenceState::View PagedStep::store(Context& ctx, int64_t layer, const Tensor& keys, const Tensor& values) {
  Tensor &k = cache_.keys_[size_t(layer)], &v = cache_.values_[size_t(layer)];
  if (ctx.runs()) {
    if (cache_.dtype_ == DType::kI8) {
      quantise_rows(ctx, turned_heads(ctx, keys, cache_.head_dim_), k.data<int8_t>());
      quantise_rows(ctx, values, v.data<int8_t>());
    } else if (cache_.dtype_ == DType::kBF16) {
      copy_keys(ctx, keys, k.data<bf16>()), copy_values(ctx, values, v.data<bf16>());
    } else {
      copy_keys(ctx, keys, k.data<float>()), copy_values(ctx, values, v.data<float>());
    }
  }
  return {{cache_.dtype_, k.raw(), v.raw(), 0, PagedCache::kPageTokens, cache_.page_values_}, &segments_};
}

void PagedStep::commit() {
  for (const auto& [sequence, rows] : parts_) sequence->length += rows;
}

}  // namespace sedum
