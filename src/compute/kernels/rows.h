#pragma once
// Kernels over rows: norms, softmax, rotary embedding, activation functions, embedding look-up, cross-entropy, sums.
//
// All take contiguous rows. T is float, double (naive twin only) or bf16; statistics are f32 (f64 for double). Every one has
// its naive twin in kernels/ref/rows.h, a template on the scalar, and cuts its work over rows or columns, never over a sum.

#include <cstdint>

#include "base/thread_pool.h"
#include "compute/dtype/dtype.h"

namespace sedum {

// y = x / sqrt(mean(x²) + eps) · weight; inverse_rms (rows) is saved for the backward pass and may be null.
// Zhang, Sennrich: "Root Mean Square Layer Normalization", 2019.
template <class T>
void rms_norm_forward(ThreadPool& pool, const T* x, const stat_t<T>* weight, float eps, int64_t rows, int64_t cols,
                      T* y, stat_t<T>* inverse_rms);
// dx is overwritten; dweight (cols) is added to and may be null.
template <class T>
void rms_norm_backward(ThreadPool& pool, const T* dy, const T* x, const stat_t<T>* weight, const stat_t<T>* inverse_rms,
                       int64_t rows, int64_t cols, T* dx, stat_t<T>* dweight);

// y = (x − mean) / sqrt(variance + eps) · weight + bias over a row, the variance divided by cols. mean, inverse_deviation (rows) are saved
// for the backward pass and may both be null. Ba et al.: "Layer Normalization", 2016.
template <class T>
void layer_norm_forward(ThreadPool& pool, const T* x, const stat_t<T>* weight, const stat_t<T>* bias, float eps,
                        int64_t rows, int64_t cols, T* y, stat_t<T>* mean, stat_t<T>* inverse_deviation);
// dx is overwritten; dweight and dbias (cols) are added to and may both be null.
template <class T>
void layer_norm_backward(ThreadPool& pool, const T* dy, const T* x, const stat_t<T>* weight, const stat_t<T>* mean,
                         const stat_t<T>* inverse_deviation, int64_t rows, int64_t cols, T* dx, stat_t<T>* dweight,
                         stat_t<T>* dbias);

// y = softmax(scale · x) by rows; x == y allowed. A row of -inf only gives NaN, as the definition does.
template <class T>
void softmax_forward(ThreadPool& pool, const T* x, float scale, int64_t rows, int64_t cols, T* y);
template <class T>
void softmax_backward(ThreadPool& pool, const T* dy, const T* y, float scale, int64_t rows, int64_t cols, T* dx);

// Rotary position embedding in the half-split form of the Hugging Face models: (x1, x2) → (x1 cos − x2 sin, x2 cos + x1 sin), x1 and
// x2 the halves of a head's first 2 · half dimensions; what lies beyond is copied. x and y (rows, heads, head_dim), x == y allowed;
// cos, sin (rows, half). sign −1 turns back: the backward pass. Su et al.: "RoFormer", 2021.
template <class T>
void rope(ThreadPool& pool, const T* x, const stat_t<T>* cos, const stat_t<T>* sin, int64_t rows, int64_t heads,
          int64_t head_dim, int64_t half, float sign, T* y);

// y = silu(gate) · up. Shazeer: "GLU Variants Improve Transformer", 2020.
template <class T>
void swiglu_forward(ThreadPool& pool, const T* gate, const T* up, int64_t n, T* y);
template <class T>
void swiglu_backward(ThreadPool& pool, const T* dy, const T* gate, const T* up, int64_t n, T* dgate, T* dup);

// y[i] = table row ids[i], decoded from any dtype; table (vocab, cols), row_bytes apart.
template <class T>
void embedding_forward(ThreadPool& pool, DType dtype, const void* table, size_t table_row_bytes, const int32_t* ids,
                       int64_t rows, int64_t cols, T* y);
// dtable (vocab, cols) += rows of dy, in the order of rows for each id. Cut over columns.
template <class T>
void embedding_backward(ThreadPool& pool, const T* dy, const int32_t* ids, int64_t rows, int64_t cols,
                        stat_t<T>* dtable);

// Cross-entropy of logits against labels; label −100 is ignored (loss 0, gradient 0). losses (rows) in nats. The logits are overwritten by
// scale · (softmax − one-hot), their gradient, unless keep_logits.
template <class T>
void cross_entropy(ThreadPool& pool, T* logits, const int32_t* labels, float scale, int64_t rows, int64_t cols,
                   stat_t<T>* losses, bool keep_logits);

// Elementwise: y = a + b; y += b; y = s · a; a row vector added to every row; column sums added to `sums`.
template <class T>
void add(ThreadPool& pool, const T* a, const T* b, int64_t n, T* y);
template <class T>
void multiply(ThreadPool& pool, const T* a, const T* b, int64_t n, T* y);
template <class T>
void scale(ThreadPool& pool, const T* a, float s, int64_t n, T* y);
template <class T>
void add_row_vector(ThreadPool& pool, const T* x, const stat_t<T>* vector, int64_t rows, int64_t cols, T* y);
template <class T>
void add_column_sums(ThreadPool& pool, const T* x, int64_t rows, int64_t cols, stat_t<T>* sums);
template <class T>
void silu_forward(ThreadPool& pool, const T* x, int64_t n, T* y);
template <class T>
void silu_backward(ThreadPool& pool, const T* dy, const T* x, int64_t n, T* dx);

// y = x Φ(x), Φ the normal distribution's: exactly, by erf, or as GPT-2 has it, Φ(x) ≈ (1 + tanh(√(2/π) (x + 0.044715 x³))) / 2. The two
// differ by up to 5e-4. Hendrycks, Gimpel: "Gaussian Error Linear Units", 2016.
template <class T>
void gelu_forward(ThreadPool& pool, const T* x, int64_t n, T* y);
template <class T>
void gelu_backward(ThreadPool& pool, const T* dy, const T* x, int64_t n, T* dx);
template <class T>
void gelu_tanh_forward(ThreadPool& pool, const T* x, int64_t n, T* y);
template <class T>
void gelu_tanh_backward(ThreadPool& pool, const T* dy, const T* x, int64_t n, T* dx);

// y = cap · tanh(x / cap); x == y allowed. Backward by the result: dx = dy · (1 − (y / cap)²); dy == dx allowed. The soft cap of Gemma 2's logits
// (Bello et al.: "Neural Combinatorial Optimization with Reinforcement Learning", 2016).
template <class T>
void soft_cap_forward(ThreadPool& pool, const T* x, float cap, int64_t n, T* y);
template <class T>
void soft_cap_backward(ThreadPool& pool, const T* dy, const T* y, float cap, int64_t n, T* dx);

}  // namespace sedum
