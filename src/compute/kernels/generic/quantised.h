// The int8 product, written once over a vocabulary V of one instruction set (isa/*_quant.cc). Included inside a target region; the
// unnamed namespace keeps everything in the one object file that was compiled for that instruction set.
//
// V: I and F are registers of kLanes int32 (4 · kLanes bytes) and floats; kRows is the highest tile; kTogether registers of a panel's
// columns share the broadcast of an activation; kHasSigns: there is with_signs(); kSumsIn16Bits: dots() does so, and registers are few;
// kWidens: many rows read panels of bytes.
#pragma once

#include <cstring>
#include <utility>

#include "compute/kernels/quantised_panel.h"

#define SEDUM_INLINE __attribute__((always_inline))

namespace sedum {
namespace {

// unroll<3>(f) calls f(0), f(1), f(2) with compile-time indices: GCC 12 keeps accumulators indexed by a loop in memory.
template <int... I, class F>
SEDUM_INLINE inline void unroll_over(std::integer_sequence<int, I...>, F f) {
  (f(std::integral_constant<int, I>{}), ...);
}
template <int N, class F>
SEDUM_INLINE inline void unroll(F f) {
  unroll_over(std::make_integer_sequence<int, N>{}, f);
}

// Makes the compiler forget what it knows of a pointer (V::hide: of a register), so that it neither keeps broadcasts from one use to
// the next nor turns chains of sums into trees: both end in spills, and the loads are free.
SEDUM_INLINE inline void hide(const uint8_t*& p) { asm volatile("" : "+r"(p)); }

// Bytes ahead in the weight stream. Spread over the blocks: 53 lines at once for each record of Q6_K left it at 43 % of the read
// bandwidth, spread it reached 81 %.
constexpr int kAhead = 4096;

// Decoding a record of a panel: register c of a line, a scale, a minimum. Nibbles are decoded in registers in every tile: on Zen 4
// that takes the pipes that vpdpbusd leaves free, and panels decoded beforehand were no faster at 512 rows and slower at 8. Without VNNI
// many rows read bytes: widen().
template <class V, class B>
struct Record {
  using P = Panel<B>;
  using I = typename V::I;
  using F = typename V::F;
  static constexpr int kLineBytes = 4 * V::kLanes;

