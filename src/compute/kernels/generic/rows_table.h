#pragma once
// The table of row kernels of one instruction set. Each entry works on one thread, on the rows, columns or values it is given;
// rows.cc cuts and chooses. What the entries mean is in ref/rows.h.

#include <cstdint>

#include "compute/dtype/dtype.h"

namespace sedum {

template <class T>
struct RowKernels {
  using S = stat_t<T>;
  void (*rms_norm_forward)(const T* x, const S* weight, float eps, int64_t rows, int64_t cols, T* y, S* inverse_rms);
  void (*rms_norm_backward)(const T* dy, const T* x, const S* weight, const S* inverse_rms, int64_t rows, int64_t cols,
                            T* dx);
  void (*rms_norm_backward_weight)(const T* dy, const T* x, const S* inverse_rms, int64_t rows, int64_t cols,
                                   int64_t begin, int64_t end, S* dweight);
  void (*layer_norm_forward)(const T* x, const S* weight, const S* bias, float eps, int64_t rows, int64_t cols, T* y,
                             S* mean, S* inverse_deviation);
  void (*layer_norm_backward)(const T* dy, const T* x, const S* weight, const S* mean, const S* inverse_deviation,
                              int64_t rows, int64_t cols, T* dx);
  void (*layer_norm_backward_weight)(const T* dy, const T* x, const S* mean, const S* inverse_deviation, int64_t rows,
                                     int64_t cols, int64_t begin, int64_t end, S* dweight);
  void (*softmax_forward)(const T* x, float scale, int64_t rows, int64_t cols, T* y);
  void (*softmax_backward)(const T* dy, const T* y, float scale, int64_t rows, int64_t cols, T* dx);
  void (*rope)(const T* x, const S* cos, const S* sin, int64_t rows, int64_t heads, int64_t head_dim, int64_t half,
               float sign, T* y);
  void (*silu_forward)(const T* x, int64_t n, T* y);
  void (*silu_backward)(const T* dy, const T* x, int64_t n, T* dx);
  void (*gelu_forward)(const T* x, int64_t n, T* y);
  void (*gelu_backward)(const T* dy, const T* x, int64_t n, T* dx);
  void (*gelu_tanh_forward)(const T* x, int64_t n, T* y);
  void (*gelu_tanh_backward)(const T* dy, const T* x, int64_t n, T* dx);
  void (*soft_cap_forward)(const T* x, float cap, int64_t n, T* y);
  void (*soft_cap_backward)(const T* dy, const T* y, float cap, int64_t n, T* dx);
  void (*swiglu_forward)(const T* gate, const T* up, int64_t n, T* y);
  void (*swiglu_backward)(const T* dy, const T* gate, const T* up, int64_t n, T* dgate, T* dup);
  void (*embedding_backward)(const T* dy, const int32_t* ids, int64_t rows, int64_t cols, int64_t begin, int64_t end,
                             S* dtable);
  void (*cross_entropy)(T* logits, const int32_t* labels, float scale, int64_t rows, int64_t cols, S* losses,
                        bool keep_logits);
  void (*add)(const T* a, const T* b, int64_t n, T* y);
  void (*multiply)(const T* a, const T* b, int64_t n, T* y);
  void (*scale)(const T* a, float s, int64_t n, T* y);
  void (*add_row_vector)(const T* x, const S* vector, int64_t rows, int64_t cols, T* y);
  void (*add_column_sums)(const T* x, int64_t rows, int64_t cols, int64_t begin, int64_t end, S* sums);
};

// The table in force; for double the naive twins.
template <class T>
const RowKernels<T>& row_kernels();

// What isa/*_rows.cc offer.
extern const RowKernels<float> kAvx2RowsF32, kAvx512RowsF32;
extern const RowKernels<bf16> kAvx2RowsBf16, kAvx512RowsBf16;

}  // namespace sedum
