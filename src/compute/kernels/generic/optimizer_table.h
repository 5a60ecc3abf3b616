#pragma once
// The table of optimizer kernels of one instruction set; each entry works on one thread, on f32 alone. What they mean is in ref/optimizer.h.

#include <cstdint>

#include "compute/kernels/optimizer.h"

namespace sedum {

struct OptimizerKernels {
  void (*adamw)(const AdamWStep& step, int64_t n, const float* gradient, float* parameter, float* m, float* v);
  void (*sgd)(const SgdStep& step, int64_t n, const float* gradient, float* parameter, float* buffer);
  void (*muon_momentum)(double momentum, bool nesterov, double gradient_scale, int64_t n, const float* gradient,
                        float* buffer, float* x);
  void (*decayed_step)(double decay, double rate, int64_t n, const float* update, float* parameter);
  void (*combine)(float a, const float* x, float b, int64_t n, float* y);
  double (*add_squares)(const float* gradient, int64_t n, float* column_sums);
  double (*sum_of_factored_squares)(const float* gradient, const float* c, int64_t n);
  void (*factored_step)(double decay, double rate, int64_t n, const float* gradient, const float* c, float* parameter);
  double (*sum_of_squares)(const float* x, int64_t n);
  void (*clip_values)(float* x, float most, int64_t n);
  void (*widen)(const bf16* x, int64_t n, float* y);
  void (*round_stochastically)(const float* x, int64_t n, StochasticRounding rounding, uint32_t stream, int64_t first,
                               bf16* y);
};

const OptimizerKernels& optimizer_kernels();                     // the table in force
extern const OptimizerKernels kAvx2Optimizer, kAvx512Optimizer;  // what isa/*_optimizer.cc offer

}  // namespace sedum
