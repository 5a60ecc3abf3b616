// See avx2_rows.cc on the order of includes.
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <utility>

#include <immintrin.h>

#include "compute/kernels/generic/attention_table.h"
#include "compute/kernels/ref/attention.h"

#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c")
#define SEDUM_ISA_NAMESPACE avx2
#include "compute/kernels/simd/avx2.h"
//
#include "compute/kernels/simd/math.h"
//
#include "compute/kernels/generic/attention_tile.h"
//
#include "compute/kernels/generic/attention_forward.h"
//
#include "compute/kernels/generic/attention_backward.h"
#pragma GCC pop_options

namespace sedum {

const AttentionKernels<float> kAvx2AttentionF32 = avx2::attention::kKernels<float>;
const AttentionKernels<bf16> kAvx2AttentionBf16 = avx2::attention::kKernels<bf16>;

}  // namespace sedum