  // Group G of the 32 k from 32 · step on.
  template <int G>
  static SEDUM_INLINE I line(const uint8_t* record, int step, int c) {
    const uint8_t* const low = record + P::kHead + c * kLineBytes;
    if constexpr (B::kBits == 8) return V::load(low + 512 * step + 64 * G);
    const I packed = V::load(low + 256 * step + 64 * (G / 2));
    const I q = V::template nibbles<G % 2>(packed);
    if constexpr (B::kBits == 5) return V::template merge_bits<4 - G, 0x10>(V::load(low + P::kLow + 64 * step), q);
    if constexpr (B::kBits == 6)
      return V::template merge_bits<4 - 2 * (G % 4), 0x30>(V::load(low + P::kLow + 128 * step + 64 * (G / 4)), q);
    return q;
  }
  // Of sub-block b of the record.
  static SEDUM_INLINE F scale(const uint8_t* record, int b, int c) {
    if constexpr (!P::kKQuant) return V::halves(record + 32 * b + 2 * c * V::kLanes);
    const F d = V::halves(record + 2 * c * V::kLanes);
    const uint8_t* const bytes = record + 64 + 16 * b + c * V::kLanes;
    if constexpr (B::kType == DType::kQ6_K)
      return V::multiply(d, V::signed_bytes(bytes));
    else
      return V::multiply(d, V::unsigned_bytes(bytes));
  }
  static SEDUM_INLINE F minimum(const uint8_t* record, int b, int c) {
    if constexpr (!P::kKQuant)
      return V::halves(record + P::kMinima + 32 * b + 2 * c * V::kLanes);
    else
      return V::multiply(V::halves(record + 32 + 2 * c * V::kLanes),
                         V::unsigned_bytes(record + P::kMinima + 16 * b + c * V::kLanes));
  }
};

constexpr int log2_of(int power) { return power <= 1 ? 0 : 1 + log2_of(power / 2); }

// R rows × one panel. In a cycle Zen 4 does one 64-byte vpdpbusd or one fma or mul in its place; a block of 32 k takes 8, 1
// and 1: at most 8/10 of the peak. A zero point costs nothing: an accumulator starts at −zero · Σ activations, one shifted broadcast.
// A minimum is one fma more for each block.
template <class V, class B, int R>
void tile(const uint8_t* a, const uint8_t* record, int64_t k, float* y, size_t y_row_bytes) {
  using P = Panel<B>;
  using W = Record<V, B>;
  using I = typename V::I;
  using F = typename V::F;
  constexpr int kSteps = P::kRecord / 32, kParts = 32 / B::kSub, kRegisters = kPanelColumns / V::kLanes;
  constexpr int kTogether =
      R == 1 ? 1 : V::kTogether;  // one row waits for memory: 2 to 4 % slower with broadcasts shared
  constexpr int kGroups = 8 / kParts, kTop = panel_top<B>();
  constexpr int kZero = kTop > 127 && V::kHasSigns ? 0 : B::kZero;  // bytes with signs have theirs in the middle
  // Where dots are first summed in 16 bits, a start would hold registers meanwhile: 2 to 5 % for Q4_0 and Q5_0 on AVX2.
  constexpr bool kStartLate = V::kSumsIn16Bits && kZero != 0 && kTop < 127;
  constexpr bool kWidened = B::kBits == 8 && kTop < 127;
  constexpr int kShare = kWidened ? 0 : (P::kBytes / kSteps + 63) / 64;  // lines to prefetch in a step
  F f[R][kRegisters];
  unroll<R * kRegisters>([&](auto n) SEDUM_INLINE { f[n / kRegisters][n % kRegisters] = V::zero(); });
  for (int64_t at = 0; at < k; record += P::kBytes) {
    for (int step = 0; step < kSteps && at < k; ++step, at += 32, a += activation_bytes(R, 32)) {
      for (int i = 0; i < kShare; ++i) __builtin_prefetch(record + P::kBytes / kSteps * step + kAhead + 64 * i);
      const uint8_t* heads = a;
      const auto head = [&](int r) SEDUM_INLINE -> const ActivationHead& {
        return reinterpret_cast<const ActivationHead*>(heads)[r];
      };
      const uint8_t* const quads = a + R * sizeof(ActivationHead);
      unroll<kRegisters / kTogether>([&](auto together) SEDUM_INLINE {
        constexpr int first = decltype(together)::value * kTogether;
        unroll<kParts>([&](auto part) SEDUM_INLINE {
          I dot[R][kTogether];
          hide(heads);
          const auto start = [&](int r) SEDUM_INLINE {
            if constexpr (kZero == 0) return V::zero_integers();
            const ActivationHead& h = head(r);
            return V::template shifted<log2_of(kZero)>(kParts == 1 ? h.minus_all
                                                       : part == 0 ? h.minus_first
                                                                   : h.minus_second);
          };
          unroll<R>([&](auto r) SEDUM_INLINE {
            const I first_sum = kStartLate ? V::zero_integers() : start(r);
            unroll<kTogether>([&](auto c) SEDUM_INLINE { dot[r][c] = first_sum; });
          });
          V::template dots<kTop, kGroups * part, kGroups>(
              dot,
              [&](auto g, auto c)
                  SEDUM_INLINE { return W::template line<decltype(g)::value>(record, step, first + c); },
              quads);
          if constexpr (kStartLate)
            unroll<R>([&](auto r) SEDUM_INLINE {
              const I less = start(r);
              unroll<kTogether>([&](auto c) SEDUM_INLINE { dot[r][c] = V::add(dot[r][c], less); });
            });
          unroll<kTogether>([&](auto c) SEDUM_INLINE {
            const F sw = W::scale(record, step * kParts + part, first + c);
            unroll<R>([&](auto r) SEDUM_INLINE {
              F& sum = f[r][first + c];
              sum = V::fma(V::to_float(dot[r][c]), V::multiply(sw, V::broadcast(head(r).scale)), sum);
            });
          });
        });
        if constexpr (B::kHasMinimum) {
          unroll<kTogether>([&](auto c) SEDUM_INLINE {
            const F m = W::minimum(record, step, first + c);
            unroll<R>([&](auto r)
                          SEDUM_INLINE { f[r][first + c] = V::fma(m, V::broadcast(head(r).sum), f[r][first + c]); });
          });
        }
      });
    }
  }
  unroll<R>([&](auto r) SEDUM_INLINE {
    float* const row = reinterpret_cast<float*>(reinterpret_cast<char*>(y) + r * y_row_bytes);
    unroll<kRegisters>([&](auto c) SEDUM_INLINE { V::store(row + c * V::kLanes, f[r][c]); });
  });
}

// Without VNNI: u8 × s8 pairs are summed in 16 bits, with saturation; activations are within ±127. Here each line is widened at once:
// values of 7 bits, or (kSigned) of 8 bits with a zero point of 128, where a weight's sign goes to the activation; |−128| · 127 · 2 =
// 32512 is still below 2^15.
template <class V, bool kSigned, int kFirst, int kCount, int R, int C, class Line>
SEDUM_INLINE inline void dots_by_line(typename V::I (&dot)[R][C], Line line, const uint8_t* quads) {
  using I = typename V::I;
  hide(quads);
  unroll<kCount>([&](auto i) SEDUM_INLINE {
    constexpr int g = kFirst + decltype(i)::value;
    I w[C], size[C];
    unroll<C>([&](auto c) SEDUM_INLINE {
      w[c] = size[c] = line(std::integral_constant<int, g>{}, c);
      if constexpr (kSigned) w[c] = V::less_128(w[c]), size[c] = V::magnitude(w[c]);
    });
    unroll<R>([&](auto r) SEDUM_INLINE {
      const I x = V::broadcast_quad(quads + (g * R + r) * 4);
      unroll<C>([&](auto c) SEDUM_INLINE {
        I signed_x = x;
        if constexpr (kSigned) signed_x = V::with_signs(x, w[c]);
        dot[r][c] = V::add(dot[r][c], V::template sum_pairs<1>(V::multiply_pairs(size[c], signed_x)));
        V::hide(dot[r][c]);
      });
    });
  });
}

// Values of fewer bits: as many lines as cannot saturate are added up in 16 bits before they are widened. Bytes up to 255 go with
// their signs, or as two nibbles, the upper ones times 16.
template <class V, int kTop, int kFirst, int kCount, int kFactor = 1, int R, int C, class Line>
SEDUM_INLINE inline void dots_in_16_bits(typename V::I (&dot)[R][C], Line line, const uint8_t* quads) {
  using I = typename V::I;
  if constexpr (kTop > 127 && V::kHasSigns) {
    dots_by_line<V, true, kFirst, kCount>(dot, line, quads);
  } else if constexpr (kTop == 127) {
    dots_by_line<V, false, kFirst, kCount>(dot, line, quads);
  } else if constexpr (kTop > 127) {
    dots_in_16_bits<V, 15, kFirst, kCount, 1>(
        dot, [&](auto g, auto c) SEDUM_INLINE { return V::template nibbles<0>(line(g, c)); }, quads);
    asm volatile("" ::: "memory");  // or eight lines stay in registers for the second pass
    dots_in_16_bits<V, 15, kFirst, kCount, 16>(
        dot, [&](auto g, auto c) SEDUM_INLINE { return V::template nibbles<1>(line(g, c)); }, quads);
  } else {
    constexpr int kFit = 32767 / (2 * kTop * 127), kLines = kFit < kCount ? kFit : kCount;
    static_assert(kCount % kLines == 0);
    hide(quads);
    unroll<kCount / kLines>([&](auto n) SEDUM_INLINE {
      I sum[R][C];
      unroll<kLines>([&](auto i) SEDUM_INLINE {
        constexpr int g = kFirst + decltype(n)::value * kLines + decltype(i)::value;
        I w[C];
        unroll<C>([&](auto c) SEDUM_INLINE { w[c] = line(std::integral_constant<int, g>{}, c); });
        unroll<R>([&](auto r) SEDUM_INLINE {
          const I x = V::broadcast_quad(quads + (g * R + r) * 4);
          unroll<C>([&](auto c) SEDUM_INLINE {
            const I product = V::multiply_pairs(w[c], x);
            sum[r][c] = i == 0 ? product : V::add_16(sum[r][c], product);
            V::hide(sum[r][c]);
          });
        });
      });
      unroll<R>([&](auto r) SEDUM_INLINE {
        unroll<C>([&](auto c)
                      SEDUM_INLINE { dot[r][c] = V::add(dot[r][c], V::template sum_pairs<kFactor>(sum[r][c])); });
      });
    });
  }
}

// A panel's bits as bytes, once for all the tiles that pass over it.
template <class V, class B>
void widen(const uint8_t* record, int64_t k, uint8_t* to) {
  using P = Panel<B>;
  constexpr int kSteps = P::kRecord / 32, kRegisters = kPanelColumns / V::kLanes, kLineBytes = 4 * V::kLanes;
  constexpr int kShare = (P::kBytes / kSteps + 63) / 64;
  for (int64_t at = 0; at < k; at += P::kRecord, record += P::kBytes, to += Panel<Wide<B>>::kBytes) {
    std::memcpy(to, record, P::kHead);
    for (int step = 0; step < kSteps; ++step) {
      for (int i = 0; i < kShare; ++i) __builtin_prefetch(record + P::kBytes / kSteps * step + kAhead + 64 * i);
      unroll<8>([&](auto g) SEDUM_INLINE {
        unroll<kRegisters>([&](auto c) SEDUM_INLINE {
          V::store_line(to + P::kHead + 512 * step + 64 * g + c * kLineBytes,
                        Record<V, B>::template line<decltype(g)::value>(record, step, c));
        });
      });
    }
  }
}

// The quantisation of ref::quantise_block, four blocks at once: one at a time takes 0.25 instead of 0.16 ns a value. Where the
// results go: four heads in a row, and for each group of 4 k four words in a row, `stride` bytes after those of the group before.
// Directly, because loads of what was just stored in smaller pieces wait.
struct FourBlocks {
  ActivationHead* heads;
  uint8_t* quads;
  size_t stride;
};

// V::quantise takes the addresses of four blocks of 32 values.
template <class V, class T>
void quantise_rows(const void* x, size_t x_row_bytes, int rows, int64_t k, uint8_t* to) {
  const size_t stride = activation_bytes(rows, 32);
  const size_t quads_at = size_t(rows) * sizeof(ActivationHead);
  const auto row = [&](int r) {
    return reinterpret_cast<const T*>(static_cast<const char*>(x) + size_t(r) * x_row_bytes);
  };
  int r = 0;
  for (; r + 4 <= rows; r += 4) {  // of four rows
    uint8_t* block = to;
    for (int64_t at = 0; at < k; at += 32, block += stride) {
      const FourBlocks four{reinterpret_cast<ActivationHead*>(block) + r, block + quads_at + size_t(r) * 4,
                            size_t(rows) * 4};
      V::quantise(row(r) + at, row(r + 1) + at, row(r + 2) + at, row(r + 3) + at, four);
    }
  }
  for (; r < rows; ++r) {  // of one row; the first block stands in for what is missing
    for (int64_t at = 0; at < k; at += 128) {
      ActivationHead heads[4];
      uint8_t quads[8][4][4];
      const T* const values = row(r) + at;
      const auto block = [&](int i) { return values + (at + 32 * i < k ? 32 * i : 0); };
      V::quantise(values, block(1), block(2), block(3), {heads, quads[0][0], 16});
      for (int i = 0; i < 4 && at + 32 * i < k; ++i) {
        uint8_t* const p = to + size_t(at / 32 + i) * stride;
        std::memcpy(p + size_t(r) * sizeof(ActivationHead), &heads[i], sizeof(ActivationHead));
        uint8_t* words = p + quads_at + size_t(r) * 4;
        for (int g = 0; g < 8; ++g, words += size_t(rows) * 4) std::memcpy(words, quads[g][i], 4);
      }
    }
  }
}

template <class V>
void quantise_tile(DType dtype, const void* x, size_t x_row_bytes, int rows, int64_t k, uint8_t* to) {
  if (dtype == DType::kBF16)
    quantise_rows<V, uint16_t>(x, x_row_bytes, rows, k, to);
  else
    quantise_rows<V, float>(x, x_row_bytes, rows, k, to);
}

template <class V>
constexpr QuantisedKernels quantised_kernels() {
  QuantisedKernels all{V::kRows, quantise_tile<V>, {}};
  auto fill = [&]<class B, int... H>(int format, B*, std::integer_sequence<int, H...>) {
    ((all.tiles[format][H] = tile<V, B, H + 1>), ...);
  };
  constexpr auto heights = std::make_integer_sequence<int, V::kRows>{};
  const auto fill_wide = [&]<class B, int... H>(int format, B*, std::integer_sequence<int, H...>) {
    // Zen 3, against packed bits: Q5_0 1.15, 1.25, 1.31 times as fast at 16, 32, 512 rows, Q6_K 1.1, 1.2, 1.24, Q4_0 0.95, 1.02, 1.05.
    all.wide_from[format] = B::kBits == 4 ? 8 : 4;
    all.widen[format] = widen<V, B>;
    ((all.wide_tiles[format][H] = tile<V, Wide<B>, H + 1>), ...);
  };
  const auto fill_type = [&]<class B>(B* block) {
    fill(panel_format(B::kType), block, heights);
    if constexpr (V::kWidens && B::kBits < 8) fill_wide(panel_format(B::kType), block, heights);
  };
  fill_type(static_cast<BlockQ8_0*>(nullptr)), fill_type(static_cast<BlockQ4_0*>(nullptr));
  fill_type(static_cast<BlockQ4_1*>(nullptr)), fill_type(static_cast<BlockQ5_0*>(nullptr));
  fill_type(static_cast<BlockQ5_1*>(nullptr)), fill_type(static_cast<BlockQ4_K*>(nullptr));
  fill_type(static_cast<BlockQ5_K*>(nullptr)), fill_type(static_cast<BlockQ6_K*>(nullptr));
  fill(kTransposedFormat, static_cast<BlockQ7*>(nullptr), heights);
  return all;
}

}  // namespace
}  // namespace sedum
