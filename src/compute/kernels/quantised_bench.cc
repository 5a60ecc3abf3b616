// The int8 products beside the limits of the machine, which are measured in the same run: the dot product's peak and the read
// bandwidth. Weights are cold: copies are used in turn, 256 MB in all. Figures are the best of many calls, because on a shared host
// the best is the machine and the rest the neighbours.
//
//   compute_bench --benchmark_filter=Int8

#include <algorithm>
#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include <benchmark/benchmark.h>
#include <emmintrin.h>

#include "base/arena.h"
#include "base/random.h"
#include "compute/kernels/isa.h"
#include "compute/kernels/quantised.h"

namespace sedum {
namespace {

using Clock = std::chrono::steady_clock;

ThreadPool& pool() {
  static ThreadPool all;
  return all;
}

template <class F>
double seconds(F&& f) {
  const auto start = Clock::now();
  f();
  return std::chrono::duration<double>(Clock::now() - start).count();
}
template <class F>
double best_seconds(int calls, F&& f) {
  double best = 1e30;
  for (int i = 0; i < calls; ++i) best = std::min(best, seconds(f));
  return best;
}

// Twelve independent accumulators in each thread; 128 operations an instruction.
__attribute__((target("avx512f,avx512vnni"))) void dot_products(int loops) {
  for (int l = 0; l < loops; ++l)
    asm volatile(
        "vpdpbusd %%zmm0,%%zmm0,%%zmm0\n vpdpbusd %%zmm1,%%zmm1,%%zmm1\n vpdpbusd %%zmm2,%%zmm2,%%zmm2\n"
        "vpdpbusd %%zmm3,%%zmm3,%%zmm3\n vpdpbusd %%zmm4,%%zmm4,%%zmm4\n vpdpbusd %%zmm5,%%zmm5,%%zmm5\n"
        "vpdpbusd %%zmm6,%%zmm6,%%zmm6\n vpdpbusd %%zmm7,%%zmm7,%%zmm7\n vpdpbusd %%zmm8,%%zmm8,%%zmm8\n"
        "vpdpbusd %%zmm9,%%zmm9,%%zmm9\n vpdpbusd %%zmm10,%%zmm10,%%zmm10\n vpdpbusd %%zmm11,%%zmm11,%%zmm11\n" ::
            : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11");
}
double peak_gops() {  // 0 where there is no VNNI
  if (!available(Isa::kAvx512Bf16)) return 0;
  constexpr int kLoops = 200000;
  const double s = best_seconds(10, [&] { pool().run([&](int) { dot_products(kLoops); }); });
  return 12.0 * 128 * kLoops * pool().size() / s * 1e-9;
}

double read_gbs() {  // each thread its own contiguous part, with and without prefetch
  static const Buffer memory = [] {
    Buffer all(size_t{384} << 20);
    std::fill_n(all.as<uint64_t>(), all.size() / 8, 1);
    return all;
  }();
  const size_t part = memory.size() / size_t(pool().size()) / 64 * 64;
  double best = 1e30;
  for (const int ahead : {0, 4096, 0, 4096, 0, 4096}) {
    best = std::min(best, seconds([&] {
                      pool().run([&](int thread) {
                        const auto* p = memory.as<std::byte>() + size_t(thread) * part;
                        __m128i a = _mm_setzero_si128(), b = a, c = a, d = a;
                        for (const auto* end = p + part; p < end; p += 64) {
                          __builtin_prefetch(p + ahead);
                          const auto* line = reinterpret_cast<const __m128i*>(p);
                          a = _mm_add_epi64(a, line[0]), b = _mm_add_epi64(b, line[1]);
                          c = _mm_add_epi64(c, line[2]), d = _mm_add_epi64(d, line[3]);
                        }
                        __m128i sums = _mm_add_epi64(_mm_add_epi64(a, b), _mm_add_epi64(c, d));
                        benchmark::DoNotOptimize(sums);
                      });
                    }));
  }
  return double(part) * pool().size() / best * 1e-9;
}

// Weights whose rows are all the same few blocks: what the numbers are does not change the time.
std::unique_ptr<PackedMatrix> weights(DType dtype, int64_t n, int64_t k) {
  std::vector<float> row(static_cast<size_t>(k));
  const Random random(1, Purpose::kTest);
  for (size_t i = 0; i < row.size(); ++i) row[i] = random.normal(i);
  std::vector<std::byte> stored(row_bytes(dtype, k));
  encode(dtype, row.data(), stored.data(), k);
  return pack_int8(pool(), {dtype, stored.data(), n, k, 0});
}

struct Values {
  std::vector<float> all;
  Values(int64_t rows, int64_t cols) : all(size_t(rows * cols)), rows_(rows), cols_(cols) {
    const Random random(2, Purpose::kTest);
    for (size_t i = 0; i < all.size(); ++i) all[i] = i < 65536 ? random.normal(i) : all[i - 65535];
  }
  ConstMatrix in() const { return {DType::kF32, all.data(), rows_, cols_, size_t(cols_) * 4}; }
  MutableMatrix out() { return {DType::kF32, all.data(), rows_, cols_, size_t(cols_) * 4}; }

 private:
  int64_t rows_, cols_;
};

void batch(benchmark::State& state, DType dtype, int64_t m, int64_t n, int64_t k) {
  std::vector<std::unique_ptr<PackedMatrix>> copies;
  do copies.push_back(weights(dtype, n, k));
  while (copies.size() * copies[0]->bytes() < (size_t{256} << 20));
  const Values x(m, k);
  Values y(m, n);
  const double peak = peak_gops();
  double best = 1e30;
  size_t next = 0;
  for (auto _ : state) {
    const PackedMatrix& w = *copies[next++ % copies.size()];
    best = std::min(best, seconds([&] { product_packed_int8(pool(), x.in(), w, y.out()); }));
  }
  const double gops = 2e-9 * double(m) * double(n) * double(k) / best;
  state.counters["GOP/s"] = gops;
  if (peak > 0) state.counters["% of peak"] = 100 * gops / std::max(peak, peak_gops());
}

// One token through all products of a model; norms, attention, sampling are not counted.
struct Shape {
  const char* name;
  int64_t hidden, kv, ffn, layers, vocabulary;
  DType attention, value, up, down,
      head;  // value and down alternate with q8_0 and q6_K in every second layer if `mixed`
  bool mixed;
};
constexpr Shape kShapes[] = {
    {"135M_q4_1", 576, 192, 1536, 30, 49152, DType::kQ4_1, DType::kQ4_1, DType::kQ4_1, DType::kQ4_1, DType::kQ8_0,
     false},
    {"135M_q4_0", 576, 192, 1536, 30, 49152, DType::kQ4_0, DType::kQ4_0, DType::kQ4_0, DType::kQ4_0, DType::kQ8_0,
     false},
    {"135M_q8_0", 576, 192, 1536, 30, 49152, DType::kQ8_0, DType::kQ8_0, DType::kQ8_0, DType::kQ8_0, DType::kQ8_0,
     false},
    {"0.5B_mixture", 896, 128, 4864, 24, 151936, DType::kQ5_0, DType::kQ5_0, DType::kQ5_0, DType::kQ4_K, DType::kQ8_0,
     true},
    {"1.1B_q4_0", 2048, 256, 5632, 22, 32000, DType::kQ4_0, DType::kQ4_0, DType::kQ4_0, DType::kQ4_0, DType::kQ6_K,
     false},
    {"1.1B_q4_K", 2048, 256, 5632, 22, 32000, DType::kQ4_K, DType::kQ4_K, DType::kQ4_K, DType::kQ4_K, DType::kQ6_K,
     false},
    {"1.1B_q6_K", 2048, 256, 5632, 22, 32000, DType::kQ6_K, DType::kQ6_K, DType::kQ6_K, DType::kQ6_K, DType::kQ6_K,
     false},
};

void token(benchmark::State& state, const Shape& shape, int64_t rows) {
  struct Layer {
    std::unique_ptr<PackedMatrix> q, k, v, o, gate, up, down;
  };
  std::vector<Layer> layers;
  size_t bytes = 0;
  const auto make = [&](DType dtype, int64_t n, int64_t k) {
    auto w = weights(dtype, n, k);
    bytes += w->bytes();
    return w;
  };
  for (int64_t l = 0; l < shape.layers; ++l) {
    const bool odd = shape.mixed && l % 2;
    layers.push_back({make(shape.attention, shape.hidden, shape.hidden), make(shape.attention, shape.kv, shape.hidden),
                      make(odd ? DType::kQ8_0 : shape.value, shape.kv, shape.hidden),
                      make(shape.attention, shape.hidden, shape.hidden), make(shape.up, shape.ffn, shape.hidden),
                      make(shape.up, shape.ffn, shape.hidden),
                      make(odd ? DType::kQ6_K : shape.down, shape.hidden, shape.ffn)});
  }
  const auto head = make(shape.head, shape.vocabulary, shape.hidden);
  const Values x(rows, shape.hidden), middle(rows, shape.ffn);
  Values q(rows, shape.hidden), k(rows, shape.kv), v(rows, shape.kv), gate(rows, shape.ffn), up(rows, shape.ffn);
  Values logits(rows, shape.vocabulary);
  const double read = read_gbs();
  double best = 1e30;
  for (auto _ : state) {
    best = std::min(
        best, seconds([&] {
          for (const Layer& layer : layers) {
            product_packed_int8(pool(), x.in(), {{*layer.q, q.out()}, {*layer.k, k.out()}, {*layer.v, v.out()}});
            product_packed_int8(pool(), x.in(), *layer.o, q.out());
            product_packed_int8(pool(), x.in(), {{*layer.gate, gate.out()}, {*layer.up, up.out()}});
            product_packed_int8(pool(), middle.in(), *layer.down, q.out());
          }
          product_packed_int8(pool(), x.in(), *head, logits.out());
        }));
  }
  state.counters["MB"] = double(bytes) * 1e-6;
  state.counters["tok/s"] = double(rows) / best;
  state.counters["GB/s"] = double(bytes) * 1e-9 / best;
  state.counters["% of read"] = 100 * double(bytes) * 1e-9 / best / std::max(read, read_gbs());
}

void pack(benchmark::State& state, DType dtype) {
  const int64_t n = 4864, k = 896 / info(dtype).block * info(dtype).block;
  std::vector<std::byte> stored(size_t(n) * row_bytes(dtype, k), std::byte{0x2c});
  double best = 1e30;
  for (auto _ : state) {
    best = std::min(best, seconds([&] {
                      benchmark::DoNotOptimize(pack_int8(pool(), {dtype, stored.data(), n, k, row_bytes(dtype, k)}));
                    }));
  }
  state.counters["weights/ns"] = double(n) * double(k) * 1e-9 / best;
}

const bool registered = [] {
  constexpr int64_t kBatches[][3] = {{512, 896, 896}, {512, 4864, 896}, {512, 896, 4864}, {512, 4096, 4096},
                                     {512, 576, 576}, {512, 1536, 576}, {32, 4096, 4096}, {32, 4864, 896},
                                     {8, 4096, 4096}, {8, 4864, 896}};
  for (const DType dtype : {DType::kQ4_0, DType::kQ4_1, DType::kQ5_0, DType::kQ5_1, DType::kQ8_0, DType::kQ4_K,
                            DType::kQ5_K, DType::kQ6_K}) {
    for (const auto& [m, n, k] : kBatches) {
      if (k % info(dtype).block != 0) continue;
      const std::string title = std::string("Int8Batch/") + name(dtype) + "/" + std::to_string(m) + "," +
                                std::to_string(n) + "," + std::to_string(k);
      benchmark::RegisterBenchmark(title.c_str(), batch, dtype, m, n, k)->UseRealTime()->MinTime(0.2);
    }
    benchmark::RegisterBenchmark((std::string("Int8Pack/") + name(dtype)).c_str(), pack, dtype)
        ->UseRealTime()
        ->MinTime(0.1);
  }
  for (const Shape& shape : kShapes)
    for (const int64_t rows : {1, 4})
      benchmark::RegisterBenchmark((std::string("Int8Token/") + shape.name + "/" + std::to_string(rows)).c_str(), token,
                                   shape, rows)
          ->UseRealTime()
          ->MinTime(0.4);
  return true;
}();

}  // namespace
}  // namespace sedum
