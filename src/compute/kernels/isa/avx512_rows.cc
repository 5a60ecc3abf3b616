// Everything from the standard library and other rooms comes before the target region: an inline function compiled inside it
// could be the copy that the linker keeps for all.
#include <cstdint>
#include <cstring>

#include <immintrin.h>

#include "compute/kernels/generic/rows_table.h"

#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,avx2,fma")
#define SEDUM_ISA_NAMESPACE avx512
#include "compute/kernels/simd/avx512.h"
//
#include "compute/kernels/simd/math.h"
//
#include "compute/kernels/generic/rows.h"
#pragma GCC pop_options

namespace sedum {

const RowKernels<float> kAvx512RowsF32 = avx512::kRowKernels<float>;
const RowKernels<bf16> kAvx512RowsBf16 = avx512::kRowKernels<bf16>;

}  // namespace sedum
