#include "compute/kernels/machine.h"

#include <algorithm>
#include <chrono>
#include <cstdint>

#include "base/arena.h"
#include "compute/kernels/simd/tile_config.h"

namespace sedum {
namespace {

constexpr int kTrials = 5;

template <class F>
double best_seconds(F&& f) {
  double best = 1e30;
  for (int i = 0; i < kTrials; ++i) {
    const auto start = std::chrono::steady_clock::now();
    f();
    best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  return best;
}

// Twelve sums in registers named in assembly: from intrinsics and an array GCC 12 keeps them on the stack, half of the truth. The
// operands are whatever zeroed registers hold. Values cost power, not time, but a core may then slow down: tiles reach 2.9 TFLOP/s on zeros,
// 2.3 on random numbers. One round is twelve multiply-adds.
#define SEDUM_TWELVE(OP) OP(0) OP(1) OP(2) OP(3) OP(4) OP(5) OP(6) OP(7) OP(8) OP(9) OP(10) OP(11)
#define SEDUM_CLOBBERS                                                                                                \
  "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", \
      "xmm14", "xmm15"
#define SEDUM_ROUNDS(NAME, CLEAR, OP)                                                      \
  void NAME(int64_t rounds) {                                                              \
    asm volatile(CLEAR::: SEDUM_CLOBBERS);                                                 \
    for (int64_t i = 0; i < rounds; ++i) asm volatile(SEDUM_TWELVE(OP)::: SEDUM_CLOBBERS); \
  }

#define SEDUM_CLEAR_SSE "xorps %%xmm12, %%xmm12\n xorps %%xmm13, %%xmm13\n"
#define SEDUM_CLEAR_AVX \
  "vxorps %%ymm12, %%ymm12, %%ymm12\n vxorps %%ymm13, %%ymm13, %%ymm13\n vxorps %%ymm14, %%ymm14, %%ymm14\n"
#define SEDUM_SSE(n) "movaps %%xmm12, %%xmm13\n mulps %%xmm12, %%xmm13\n addps %%xmm13, %%xmm" #n "\n"
#define SEDUM_FMA_256(n) "vfmadd231ps %%ymm12, %%ymm13, %%ymm" #n "\n"
#define SEDUM_FMA_512(n) "vfmadd231ps %%zmm12, %%zmm13, %%zmm" #n "\n"
#define SEDUM_BF16_512(n) "vdpbf16ps %%zmm12, %%zmm13, %%zmm" #n "\n"
#define SEDUM_INT8_SSE(n) "movaps %%xmm12, %%xmm13\n pmaddwd %%xmm12, %%xmm13\n paddd %%xmm13, %%xmm" #n "\n"
#define SEDUM_INT8_256(n)                                                                                             \
  "vpmaddubsw %%ymm12, %%ymm13, %%ymm15\n vpmaddwd %%ymm15, %%ymm14, %%ymm15\n vpaddd %%ymm15, %%ymm" #n ", %%ymm" #n \
  "\n"
#define SEDUM_INT8_512(n)                                                                                             \
  "vpmaddubsw %%zmm12, %%zmm13, %%zmm15\n vpmaddwd %%zmm15, %%zmm14, %%zmm15\n vpaddd %%zmm15, %%zmm" #n ", %%zmm" #n \
  "\n"
#define SEDUM_VNNI_512(n) "vpdpbusd %%zmm12, %%zmm13, %%zmm" #n "\n"

SEDUM_ROUNDS(f32_sse, SEDUM_CLEAR_SSE, SEDUM_SSE)
SEDUM_ROUNDS(f32_avx2, SEDUM_CLEAR_AVX, SEDUM_FMA_256)
SEDUM_ROUNDS(f32_avx512, SEDUM_CLEAR_AVX, SEDUM_FMA_512)
SEDUM_ROUNDS(bf16_avx512, SEDUM_CLEAR_AVX, SEDUM_BF16_512)
SEDUM_ROUNDS(int8_sse, SEDUM_CLEAR_SSE, SEDUM_INT8_SSE)
SEDUM_ROUNDS(int8_avx2, SEDUM_CLEAR_AVX, SEDUM_INT8_256)
SEDUM_ROUNDS(int8_avx512, SEDUM_CLEAR_AVX, SEDUM_INT8_512)
SEDUM_ROUNDS(int8_vnni, SEDUM_CLEAR_AVX, SEDUM_VNNI_512)

// Tiles: an instruction takes 16 cycles, so there is one for sixteen that are counted. Six sums hide its latency.
constexpr int kTileShare = 16;
#define SEDUM_TILES(NAME, OP)                                                                            \
  void NAME(int64_t rounds) {                                                                            \
    asm volatile("ldtilecfg %0\n tilezero %%tmm6\n tilezero %%tmm7\n" ::"m"(kWholeTiles));               \
    for (int64_t i = 0; i < rounds; i += kTileShare)                                                     \
      asm volatile(OP(0) OP(1) OP(2) OP(3) OP(4) OP(5) OP(0) OP(1) OP(2) OP(3) OP(4) OP(5)::: "memory"); \
    asm volatile("tilerelease");                                                                         \
  }
#define SEDUM_BF16_TILE(n) "tdpbf16ps %%tmm7, %%tmm6, %%tmm" #n "\n"
#define SEDUM_INT8_TILE(n) "tdpbusd %%tmm7, %%tmm6, %%tmm" #n "\n"
SEDUM_TILES(bf16_amx, SEDUM_BF16_TILE)
SEDUM_TILES(int8_amx, SEDUM_INT8_TILE)

struct Peak {
  void (*rounds)(int64_t);
  int multiply_adds;  // in one instruction (or what stands for one)
};
Peak peak_of(Isa isa, Compute compute) {
  const bool int8 = compute == Compute::kInt8;
  switch (isa) {
    case Isa::kPortable:
      return int8 ? Peak{int8_sse, 8} : Peak{f32_sse, 4};
    case Isa::kAvx2:
      return int8 ? Peak{int8_avx2, 32} : Peak{f32_avx2, 8};
    case Isa::kAvx512:
      return int8 ? Peak{int8_avx512, 64} : Peak{f32_avx512, 16};
    case Isa::kAvx512Bf16:
      break;
    case Isa::kAmx:
      if (int8) return {int8_amx, 16 * 16 * 64 / kTileShare};
      if (compute == Compute::kBF16) return {bf16_amx, 16 * 16 * 32 / kTileShare};
      break;
  }
  return int8 ? Peak{int8_vnni, 64} : compute == Compute::kBF16 ? Peak{bf16_avx512, 32} : Peak{f32_avx512, 16};
}

}  // namespace

double measure_peak(ThreadPool& pool, Isa isa, Compute compute) {
  constexpr int64_t kRounds = 1'000'000;  // some milliseconds
  const Peak peak = peak_of(isa, compute);
  const double seconds = best_seconds([&] { pool.run([&](int) { peak.rounds(kRounds); }); });
  return 2.0 * peak.multiply_adds * 12 * double(kRounds) * pool.size() / seconds;
}

double measure_read_bandwidth(ThreadPool& pool, size_t bytes) {
  constexpr size_t kStep = 512;
  const size_t share = bytes / size_t(pool.size()) / kStep * kStep;
  const Buffer buffer(share * size_t(pool.size()));
  pool.run([&](int thread) {  // an untouched page is one page of zeros, and in cache
    std::byte* const p = buffer.as<std::byte>() + share * size_t(thread);
    for (size_t i = 0; i < share; i += 64) p[i] = std::byte(i);
  });
  const double seconds = best_seconds([&] {
    pool.run([&](int thread) {
      const std::byte* p = buffer.as<std::byte>() + share * size_t(thread);
      using V = int64_t __attribute__((vector_size(16)));
      V sums[4] = {};
      for (const std::byte* const end = p + share; p < end; p += kStep) {
        for (size_t i = 0; i < kStep; i += 64) {
          __builtin_prefetch(p + 4096 + i);
          const V* v = reinterpret_cast<const V*>(p + i);
          for (int j = 0; j < 4; ++j) sums[j] ^= v[j];
        }
      }
      asm volatile("" ::"x"(sums[0] ^ sums[1] ^ sums[2] ^ sums[3]));
    });
  });
  return double(buffer.size()) / seconds;
}

}  // namespace sedum
