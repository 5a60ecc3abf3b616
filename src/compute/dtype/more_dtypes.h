#pragma once
// DTypes beyond the enumerators of dtype.h: block formats that files bring along. dtype.h is included everywhere, and few places need
// to know these by name; info(), row_bytes(), decode() and the products take them like any other.
//
//   info(kNF4).block == 64; dtype_from_name("iq4_xs") == kIQ4_XS

#include "compute/dtype/dtype.h"

namespace sedum {

inline constexpr DType kQ2_K{int(DType::kCount)}, kQ3_K{int(DType::kCount) + 1}, kIQ4_NL{int(DType::kCount) + 2},
    kIQ4_XS{int(DType::kCount) + 3}, kMXFP4{int(DType::kCount) + 4}, kNF4{int(DType::kCount) + 5};
inline constexpr int kDTypes = int(DType::kCount) + 6;  // all of them

}  // namespace sedum
