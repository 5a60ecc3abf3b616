#include "compute/kernels/attention.h"

#include <algorithm>
#include <atomic>
#include <memory>
#include <new>
#include <type_traits>
#include <vector>

#include "base/error.h"
#include "compute/kernels/generic/attention_table.h"
#include "compute/kernels/isa.h"
#include "compute/kernels/ref/attention.h"

namespace sedum {
namespace {

// Memory that grows to the greatest need and stays, 64-byte aligned: after the first step nothing is allocated.
class Floats {
 public:
  float* at_least(int64_t count) {
    if (count > size_) {
      memory_.reset(static_cast<float*>(::operator new (size_t(count) * sizeof(float), std::align_val_t{64})));
      size_ = count;
    }
    return memory_.get();
  }

 private:
  struct Free {
    void operator()(float* p) const { ::operator delete (p, std::align_val_t{64}); }
  };
  std::unique_ptr<float, Free> memory_;
  int64_t size_ = 0;
};

// The calling thread's own working memory.
float* thread_floats(int64_t count) {
  static thread_local Floats memory;
  return memory.at_least(count);
}

// work(i) for i < count on all threads, each taking the next as it becomes free: the pieces differ in size, and which thread computes
// one does not change it.
template <class F>
void for_each(ThreadPool& pool, int64_t count, F&& work) {
  if (count <= 1 || pool.size() == 1) {
    for (int64_t i = 0; i < count; ++i) work(i);
    return;
  }
  alignas(64) std::atomic<int64_t> next{0};
  pool.run([&](int) {
    for (int64_t i; (i = next.fetch_add(1, std::memory_order_relaxed)) < count;) work(i);
  });
}

// Calls f with a null pointer to the type that keys and values are stored as.
template <class T, class F>
void with_key_type(DType dtype, F&& f) {
  if constexpr (std::is_same_v<T, double>) {
    SEDUM_CHECK(dtype == DType::kF64);
    f(static_cast<double*>(nullptr));
  } else {
    SEDUM_CHECK(dtype == DType::kF32 || dtype == DType::kBF16 || dtype == DType::kI8);
    if (dtype == DType::kF32)
      f(static_cast<float*>(nullptr));
    else if (dtype == DType::kBF16)
      f(static_cast<bf16*>(nullptr));
    else
      f(static_cast<int8_t*>(nullptr));
  }
}

template <class T>
void naive_forward(ThreadPool& pool, const AttentionForward<T>& call, std::span<const AttentionSegment> segments,
                   const Dropout* dropout) {
  const AttentionShape& shape = call.shape;
  with_key_type<T>(call.kv.dtype, [&]<class K>(K*) {
    for_each(pool, int64_t(segments.size()) * shape.num_heads, [&](int64_t i) {
      ref::attention_forward<T, K>(shape, segments[size_t(i / shape.num_heads)], int(i % shape.num_heads), call.q,
                                   call.q_stride, call.kv, call.out, call.out_stride, call.log_sum_exp, dropout);
    });
  });
}

template <class T>
void naive_backward(ThreadPool& pool, const AttentionBackward<T>& call, std::span<const AttentionSegment> segments,
                    const Dropout* dropout) {
  const AttentionShape& shape = call.shape;
  const int64_t heads = shape.num_key_value_heads;
  with_key_type<T>(call.kv.dtype, [&]<class K>(K*) {
    for_each(pool, int64_t(segments.size()) * heads, [&](int64_t i) {
      ref::attention_backward<T, K>(shape, segments[size_t(i / heads)], int(i % heads), call.dout, call.q,
                                    call.q_stride, call.kv, call.out, call.out_stride, call.log_sum_exp, call.dq,
                                    call.dk, call.dv, dropout);
    });
  });
}

// The kernels in force; none: the naive twins.
template <class T>
const AttentionKernels<T>* attention_kernels(bool bf16_products = false) {
  if constexpr (!std::is_same_v<T, double>) {
    constexpr bool f32 = std::is_same_v<T, float>;
    switch (isa()) {
      case Isa::kPortable:
        break;
      case Isa::kAvx2:
        if constexpr (f32)
          return &kAvx2AttentionF32;
        else
          return &kAvx2AttentionBf16;
      case Isa::kAvx512:
      case Isa::kAvx512Bf16:
      case Isa::kAmx:
        bf16_products = bf16_products && isa() != Isa::kAvx512;
        if constexpr (f32)
          return bf16_products ? &kAvx512PairsAttentionF32 : &kAvx512AttentionF32;
        else
          return bf16_products ? &kAvx512PairsAttentionBf16 : &kAvx512AttentionBf16;
    }
  }
  return nullptr;
}

// Pages whose lines can be multiplied in pairs as they are.
bool pages_in_pairs(const AttentionShape& shape, const KeysValues& kv) {
  return kv.dtype == DType::kBF16 && kv.page_size % 16 == 0 && kKeyBlock % kv.page_size == 0 &&
         shape.head_dim % 16 == 0;
}

// All blocks of queries of a call. A block has some 128 rows, which pay for the packing of keys; the last queries, which see most
// keys, come first.
std::vector<QueryBlock> query_blocks(const AttentionShape& shape, std::span<const AttentionSegment> segments) {
  const int64_t most = std::max(16, 128 * shape.num_key_value_heads / shape.num_heads);
  std::vector<QueryBlock> blocks;
  for (const AttentionSegment& segment : segments)
    for (int head = 0; head < shape.num_key_value_heads; ++head)
      for (int64_t end = segment.query_count; end > 0; end -= std::min(end, most))
        blocks.push_back({segment, head, std::max(int64_t{0}, end - most), end});
  return blocks;
}

template <class T>
void fast_forward(ThreadPool& pool, const AttentionKernels<T>& kernels, const AttentionForward<T>& call,
                  std::span<const AttentionSegment> segments) {
  const AttentionShape& shape = call.shape;
  SEDUM_CHECK(call.kv.dtype == DType::kF32 || call.kv.dtype == DType::kBF16 || call.kv.dtype == DType::kI8);
  const std::vector<QueryBlock> blocks = query_blocks(shape, segments);
  int64_t longest = 0, most = 0;
  for (const QueryBlock& block : blocks) {
    longest = std::max(longest, block.segment.key_count);
    most = std::max(most, block.end - block.begin);
  }
  const int64_t scratch = kernels.forward_scratch(shape, most), state = kernels.state_size(shape, most);
  if (pool.size() == 1 || longest <= kKeyChunk || int64_t(blocks.size()) >= 4 * pool.size()) {
    for_each(pool, int64_t(blocks.size()),
             [&](int64_t i) { kernels.forward(call, blocks[size_t(i)], thread_floats(scratch)); });
    return;
  }
  // Few blocks over many keys, as in decoding: every chunk of keys by itself.
  const int64_t chunks = (longest + kKeyChunk - 1) / kKeyChunk;
  const auto chunks_of = [](const QueryBlock& block) { return (block.segment.key_count + kKeyChunk - 1) / kKeyChunk; };
  static thread_local Floats states;
  float* const memory = states.at_least(int64_t(blocks.size()) * chunks * state);
  for_each(pool, int64_t(blocks.size()) * chunks, [&](int64_t i) {
    const QueryBlock& block = blocks[size_t(i / chunks)];
    // The states of a block lie as close as its own size tells.
    float* const at =
        memory + i / chunks * chunks * state + i % chunks * kernels.state_size(shape, block.end - block.begin);
    if (i % chunks < chunks_of(block)) kernels.forward_chunk(call, block, i % chunks, thread_floats(scratch), at);
  });
  for_each(pool, int64_t(blocks.size()), [&](int64_t i) {
    kernels.merge_chunks(call, blocks[size_t(i)], chunks_of(blocks[size_t(i)]), memory + i * chunks * state);
  });
}

template <class T>
void fast_backward(ThreadPool& pool, const AttentionKernels<T>& kernels, const AttentionBackward<T>& call,
                   std::span<const AttentionSegment> segments) {
  SEDUM_CHECK(call.kv.dtype == DType::kF32 || call.kv.dtype == DType::kBF16);
  const int64_t heads = call.shape.num_heads, kv_heads = call.shape.num_key_value_heads;
  std::vector<int64_t> offsets;  // of each segment's partial sums
  int64_t partials = 0, scratch = 0;
  for (const AttentionSegment& segment : segments) {
    offsets.push_back(partials);
    partials += 2 * heads * kernels.partial_size(call.shape, segment);
    scratch = std::max(scratch, kernels.backward_scratch(call.shape, segment));
  }
  static thread_local Floats memory;
  float* const sums = memory.at_least(partials);
  for_each(pool, int64_t(segments.size()) * heads, [&](int64_t i) {
    const AttentionSegment& segment = segments[size_t(i / heads)];
    const int64_t head = i % heads, size = kernels.partial_size(call.shape, segment);
    float* const dk = sums + offsets[size_t(i / heads)] + head * size;
    kernels.backward(call, segment, int(head), thread_floats(scratch), dk, dk + heads * size);
  });
  for_each(pool, int64_t(segments.size()) * kv_heads, [&](int64_t i) {
    kernels.add_partials(call, segments[size_t(i / kv_heads)], int(i % kv_heads), sums + offsets[size_t(i / kv_heads)]);
  });
}

}  // namespace

QuantiseHead quantise_head() {
  const AttentionKernels<float>* kernels = attention_kernels<float>();
  return kernels ? kernels->quantise_head : ref::quantise_head;
}

AttentionScratch attention_scratch(const AttentionShape& shape, std::span<const AttentionSegment> segments,
                                   bool backward) {
  const AttentionKernels<float>* kernels = attention_kernels<float>(shape.bf16_products);  // all of them hold f32
  AttentionScratch need;
  if (!kernels) return need;
  int64_t each = 0, once = 0;
  if (backward) {
    for (const AttentionSegment& segment : segments) {
      once += 2 * shape.num_heads * kernels->partial_size(shape, segment);
      each = std::max(each, kernels->backward_scratch(shape, segment));
    }
  } else {
    for (const QueryBlock& block : query_blocks(shape, segments))
      each = std::max(each, kernels->forward_scratch(shape, block.end - block.begin));
  }
  return {size_t(each) * sizeof(float), size_t(once) * sizeof(float)};
}

template <class T>
void attention_forward(ThreadPool& pool, const AttentionShape& shape, std::span<const AttentionSegment> segments,
                       const T* q, int64_t q_stride, const KeysValues& kv, T* out, int64_t out_stride,
                       stat_t<T>* log_sum_exp, const Dropout* dropout) {
  SEDUM_CHECK(kv.dtype != DType::kI8 || kv.page_size > 0);
  const AttentionForward<T> call{shape, kv, q, q_stride, out, out_stride, log_sum_exp};
  const bool pairs = shape.bf16_products && (kv.page_size == 0 || pages_in_pairs(shape, kv));
  if (const AttentionKernels<T>* kernels = dropout ? nullptr : attention_kernels<T>(pairs)) {
    if constexpr (!std::is_same_v<T, double>) fast_forward(pool, *kernels, call, segments);
  } else {
    naive_forward(pool, call, segments, dropout);
  }
}

template <class T>
void attention_backward(ThreadPool& pool, const AttentionShape& shape, std::span<const AttentionSegment> segments,
                        const T* dout, const T* q, int64_t q_stride, const KeysValues& kv, const T* out,
                        int64_t out_stride, const stat_t<T>* log_sum_exp, T* dq, T* dk, T* dv, const Dropout* dropout) {
  SEDUM_CHECK(kv.page_size == 0 && kv.dtype != DType::kI8);
  const AttentionBackward<T> call{shape, kv, dout, q, q_stride, out, out_stride, log_sum_exp, dq, dk, dv};
  if (const AttentionKernels<T>* kernels = dropout ? nullptr : attention_kernels<T>(shape.bf16_products)) {
    if constexpr (!std::is_same_v<T, double>) fast_backward(pool, *kernels, call, segments);
  } else {
    naive_backward(pool, call, segments, dropout);
  }
}

#define SEDUM_ATTENTION(T)                                                                                            \
  template void attention_forward(ThreadPool&, const AttentionShape&, std::span<const AttentionSegment>, const T*,    \
                                  int64_t, const KeysValues&, T*, int64_t, stat_t<T>*, const Dropout*);               \
  template void attention_backward(ThreadPool&, const AttentionShape&, std::span<const AttentionSegment>, const T*,   \
                                   const T*, int64_t, const KeysValues&, const T*, int64_t, const stat_t<T>*, T*, T*, \
                                   T*, const Dropout*);
SEDUM_ATTENTION(float)
SEDUM_ATTENTION(double)
SEDUM_ATTENTION(bf16)
#undef SEDUM_ATTENTION

}  // namespace sedum
