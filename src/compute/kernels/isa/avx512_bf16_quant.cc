// The int8 product for AVX-512 with VNNI.
#include <cstring>
#include <utility>

#include <immintrin.h>

#include "compute/kernels/quantised_panel.h"

// Up to the end of the file, where the templates are instantiated.
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma,f16c")
#include "compute/kernels/generic/quantised_avx512.h"

namespace sedum {
namespace {

struct QuantisedVnni : QuantisedAvx512 {
  static constexpr int kRows = 12;  // 12 rows × 2 accumulators, a line, temporaries: 32 registers

  // The broadcast inside the instruction: as an intrinsic GCC 12 hoists the broadcasts and spills (82 instead of 95 % of the peak).
  template <int kTop, int kFirst, int kCount, int R, class Line>
  static SEDUM_INLINE void dots(I (&dot)[R][1], Line line, const uint8_t* quads) {
    unroll<kCount>([&](auto i) SEDUM_INLINE {
      constexpr int g = kFirst + decltype(i)::value;
      const I w = line(std::integral_constant<int, g>{}, std::integral_constant<int, 0>{});
      unroll<R>([&](auto r) SEDUM_INLINE {
        const int32_t& quad = *reinterpret_cast<const int32_t*>(quads + (g * R + r) * 4);
        asm("vpdpbusd %2%{1to16%}, %1, %0" : "+v"(dot[r][0]) : "v"(w), "m"(quad));
      });
    });
  }
};

}  // namespace

const QuantisedKernels kQuantisedAvx512Bf16 = quantised_kernels<QuantisedVnni>();

}  // namespace sedum
