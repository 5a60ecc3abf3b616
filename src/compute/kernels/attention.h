#pragma once
// Scaled dot-product attention over segments of rows: prefill, decoding, packed training sequences and encoder layers are one
// signature, forward and backward.
//
// Queries are rows (rows, num_heads, head_dim). Keys and values are rows too (contiguous), or pages of a cache. A segment is one
// sequence's share of the rows: its query i stands at key position key_count − query_count + i, so that a cached past only
// raises key_count. With causal, query position p sees keys 0 … p; a window w limits that to the last w of them.
//
// Blocked over keys with a running maximum and sum (Milakov, Gimelshein 2018; Dao et al. 2022); only the log-sum-exp is saved. With T
// float, all is f32: products are chains of fused multiply-adds, exponentials are right to 1.2 ulp.
//
// Same bits. On one instruction set and for finite keys and values, what a query gives depends on its own vector, on the keys and values that it
// sees and on their indices from its segment's key 0, and on nothing else: not on threads, other segments, the other queries of its
// segment (a prefill whole, in pieces, or token by token), later keys, or paging. Likewise dq, dk and dv depend on their own
// segment alone. (An infinite or NaN value that a query does not see may still spoil it: a zero weight times it is NaN.)

#include <cstdint>
#include <span>

#include "base/thread_pool.h"
#include "compute/dtype/dtype.h"
#include "compute/kernels/dropout.h"

namespace sedum {

struct AttentionShape {
  int num_heads = 1, num_key_value_heads = 1, head_dim = 64;
  float scale = 0.125f;
  bool causal = true;
  int window = 0;      // 0: none
  float soft_cap = 0;  // 0: none; else scores become cap · tanh(score / cap)
  // On a processor that multiplies bf16, for contiguous keys and for pages of bf16 whose size and head_dim are multiples of 16: what is multiplied is
  // rounded to bf16 (q, k, v, weights; backward dout and the scores' gradients too), sums stay f32. Elsewhere nothing changes.
  bool bf16_products = false;
};

struct AttentionSegment {
  int64_t query_begin, query_count;  // rows of the queries
  int64_t key_begin, key_count;      // contiguous: rows of the keys. Paged: key_begin is 0
  const int32_t* pages = nullptr;    // paged: page numbers, ceil(key_count / page_size) of them
  const float* bias =
      nullptr;  // optional, added to the scaled (and capped) scores: (num_heads, query_count, key_count)
};

// Keys and values. Contiguous (page_size 0): (rows, num_key_value_heads, head_dim), rows `row_stride` values apart.
// Paged: page p begins at p · page_stride values. Of values it holds (num_key_value_heads, page_size, head_dim); keys lie by dimension,
// (num_key_value_heads, head_dim, page_size), which is how scores take them: a step of decoding need not turn all of them
// again. kI8: both (num_key_value_heads, page_size, scaled_head_bytes(head_dim)).
struct KeysValues {
  DType dtype = DType::kF32;  // kF32, kBF16; paged also kI8, as scaled_heads.h has it (kF64 in the naive twin)
  const void *keys = nullptr, *values = nullptr;
  int64_t row_stride = 0;
  int page_size = 0;
  int64_t page_stride = 0;
};

// T: float, bf16; double by the naive twin. A query that sees no key gives zeros and a log-sum-exp of −inf. Rows of no segment are
// left alone, here and in the backward pass. q and out rows are `q_stride` and `out_stride` values apart. log_sum_exp (rows, num_heads) may be null.
// `dropout`: probabilities are dropped, counted by query row, head and key index; computed by the naive twin.
template <class T>
void attention_forward(ThreadPool& pool, const AttentionShape& shape, std::span<const AttentionSegment> segments,
                       const T* q, int64_t q_stride, const KeysValues& kv, T* out, int64_t out_stride,
                       stat_t<T>* log_sum_exp, const Dropout* dropout = nullptr);

// Contiguous keys only, every key in one segment. dq, dk, dv are overwritten; q and dq rows are `q_stride` apart, out and dout rows
// `out_stride`; dk, dv (rows, num_key_value_heads, head_dim) contiguous. The bias gets no gradient.
template <class T>
void attention_backward(ThreadPool& pool, const AttentionShape& shape, std::span<const AttentionSegment> segments,
                        const T* dout, const T* q, int64_t q_stride, const KeysValues& kv, const T* out,
                        int64_t out_stride, const stat_t<T>* log_sum_exp, T* dq, T* dk, T* dv,
                        const Dropout* dropout = nullptr);

// What a call holds as working memory, which stays for the next: on each thread, and once more on the caller. For float and bf16.
struct AttentionScratch {
  size_t bytes_each = 0, bytes_once = 0;
};
AttentionScratch attention_scratch(const AttentionShape& shape, std::span<const AttentionSegment> segments,
                                   bool backward);

}  // namespace sedum
