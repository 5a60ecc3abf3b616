#include "compute/kernels/attention.h"

#include <type_traits>

#include "base/error.h"
#include "compute/kernels/isa.h"
#include "compute/kernels/ref/attention.h"

namespace sedum {
namespace {

// Calls f with a null pointer to the type that keys and values are stored as.
template <class T, class F>
void with_key_type(DType dtype, F&& f) {
  if constexpr (std::is_same_v<T, double>) {
    SEDUM_CHECK(dtype == DType::kF64);
    f(static_cast<double*>(nullptr));
  } else {
    SEDUM_CHECK(dtype == DType::kF32 || dtype == DType::kBF16);
    if (dtype == DType::kF32)
      f(static_cast<float*>(nullptr));
    else
      f(static_cast<bf16*>(nullptr));
  }
}

}  // namespace

template <class T>
void attention_forward(ThreadPool& pool, const AttentionShape& shape, std::span<const AttentionSegment> segments,
                       const T* q, int64_t q_stride, const KeysValues& kv, T* out, int64_t out_stride,
                       stat_t<T>* log_sum_exp) {
  with_key_type<T>(kv.dtype, [&]<class K>(K*) {
    pool.parallel_for(int64_t(segments.size()) * shape.num_heads, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i)
        ref::attention_forward<T, K>(shape, segments[size_t(i / shape.num_heads)], int(i % shape.num_heads), q,
                                     q_stride, kv, out, out_stride, log_sum_exp);
    });
  });
}

template <class T>
void attention_backward(ThreadPool& pool, const AttentionShape& shape, std::span<const AttentionSegment> segments,
                        const T* dout, const T* q, int64_t q_stride, const KeysValues& kv, const T* out,
                        int64_t out_stride, const stat_t<T>* log_sum_exp, T* dq, T* dk, T* dv) {
  const int64_t heads = shape.num_key_value_heads;
  SEDUM_CHECK(kv.page_size == 0);
  with_key_type<T>(kv.dtype, [&]<class K>(K*) {
    pool.parallel_for(int64_t(segments.size()) * heads, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i)
        ref::attention_backward<T, K>(shape, segments[size_t(i / heads)], int(i % heads), dout, q, q_stride, kv, out,
                                      out_stride, log_sum_exp, dq, dk, dv);
    });
  });
}

#define SEDUM_ATTENTION(T)                                                                                            \
  template void attention_forward(ThreadPool&, const AttentionShape&, std::span<const AttentionSegment>, const T*,    \
                                  int64_t, const KeysValues&, T*, int64_t, stat_t<T>*);                               \
  template void attention_backward(ThreadPool&, const AttentionShape&, std::span<const AttentionSegment>, const T*,   \
                                   const T*, int64_t, const KeysValues&, const T*, int64_t, const stat_t<T>*, T*, T*, \
                                   T*);
SEDUM_ATTENTION(float)
SEDUM_ATTENTION(double)
SEDUM_ATTENTION(bf16)
#undef SEDUM_ATTENTION

}  // namespace sedum
