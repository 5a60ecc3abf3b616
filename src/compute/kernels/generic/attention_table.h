#pragma once
// The table of attention kernels of one instruction set; each entry works on one thread. attention.cc cuts the work, owns the memory
// and chooses. What is computed is in ref/attention.h.

#include <cstdint>

#include "compute/kernels/attention.h"
#include "compute/kernels/scaled_heads.h"

namespace sedum {

// Keys are taken in blocks of kKeyBlock, scores of a block being held, and blocks in chunks of kKeyChunk with a running maximum and
// sum of their own; both are counted from a segment's key 0. Chunks are merged in order, whoever computed them: that is what lets
// one long sequence decode on several threads, and gives it the bits of a prefill. A window's keys are read from the beginning of the
// block of the first that is seen: blocks before that are not touched, and their pages need not be there.
constexpr int kKeyBlock = 64, kKeyChunk = 512;

template <class T>
struct AttentionForward {
  const AttentionShape& shape;
  const KeysValues& kv;
  const T* q;
  int64_t q_stride;
  T* out;
  int64_t out_stride;
  stat_t<T>* log_sum_exp;
};

template <class T>
struct AttentionBackward {
  const AttentionShape& shape;
  const KeysValues& kv;
  const T *dout, *q;
  int64_t q_stride;
  const T* out;
  int64_t out_stride;
  const stat_t<T>* log_sum_exp;
  T *dq, *dk, *dv;
};

// Queries [begin, end) of a segment, for all query heads of one key-value head.
struct QueryBlock {
  const AttentionSegment& segment;
  int kv_head;
  int64_t begin, end;
};

// Sizes are in floats; all memory is 64-byte aligned.
template <class T>
struct AttentionKernels {
  // Forward: either all chunks of a block of queries at once, or one chunk into a state, and then the states merged into the output.
  int64_t (*state_size)(const AttentionShape& shape, int64_t queries);
  int64_t (*forward_scratch)(const AttentionShape& shape, int64_t queries);
  void (*forward)(const AttentionForward<T>& call, const QueryBlock& block, float* scratch);
  void (*forward_chunk)(const AttentionForward<T>& call, const QueryBlock& block, int64_t chunk, float* scratch,
                        float* state);
  void (*merge_chunks)(const AttentionForward<T>& call, const QueryBlock& block, int64_t chunks, float* states);
  // Backward: dq of one query head of one segment, and its share of dk and dv in f32 (partial_size each); then the shares added up
  // in the order of heads. partials: dk of head 0, dk of head 1 …, dv of head 0 … of one segment.
  int64_t (*partial_size)(const AttentionShape& shape, const AttentionSegment& segment);
  int64_t (*backward_scratch)(const AttentionShape& shape, const AttentionSegment& segment);
  void (*backward)(const AttentionBackward<T>& call, const AttentionSegment& segment, int head, float* scratch,
                   float* dk, float* dv);
  void (*add_partials)(const AttentionBackward<T>& call, const AttentionSegment& segment, int kv_head,
                       const float* partials);
  QuantiseHead quantise_head;
};

// What isa/*_attention.cc offer.
extern const AttentionKernels<float> kAvx2AttentionF32, kAvx512AttentionF32;
extern const AttentionKernels<bf16> kAvx2AttentionBf16, kAvx512AttentionBf16;
// With products of bf16: of contiguous keys, and forward of pages of bf16.
extern const AttentionKernels<float> kAvx512PairsAttentionF32;
extern const AttentionKernels<bf16> kAvx512PairsAttentionBf16;

}  // namespace sedum
