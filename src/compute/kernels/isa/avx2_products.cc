// The products for AVX2 with FMA and F16C.

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
#pragma GCC target("avx2,fma,f16c")
#define SEDUM_ISA_NAMESPACE avx2
#include "compute/kernels/simd/unroll.h"
//
#include "compute/kernels/simd/products_avx2.h"
//
#include "compute/kernels/generic/products_driver.h"

namespace sedum {
constexpr ProductKernels kAvx2Products = avx2::Products<avx2::RoundedUnits>::kTable;
}
