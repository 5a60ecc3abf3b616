// See avx512_rows.cc on the order of includes.
#include <cstdint>
#include <cstring>

#include <immintrin.h>

#include "base/random.h"
#include "compute/kernels/generic/optimizer_table.h"

#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,avx2,fma")
#define SEDUM_ISA_NAMESPACE avx512
#include "compute/kernels/simd/avx512.h"
//
#include "compute/kernels/simd/integers_avx512.h"
//
#include "compute/kernels/simd/math.h"
//
#include "compute/kernels/generic/optimizer.h"
#pragma GCC pop_options

namespace sedum {

const OptimizerKernels kAvx512Optimizer = {avx512::optimizer::adamw,
                                           avx512::optimizer::sgd,
                                           avx512::optimizer::muon_momentum,
                                           avx512::optimizer::decayed_step,
                                           avx512::optimizer::combine,
                                           avx512::optimizer::add_squares,
                                           avx512::optimizer::sum_of_factored_squares,
                                           avx512::optimizer::factored_step,
                                           avx512::optimizer::sum_of_squares,
                                           avx512::optimizer::clip_values,
                                           avx512::optimizer::widen,
                                           avx512::optimizer::round_stochastically};

}  // namespace sedum
