// The products for any processor.

#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <utility>

#include "compute/dtype/nf4.h"
#include "compute/dtype/table_blocks.h"
#include "compute/kernels/generic/products_table.h"

#define SEDUM_ISA_NAMESPACE portable
#include "compute/kernels/simd/unroll.h"
//
#include "compute/kernels/simd/products_portable.h"
//
#include "compute/kernels/generic/products_driver.h"

namespace sedum {
constexpr ProductKernels kPortableProducts = portable::Products<portable::RoundedUnits>::kTable;
}
