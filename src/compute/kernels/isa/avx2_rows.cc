// Everything from the standard library and other rooms comes before the target region: an inline function compiled inside it
// could be the copy that the linker keeps for all.
#include <cstdint>
#include <cstring>

#include <immintrin.h>

#include "compute/kernels/generic/rows_table.h"

#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c")
#define SEDUM_ISA_NAMESPACE avx2
#include "compute/kernels/simd/avx2.h"
//
#include "compute/kernels/simd/math.h"
//
#include "compute/kernels/generic/rows.h"
#pragma GCC pop_options

namespace sedum {

const RowKernels<float> kAvx2RowsF32 = avx2::kRowKernels<float>;
const RowKernels<bf16> kAvx2RowsBf16 = avx2::kRowKernels<bf16>;

}  // namespace sedum
