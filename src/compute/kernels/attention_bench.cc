#include <vector>

#include <benchmark/benchmark.h>

#include "base/random.h"
#include "compute/kernels/attention.h"
#include "compute/kernels/isa.h"

namespace sedum {
namespace {

template <class T>
std::vector<T> random_values(int64_t n, uint32_t seed) {
  const Random random(seed, Purpose::kTest);
  std::vector<T> values(static_cast<size_t>(n));
  for (size_t i = 0; i < values.size(); ++i) values[i] = T(random.normal(i));
  return values;
}

// Segments of equal length, causal. Arguments: segments, queries, keys, heads, key-value heads, head_dim.
template <class T>
struct Run {
  AttentionShape shape;
  std::vector<AttentionSegment> segments;
  std::vector<T> q, k, v, out, dq, dk, dv;
  std::vector<float> lse;
  int64_t q_cols, kv_cols;
  double flops = 0;  // of one product of queries with the keys they see

  explicit Run(const benchmark::State& state) {
    const int64_t count = state.range(0), queries = state.range(1), keys = state.range(2);
    shape = {int(state.range(3)), int(state.range(4)), int(state.range(5)), 0.125f, true};
    q_cols = shape.num_heads * shape.head_dim, kv_cols = shape.num_key_value_heads * shape.head_dim;
    for (int64_t s = 0; s < count; ++s) segments.push_back({s * queries, queries, s * keys, keys});
    q = random_values<T>(count * queries * q_cols, 1), k = random_values<T>(count * keys * kv_cols, 2);
    v = random_values<T>(count * keys * kv_cols, 3);
    out = dq = q, dk = dv = k;
    lse.resize(static_cast<size_t>(count * queries * shape.num_heads));
    flops = 2.0 * double(q_cols) * double(count) *
            (double(queries) * double(keys) - double(queries) * double(queries - 1) / 2);
  }
  void forward(ThreadPool& pool) {
    attention_forward<T>(pool, shape, segments, q.data(), q_cols, {dtype_of<T>, k.data(), v.data(), kv_cols},
                         out.data(), q_cols, lse.data());
  }
  void backward(ThreadPool& pool) {
    attention_backward<T>(pool, shape, segments, q.data(), q.data(), q_cols, {dtype_of<T>, k.data(), v.data(), kv_cols},
                          out.data(), q_cols, lse.data(), dq.data(), dk.data(), dv.data());
  }
};

// One thread by its own clock, which others on the machine hardly touch; all threads by the wall's.
template <class T, int kThreads>
void forward(benchmark::State& state) {
  ThreadPool pool(kThreads);
  Run<T> run(state);
  for (auto _ : state) run.forward(pool);
  state.counters["GFLOP/s"] = benchmark::Counter(2 * run.flops * 1e-9, benchmark::Counter::kIsIterationInvariantRate);
  state.counters["KV GB/s"] =
      benchmark::Counter(2e-9 * double(run.k.size() * sizeof(T)), benchmark::Counter::kIsIterationInvariantRate);
}

template <class T, int kThreads>
void backward(benchmark::State& state) {
  ThreadPool pool(kThreads);
  Run<T> run(state);
  run.forward(pool);
  for (auto _ : state) run.backward(pool);
  state.counters["GFLOP/s"] = benchmark::Counter(5 * run.flops * 1e-9, benchmark::Counter::kIsIterationInvariantRate);
}

void training_shapes(benchmark::internal::Benchmark* bench) {
  bench->Args({4, 256, 256, 9, 3, 64})
      ->Args({1, 1024, 1024, 9, 3, 64})
      ->Args({1, 1024, 1024, 14, 2, 64})
      ->Args({1, 512, 512, 8, 2, 128});
}
void decoding_shapes(benchmark::internal::Benchmark* bench) {
  bench->Args({1, 1, 4096, 9, 3, 64})->Args({1, 1, 32768, 14, 2, 64})->Args({8, 1, 1024, 9, 3, 64});
}

BENCHMARK(forward<float, 1>)->Apply(training_shapes)->Apply(decoding_shapes);
BENCHMARK(forward<bf16, 1>)->Apply(training_shapes)->Apply(decoding_shapes);
BENCHMARK(backward<float, 1>)->Apply(training_shapes);
BENCHMARK(backward<bf16, 1>)->Apply(training_shapes);
BENCHMARK(forward<bf16, 0>)->Apply(training_shapes)->Apply(decoding_shapes)->UseRealTime();
BENCHMARK(backward<bf16, 0>)->Apply(training_shapes)->UseRealTime();

}  // namespace
}  // namespace sedum
