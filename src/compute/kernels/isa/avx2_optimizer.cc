// See avx2_rows.cc on the order of includes.
#include <cstdint>
#include <cstring>

#include <immintrin.h>

#include "compute/kernels/generic/optimizer_table.h"

#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c")
#define SEDUM_ISA_NAMESPACE avx2
#include "compute/kernels/simd/avx2.h"
//
#include "compute/kernels/simd/math.h"
//
#include "compute/kernels/generic/optimizer.h"
#pragma GCC pop_options

namespace sedum {

const OptimizerKernels kAvx2Optimizer = {avx2::optimizer::adamw, avx2::optimizer::sum_of_squares};

}  // namespace sedum
