// The products for AVX-512 with BF16 instructions.

#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <utility>

#include <immintrin.h>

#include "compute/dtype/nf4.h"
#include "compute/dtype/table_blocks.h"
#include "compute/kernels/generic/products_table.h"

// Nothing below may instantiate a template that another file could: the linker would keep one copy for all, perhaps this one. Hence
// no standard library, and everything in a namespace of its own. The region lasts to the end of the file, where templates are compiled.
#pragma GCC target("avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512bf16")
#define SEDUM_ISA_NAMESPACE avx512_bf16
#include "compute/kernels/simd/unroll.h"
//
#include "compute/kernels/simd/products_avx512_bf16.h"
//
#include "compute/kernels/generic/products_driver.h"

namespace sedum {
constexpr ProductKernels kAvx512Bf16Products = avx512_bf16::Products<avx512_bf16::PairUnits>::kTable;
}
