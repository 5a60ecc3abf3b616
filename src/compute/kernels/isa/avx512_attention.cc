// See avx512_rows.cc on the order of includes.
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <utility>

#include <immintrin.h>

#include "compute/kernels/generic/attention_table.h"
#include "compute/kernels/ref/attention.h"

#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,avx2,fma")
#define SEDUM_ISA_NAMESPACE avx512
#include "compute/kernels/simd/avx512.h"
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

const AttentionKernels<float> kAvx512AttentionF32 = avx512::attention::kKernels<float>;
const AttentionKernels<bf16> kAvx512AttentionBf16 = avx512::attention::kKernels<bf16>;

}  // namespace sedum
