#include "compute/kernels/rows.h"

#include <cstring>
#include <type_traits>
#include <vector>

#include "compute/kernels/generic/rows_table.h"
#include "compute/kernels/isa.h"
#include "compute/kernels/ref/rows.h"

namespace sedum {
namespace {

// The least work worth another thread's wake-up and cache lines: values, and columns of a cache line of bf16 at least.
constexpr int64_t kValues = 4096, kColumns = 64;

int64_t row_grain(int64_t cols) { return cols >= kValues ? 1 : (kValues + cols - 1) / (cols > 0 ? cols : 1); }

template <class T>
constexpr RowKernels<T> kNaive = {ref::rms_norm_forward<T>,
                                  ref::rms_norm_backward<T>,
                                  ref::rms_norm_backward_weight<T>,
                                  ref::layer_norm_forward<T>,
                                  ref::layer_norm_backward<T>,
                                  ref::layer_norm_backward_weight<T>,
                                  ref::softmax_forward<T>,
                                  ref::softmax_backward<T>,
                                  ref::rope<T>,
                                  ref::silu_forward<T>,
                                  ref::silu_backward<T>,
                                  ref::gelu_forward<T>,
                                  ref::gelu_backward<T>,
                                  ref::gelu_tanh_forward<T>,
                                  ref::gelu_tanh_backward<T>,
                                  ref::soft_cap_forward<T>,
                                  ref::soft_cap_backward<T>,
                                  ref::swiglu_forward<T>,
                                  ref::swiglu_backward<T>,
                                  ref::embedding_backward<T>,
                                  ref::cross_entropy<T>,
                                  ref::add<T>,
                                  ref::multiply<T>,
                                  ref::scale<T>,
                                  ref::add_row_vector<T>,
                                  ref::add_column_sums<T>};

}  // namespace

template <class T>
const RowKernels<T>& row_kernels() {
  if constexpr (!std::is_same_v<T, double>) {
    constexpr bool f32 = std::is_same_v<T, float>;
    switch (isa()) {
      case Isa::kPortable:
        break;
      case Isa::kAvx2:
        if constexpr (f32)
          return kAvx2RowsF32;
        else
          return kAvx2RowsBf16;
      case Isa::kAvx512:
      case Isa::kAvx512Bf16:
      case Isa::kAmx:
        if constexpr (f32)
          return kAvx512RowsF32;
        else
          return kAvx512RowsBf16;
    }
  }
  return kNaive<T>;
}

template <class T>
void rms_norm_forward(ThreadPool& pool, const T* x, const stat_t<T>* weight, float eps, int64_t rows, int64_t cols,
                      T* y, stat_t<T>* inverse_rms) {
  pool.parallel_for(
      rows,
      [&](int64_t b, int64_t e) {
        row_kernels<T>().rms_norm_forward(x + b * cols, weight, eps, e - b, cols, y + b * cols,
                                          inverse_rms ? inverse_rms + b : nullptr);
      },
      row_grain(cols));
}

template <class T>
void rms_norm_backward(ThreadPool& pool, const T* dy, const T* x, const stat_t<T>* weight, const stat_t<T>* inverse_rms,
                       int64_t rows, int64_t cols, T* dx, stat_t<T>* dweight) {
  // The columns first: dx may stand where dy or x stood.
  if (dweight)
    pool.parallel_for(
        cols,
        [&](int64_t b, int64_t e) {
          row_kernels<T>().rms_norm_backward_weight(dy, x, inverse_rms, rows, cols, b, e, dweight);
        },
        kColumns);
  pool.parallel_for(
      rows,
      [&](int64_t b, int64_t e) {
        row_kernels<T>().rms_norm_backward(dy + b * cols, x + b * cols, weight, inverse_rms + b, e - b, cols,
                                           dx + b * cols);
      },
      row_grain(cols));
}

template <class T>
void layer_norm_forward(ThreadPool& pool, const T* x, const stat_t<T>* weight, const stat_t<T>* bias, float eps,
                        int64_t rows, int64_t cols, T* y, stat_t<T>* mean, stat_t<T>* inverse_deviation) {
  pool.parallel_for(
      rows,
      [&](int64_t b, int64_t e) {
        row_kernels<T>().layer_norm_forward(x + b * cols, weight, bias, eps, e - b, cols, y + b * cols,
                                            mean ? mean + b : nullptr, mean ? inverse_deviation + b : nullptr);
      },
      row_grain(cols));
}

template <class T>
void layer_norm_backward(ThreadPool& pool, const T* dy, const T* x, const stat_t<T>* weight, const stat_t<T>* mean,
                         const stat_t<T>* inverse_deviation, int64_t rows, int64_t cols, T* dx, stat_t<T>* dweight,
                         stat_t<T>* dbias) {
  // The columns first: dx may stand where dy or x stood.
  if (dweight)
    pool.parallel_for(
        cols,
        [&](int64_t b, int64_t e) {
          row_kernels<T>().layer_norm_backward_weight(dy, x, mean, inverse_deviation, rows, cols, b, e, dweight);
        },
        kColumns);
  if (dbias) add_column_sums<T>(pool, dy, rows, cols, dbias);
  pool.parallel_for(
      rows,
      [&](int64_t b, int64_t e) {
        row_kernels<T>().layer_norm_backward(dy + b * cols, x + b * cols, weight, mean + b, inverse_deviation + b,
                                             e - b, cols, dx + b * cols);
      },
      row_grain(cols));
}

template <class T>
void softmax_forward(ThreadPool& pool, const T* x, float scale, int64_t rows, int64_t cols, T* y) {
  pool.parallel_for(
      rows,
      [&](int64_t b, int64_t e) { row_kernels<T>().softmax_forward(x + b * cols, scale, e - b, cols, y + b * cols); },
      row_grain(cols));
}

template <class T>
void softmax_backward(ThreadPool& pool, const T* dy, const T* y, float scale, int64_t rows, int64_t cols, T* dx) {
  pool.parallel_for(
      rows,
      [&](int64_t b, int64_t e) {
        row_kernels<T>().softmax_backward(dy + b * cols, y + b * cols, scale, e - b, cols, dx + b * cols);
      },
      row_grain(cols));
}

template <class T>
void rope(ThreadPool& pool, const T* x, const stat_t<T>* cos, const stat_t<T>* sin, int64_t rows, int64_t heads,
          int64_t head_dim, int64_t half, float sign, T* y) {
  const int64_t cols = heads * head_dim;
  pool.parallel_for(
      rows,
      [&](int64_t b, int64_t e) {
        row_kernels<T>().rope(x + b * cols, cos + b * half, sin + b * half, e - b, heads, head_dim, half, sign,
                              y + b * cols);
      },
      row_grain(cols));
}

template <class T>
void swiglu_forward(ThreadPool& pool, const T* gate, const T* up, int64_t n, T* y) {
  pool.parallel_for(
      n, [&](int64_t b, int64_t e) { row_kernels<T>().swiglu_forward(gate + b, up + b, e - b, y + b); }, kValues);
}

template <class T>
void swiglu_backward(ThreadPool& pool, const T* dy, const T* gate, const T* up, int64_t n, T* dgate, T* dup) {
  pool.parallel_for(
      n,
      [&](int64_t b, int64_t e) {
        row_kernels<T>().swiglu_backward(dy + b, gate + b, up + b, e - b, dgate + b, dup + b);
      },
      kValues);
}

template <class T>
void embedding_forward(ThreadPool& pool, DType dtype, const void* table, size_t table_row_bytes, const int32_t* ids,
                       int64_t rows, int64_t cols, T* y) {
  pool.parallel_for(
      rows,
      [&](int64_t b, int64_t e) {
        std::vector<float> values;  // what a row decodes to, when T itself can't hold it
        for (int64_t r = b; r < e; ++r) {
          const std::byte* from = static_cast<const std::byte*>(table) + size_t(ids[r]) * table_row_bytes;
          T* to = y + r * cols;
          if (dtype == dtype_of<T>) {
            std::memcpy(to, from, size_t(cols) * sizeof(T));
          } else if constexpr (std::is_same_v<T, float>) {
            decode(dtype, from, to, cols);
          } else {
            values.resize(size_t(cols));
            decode(dtype, from, values.data(), cols);
            for (int64_t c = 0; c < cols; ++c) to[c] = T(values[size_t(c)]);
          }
        }
      },
      row_grain(cols));
}

template <class T>
void embedding_backward(ThreadPool& pool, const T* dy, const int32_t* ids, int64_t rows, int64_t cols,
                        stat_t<T>* dtable) {
  pool.parallel_for(
      cols, [&](int64_t b, int64_t e) { row_kernels<T>().embedding_backward(dy, ids, rows, cols, b, e, dtable); },
      kColumns);
}

template <class T>
void cross_entropy(ThreadPool& pool, T* logits, const int32_t* labels, float scale, int64_t rows, int64_t cols,
                   stat_t<T>* losses, bool keep_logits) {
  pool.parallel_for(
      rows,
      [&](int64_t b, int64_t e) {
        row_kernels<T>().cross_entropy(logits + b * cols, labels + b, scale, e - b, cols, losses + b, keep_logits);
      },
      row_grain(cols));
}

template <class T>
void add(ThreadPool& pool, const T* a, const T* b, int64_t n, T* y) {
  pool.parallel_for(
      n, [&](int64_t begin, int64_t end) { row_kernels<T>().add(a + begin, b + begin, end - begin, y + begin); },
      kValues);
}

template <class T>
void multiply(ThreadPool& pool, const T* a, const T* b, int64_t n, T* y) {
  pool.parallel_for(
      n, [&](int64_t begin, int64_t end) { row_kernels<T>().multiply(a + begin, b + begin, end - begin, y + begin); },
      kValues);
}

template <class T>
void scale(ThreadPool& pool, const T* a, float s, int64_t n, T* y) {
  pool.parallel_for(
      n, [&](int64_t b, int64_t e) { row_kernels<T>().scale(a + b, s, e - b, y + b); }, kValues);
}

template <class T>
void add_row_vector(ThreadPool& pool, const T* x, const stat_t<T>* vector, int64_t rows, int64_t cols, T* y) {
  pool.parallel_for(
      rows,
      [&](int64_t b, int64_t e) { row_kernels<T>().add_row_vector(x + b * cols, vector, e - b, cols, y + b * cols); },
      row_grain(cols));
}

template <class T>
void add_column_sums(ThreadPool& pool, const T* x, int64_t rows, int64_t cols, stat_t<T>* sums) {
  pool.parallel_for(
      cols, [&](int64_t b, int64_t e) { row_kernels<T>().add_column_sums(x, rows, cols, b, e, sums); }, kColumns);
}

template <class T>
void silu_forward(ThreadPool& pool, const T* x, int64_t n, T* y) {
  pool.parallel_for(
      n, [&](int64_t b, int64_t e) { row_kernels<T>().silu_forward(x + b, e - b, y + b); }, kValues);
}

template <class T>
void silu_backward(ThreadPool& pool, const T* dy, const T* x, int64_t n, T* dx) {
  pool.parallel_for(
      n, [&](int64_t b, int64_t e) { row_kernels<T>().silu_backward(dy + b, x + b, e - b, dx + b); }, kValues);
}

template <class T>
void gelu_forward(ThreadPool& pool, const T* x, int64_t n, T* y) {
  pool.parallel_for(
      n, [&](int64_t b, int64_t e) { row_kernels<T>().gelu_forward(x + b, e - b, y + b); }, kValues);
}

template <class T>
void gelu_backward(ThreadPool& pool, const T* dy, const T* x, int64_t n, T* dx) {
  pool.parallel_for(
      n, [&](int64_t b, int64_t e) { row_kernels<T>().gelu_backward(dy + b, x + b, e - b, dx + b); }, kValues);
}

template <class T>
void gelu_tanh_forward(ThreadPool& pool, const T* x, int64_t n, T* y) {
  pool.parallel_for(
      n, [&](int64_t b, int64_t e) { row_kernels<T>().gelu_tanh_forward(x + b, e - b, y + b); }, kValues);
}

template <class T>
void gelu_tanh_backward(ThreadPool& pool, const T* dy, const T* x, int64_t n, T* dx) {
  pool.parallel_for(
      n, [&](int64_t b, int64_t e) { row_kernels<T>().gelu_tanh_backward(dy + b, x + b, e - b, dx + b); }, kValues);
}

template <class T>
void soft_cap_forward(ThreadPool& pool, const T* x, float cap, int64_t n, T* y) {
  pool.parallel_for(
      n, [&](int64_t b, int64_t e) { row_kernels<T>().soft_cap_forward(x + b, cap, e - b, y + b); }, kValues);
}

template <class T>
void soft_cap_backward(ThreadPool& pool, const T* dy, const T* y, float cap, int64_t n, T* dx) {
  pool.parallel_for(
      n, [&](int64_t b, int64_t e) { row_kernels<T>().soft_cap_backward(dy + b, y + b, cap, e - b, dx + b); }, kValues);
}

#define SEDUM_ROWS(T)                                                                                                  \
  template const RowKernels<T>& row_kernels<T>();                                                                      \
  template void rms_norm_forward(ThreadPool&, const T*, const stat_t<T>*, float, int64_t, int64_t, T*, stat_t<T>*);    \
  template void rms_norm_backward(ThreadPool&, const T*, const T*, const stat_t<T>*, const stat_t<T>*, int64_t,        \
                                  int64_t, T*, stat_t<T>*);                                                            \
  template void softmax_forward(ThreadPool&, const T*, float, int64_t, int64_t, T*);                                   \
  template void softmax_backward(ThreadPool&, const T*, const T*, float, int64_t, int64_t, T*);                        \
  template void rope(ThreadPool&, const T*, const stat_t<T>*, const stat_t<T>*, int64_t, int64_t, int64_t, int64_t,    \
                     float, T*);                                                                                       \
  template void swiglu_forward(ThreadPool&, const T*, const T*, int64_t, T*);                                          \
  template void swiglu_backward(ThreadPool&, const T*, const T*, const T*, int64_t, T*, T*);                           \
  template void embedding_forward(ThreadPool&, DType, const void*, size_t, const int32_t*, int64_t, int64_t, T*);      \
  template void embedding_backward(ThreadPool&, const T*, const int32_t*, int64_t, int64_t, stat_t<T>*);               \
  template void cross_entropy(ThreadPool&, T*, const int32_t*, float, int64_t, int64_t, stat_t<T>*, bool);             \
  template void add(ThreadPool&, const T*, const T*, int64_t, T*);                                                     \
  template void multiply(ThreadPool&, const T*, const T*, int64_t, T*);                                                \
  template void scale(ThreadPool&, const T*, float, int64_t, T*);                                                      \
  template void add_row_vector(ThreadPool&, const T*, const stat_t<T>*, int64_t, int64_t, T*);                         \
  template void add_column_sums(ThreadPool&, const T*, int64_t, int64_t, stat_t<T>*);                                  \
  template void silu_forward(ThreadPool&, const T*, int64_t, T*);                                                      \
  template void silu_backward(ThreadPool&, const T*, const T*, int64_t, T*);                                           \
  template void gelu_forward(ThreadPool&, const T*, int64_t, T*);                                                      \
  template void gelu_backward(ThreadPool&, const T*, const T*, int64_t, T*);                                           \
  template void gelu_tanh_forward(ThreadPool&, const T*, int64_t, T*);                                                 \
  template void gelu_tanh_backward(ThreadPool&, const T*, const T*, int64_t, T*);                                      \
  template void soft_cap_forward(ThreadPool&, const T*, float, int64_t, T*);                                           \
  template void soft_cap_backward(ThreadPool&, const T*, const T*, float, int64_t, T*);                                \
  template void layer_norm_forward(ThreadPool&, const T*, const stat_t<T>*, const stat_t<T>*, float, int64_t, int64_t, \
                                   T*, stat_t<T>*, stat_t<T>*);                                                        \
  template void layer_norm_backward(ThreadPool&, const T*, const T*, const stat_t<T>*, const stat_t<T>*,               \
                                    const stat_t<T>*, int64_t, int64_t, T*, stat_t<T>*, stat_t<T>*);
SEDUM_ROWS(float)
SEDUM_ROWS(double)
SEDUM_ROWS(bf16)
#undef SEDUM_ROWS

}  // namespace sedum
