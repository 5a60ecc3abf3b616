// The int8 product for AVX-512 without VNNI.
#include <cstring>
#include <utility>

#include <immintrin.h>

#include "compute/kernels/quantised_panel.h"

// Up to the end of the file, where the templates are instantiated.
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,avx2,fma,f16c")
#include "compute/kernels/generic/quantised_avx512.h"

namespace sedum {

const QuantisedKernels kQuantisedAvx512 = quantised_kernels<QuantisedAvx512>();

}  // namespace sedum
