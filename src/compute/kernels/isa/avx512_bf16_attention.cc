// See avx512_rows.cc on the order of includes.
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <utility>

#include <immintrin.h>

#include "compute/kernels/generic/attention_table.h"
#include "compute/kernels/ref/attention.h"

#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16,avx2,fma")
#define SEDUM_ISA_NAMESPACE avx512_pairs
#include "compute/kernels/simd/avx512.h"
//
#include "compute/kernels/simd/avx512_pairs.h"
namespace sedum::avx512_pairs {
using namespace avx512;
}
//
#include "compute/kernels/simd/math.h"
//
#include "compute/kernels/generic/attention_tile.h"
//
#include "compute/kernels/generic/attention_forward.h"
//
#include "compute/kernels/generic/attention_backward.h"
//
#include "compute/kernels/generic/attention_pairs.h"
#pragma GCC pop_options

namespace sedum {

const AttentionKernels<float> kAvx512PairsAttentionF32 = avx512_pairs::attention::kPairKernels<float>;
const AttentionKernels<bf16> kAvx512PairsAttentionBf16 = avx512_pairs::attention::kPairKernels<bf16>;

}  // namespace sedum
