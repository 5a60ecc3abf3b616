#pragma once
// The table of optimizer kernels of one instruction set; each entry works on one thread. What they mean is in ref/optimizer.h.

#include <cstdint>

#include "compute/kernels/optimizer.h"

namespace sedum {

struct OptimizerKernels {
  void (*adamw)(const AdamWStep& step, int64_t n, const float* gradient, float* parameter, float* m, float* v,
                bf16* shadow);
  double (*sum_of_squares)(const float* x, int64_t n);
};

const OptimizerKernels& optimizer_kernels();                     // the table in force
extern const OptimizerKernels kAvx2Optimizer, kAvx512Optimizer;  // what isa/*_optimizer.cc offer

}  // namespace sedum
