#pragma once
// The optimizers' kernels: one pass over memory, in place, whatever parameters and states are stored as.
//
//   adamw(pool, step, n, gradient, {StoredAs::kF32, parameter}, {StoredAs::kF32, m}, {StoredAs::kF32, v}, {});
//
// Arrays that are not f32 are widened, updated and narrowed a block of 1,024 values at a time, which stays in the first cache. Work is cut
// at multiples of that block, so that the thread count changes no bit.

#include <cstdint>

#include "base/thread_pool.h"
#include "compute/dtype/dtype.h"

namespace sedum {

// How an array of an optimizer is stored: f32 as it is; bf16, rounded stochastically; or 8 bits a value, in blocks of 256 that share a
// scale, on the dynamic map for values with a sign or without (kernels/dynamic8.h).
enum class StoredAs : uint8_t { kF32, kBF16, kSigned8, kUnsigned8 };
struct StoredArray {
  StoredAs format = StoredAs::kF32;
  void* values = nullptr;
  float* absmax = nullptr;  // 8 bits: of each block of 256
  uint32_t stream = 0;      // bf16: tells this array's random numbers from others'
};
// The random numbers of a step: Philox counted by (seed, step, stream, index), so that a resumed run rounds alike.
struct StochasticRounding {
  uint64_t seed = 0;
  uint32_t step = 0;
};

// Doubles, because 1 − beta must be: 1 − 0.999f is 13 parts in a million from 0.001.
struct AdamWStep {
  double learning_rate, beta1, beta2, eps, weight_decay;
  double correction1, correction2;  // 1 − beta^t
  double gradient_scale;            // applied to every gradient first: clipping and the mean over tokens
  bool decoupled = true;            // false: Adam, where the decay is part of the gradient
};
// Loshchilov, Hutter: "Decoupled Weight Decay Regularization", 2019, in the order of torch.optim.AdamW:
// p −= lr·wd·p; m = β1·m + (1−β1)·g; v = β2·v + (1−β2)·g²; p −= lr/c1 · m / (sqrt(v)/sqrt(c2) + eps).
void adamw(ThreadPool& pool, const AdamWStep& step, int64_t n, const float* gradient, StoredArray parameter,
           StoredArray m, StoredArray v, StochasticRounding rounding);

// torch.optim.SGD: g += wd·p; buffer = momentum·buffer + g; p −= lr·(nesterov ? g + momentum·buffer : buffer). Without momentum there is
// no buffer (values null) and p −= lr·g.
struct SgdStep {
  double learning_rate, momentum, weight_decay, gradient_scale;
  bool nesterov = false;
};
void sgd(ThreadPool& pool, const SgdStep& step, int64_t n, const float* gradient, StoredArray parameter,
         StoredArray buffer, StochasticRounding rounding);

// Muon's momentum: buffer += (1 − momentum)·(g − buffer); x = nesterov ? g + momentum·(buffer − g) : buffer.
void muon_momentum(ThreadPool& pool, double momentum, bool nesterov, double gradient_scale, int64_t n,
                   const float* gradient, StoredArray buffer, float* x, StochasticRounding rounding);
// p = decay·p − rate·update.
void decayed_step(ThreadPool& pool, double decay, double rate, int64_t n, const float* update, StoredArray parameter,
                  StochasticRounding rounding);
// y = a·x + b·y.
void combine(ThreadPool& pool, float a, const float* x, float b, int64_t n, float* y);

// Adafactor's passes over a gradient (rows, cols), contiguous. Sums of squares of rows (rows) and of columns (cols); `scratch` holds
// adafactor_scratch(rows, cols) values.
int64_t adafactor_scratch(int64_t rows, int64_t cols);
void squares_by_row_and_column(ThreadPool& pool, const float* gradient, int64_t rows, int64_t cols, double* row_sums,
                               float* column_sums, float* scratch);
// Σ (gradient[i][j] · r[i] · c[j])², in double.
double sum_of_factored_squares(ThreadPool& pool, const float* gradient, const float* r, const float* c, int64_t rows,
                               int64_t cols);
// p[i][j] = decay·p[i][j] − rate·gradient[i][j]·r[i]·c[j].
void factored_step(ThreadPool& pool, double decay, double rate, const float* gradient, const float* r, const float* c,
                   int64_t rows, int64_t cols, StoredArray parameter, StochasticRounding rounding);

// Sum of squares in double: fixed blocks of 4,096 values, added in order, so that the thread count does not matter.
double sum_of_squares(ThreadPool& pool, const float* x, int64_t n);
// x = min(max(x, −most), most) in place; NaN stays.
void clip_values(ThreadPool& pool, float* x, float most, int64_t n);

// y = x with its lower 16 bits rounded up with the probability that they say; random bits are those of values first … first + n − 1
// of `stream`. first is a multiple of 128. Infinities and NaN stay what they are.
void round_stochastically(const float* x, int64_t n, StochasticRounding rounding, uint32_t stream, int64_t first,
                          bf16* y);

}  // namespace sedum
