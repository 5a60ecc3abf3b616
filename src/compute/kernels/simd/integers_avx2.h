#pragma once
// Integers in the lanes of avx2.h; + − ^ | & << >> on them are GCC's own.

namespace sedum {
namespace avx2 {

typedef uint32_t UInt __attribute__((vector_size(32)));
typedef uint64_t Wide __attribute__((vector_size(32)));

// The 64-bit products of lanes 0, 2, 4 …
SEDUM_INLINE Wide multiply_even(Wide a, Wide b) { return Wide(_mm256_mul_epu32(__m256i(a), __m256i(b))); }

}  // namespace avx2
}  // namespace sedum
