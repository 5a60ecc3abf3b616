#pragma once
// Integers in the lanes of avx512.h; + − ^ | & << >> on them are GCC's own.

namespace sedum {
namespace avx512 {

typedef uint32_t UInt __attribute__((vector_size(64)));
typedef uint64_t Wide __attribute__((vector_size(64)));

// The 64-bit products of lanes 0, 2, 4 …
SEDUM_INLINE Wide multiply_even(Wide a, Wide b) { return Wide(_mm512_mul_epu32(__m512i(a), __m512i(b))); }

}  // namespace avx512
}  // namespace sedum
