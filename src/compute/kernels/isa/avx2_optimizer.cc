// See avx2_rows.cc on the order of includes.
#include <cstdint>
#include <cstring>

#include <immintrin.h>

#include "base/random.h"
#include "compute/kernels/generic/optimizer_table.h"

#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c")
#define SEDUM_ISA_NAMESPACE avx2
#include "compute/kernels/simd/avx2.h"
//
#include "compute/kernels/simd/integers_avx2.h"
//
#include "compute/kernels/simd/math.h"
//
#include "compute/kernels/generic/optimizer.h"
#pragma GCC pop_options

namespace sedum {

const OptimizerKernels kAvx2Optimizer = {avx2::optimizer::adamw,
                                         avx2::optimizer::sgd,
                                         avx2::optimizer::muon_momentum,
                                         avx2::optimizer::decayed_step,
                                         avx2::optimizer::combine,
                                         avx2::optimizer::add_squares,
                                         avx2::optimizer::sum_of_factored_squares,
                                         avx2::optimizer::factored_step,
                                         avx2::optimizer::sum_of_squares,
                                         avx2::optimizer::clip_values,
                                         avx2::optimizer::widen,
                                         avx2::optimizer::round_stochastically};

}  // namespace sedum
