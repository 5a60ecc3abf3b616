// The products for AMX: bf16 by tiles, f32 as AVX-512 does it.

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
#pragma GCC target("avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512bf16,amx-tile,amx-bf16")
#define SEDUM_ISA_NAMESPACE amx
#include "compute/kernels/simd/unroll.h"
//
#include "compute/kernels/simd/products_avx512_bf16.h"
//
#include "compute/kernels/generic/products_amx.h"

namespace sedum {
// Panels are those of AVX-512.
const ProductKernels kAmxProducts = {&amx::TileProducts::multiply, kAvx512Bf16Products.packed_bytes,
                                     kAvx512Bf16Products.pack, &amx::TileProducts::multiply_packed,
                                     &amx::TileProducts::scratch};
}  // namespace sedum
