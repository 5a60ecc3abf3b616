#include <vector>

#include <benchmark/benchmark.h>

#include "base/random.h"
#include "compute/kernels/optimizer.h"
#include "compute/kernels/rows.h"

namespace sedum {
namespace {

template <class T>
std::vector<T> random_values(int64_t n, uint32_t seed) {
  const Random random(seed, Purpose::kTest);
  std::vector<T> values(static_cast<size_t>(n));
  for (size_t i = 0; i < values.size(); ++i) values[i] = T(random.uniform(i) - 0.5f);
  return values;
}

// Bytes that must move: each operand once. By the thread's own clock.
void report(benchmark::State& state, double bytes) {
  state.counters["GB/s"] = benchmark::Counter(bytes * 1e-9, benchmark::Counter::kIsIterationInvariantRate);
}

constexpr int64_t kRows = 1024, kCols = 576, kInner = 1536, kN = kRows * kInner;

template <class T>
void norm_forward(benchmark::State& state) {
  ThreadPool pool(1);
  const auto x = random_values<T>(kRows * kCols, 1);
  const auto weight = random_values<float>(kCols, 2);
  std::vector<T> y(x.size());
  std::vector<float> inverse(kRows);
  for (auto _ : state)
    rms_norm_forward<T>(pool, x.data(), weight.data(), 1e-5f, kRows, kCols, y.data(), inverse.data());
  report(state, 2.0 * double(x.size() * sizeof(T)));
}

template <class T>
void norm_backward(benchmark::State& state) {
  ThreadPool pool(1);
  const auto x = random_values<T>(kRows * kCols, 1), dy = random_values<T>(kRows * kCols, 3);
  const auto weight = random_values<float>(kCols, 2), inverse = random_values<float>(kRows, 4);
  std::vector<T> dx(x.size());
  std::vector<float> dweight(kCols);
  for (auto _ : state)
    rms_norm_backward<T>(pool, dy.data(), x.data(), weight.data(), inverse.data(), kRows, kCols, dx.data(),
                         dweight.data());
  report(state, 3.0 * double(x.size() * sizeof(T)));
}

template <class T>
void swiglu(benchmark::State& state) {
  ThreadPool pool(1);
  const auto gate = random_values<T>(kN, 1), up = random_values<T>(kN, 2);
  std::vector<T> y(gate.size());
  for (auto _ : state) swiglu_forward<T>(pool, gate.data(), up.data(), kN, y.data());
  report(state, 3.0 * double(kN * int64_t(sizeof(T))));
}

template <class T>
void swiglu_gradient(benchmark::State& state) {
  ThreadPool pool(1);
  const auto gate = random_values<T>(kN, 1), up = random_values<T>(kN, 2), dy = random_values<T>(kN, 3);
  std::vector<T> dgate(gate.size()), dup(gate.size());
  for (auto _ : state) swiglu_backward<T>(pool, dy.data(), gate.data(), up.data(), kN, dgate.data(), dup.data());
  report(state, 5.0 * double(kN * int64_t(sizeof(T))));
}

template <class T>
void rotate(benchmark::State& state) {
  ThreadPool pool(1);
  const auto x = random_values<T>(kRows * kCols, 1);
  const auto cos = random_values<float>(kRows * 32, 2);
  std::vector<T> y(x.size());
  for (auto _ : state) rope<T>(pool, x.data(), cos.data(), cos.data(), kRows, 9, 64, 32, 1, y.data());
  report(state, 2.0 * double(x.size() * sizeof(T)));
}

template <class T>
void loss(benchmark::State& state) {
  ThreadPool pool(1);
  const int64_t rows = 32, cols = state.range(0);
  auto logits = random_values<T>(rows * cols, 1);
  const std::vector<int32_t> labels(rows, 7);
  std::vector<float> losses(rows);
  for (auto _ : state) cross_entropy<T>(pool, logits.data(), labels.data(), 1, rows, cols, losses.data(), false);
  report(state, 3.0 * double(logits.size() * sizeof(T)));  // read twice, written once
}

// AdamW on 4 M values: bytes are what memory must move at the least.
void optimizer_step(benchmark::State& state, StoredAs parameter, StoredAs first, StoredAs second) {
  ThreadPool pool(1);
  const int64_t n = 4 << 20;
  const auto gradient = random_values<float>(n, 1);
  std::vector<float> p(gradient), m(gradient.size()), v(gradient.size()), m_scales(gradient.size() / 256),
      v_scales(m_scales);
  const AdamWStep step{1e-3, 0.9, 0.999, 1e-8, 0.1, 0.5, 0.5, 1};
  const auto bytes = [](StoredAs format) { return format == StoredAs::kF32 ? 4 : format == StoredAs::kBF16 ? 2 : 1; };
  for (auto _ : state)
    adamw(pool, step, n, gradient.data(), {parameter, p.data(), nullptr, 0}, {first, m.data(), m_scales.data(), 1},
          {second, v.data(), v_scales.data(), 2}, {});
  report(state, double(n) * (4 + 2 * (bytes(parameter) + bytes(first) + bytes(second))));
}

void squares(benchmark::State& state) {
  ThreadPool pool(1);
  const auto x = random_values<float>(4 << 20, 1);
  for (auto _ : state) benchmark::DoNotOptimize(sum_of_squares(pool, x.data(), int64_t(x.size())));
  report(state, double(x.size()) * 4);
}

BENCHMARK(norm_forward<float>);
BENCHMARK(norm_forward<bf16>);
BENCHMARK(norm_backward<float>);
BENCHMARK(norm_backward<bf16>);
BENCHMARK(swiglu<float>);
BENCHMARK(swiglu<bf16>);
BENCHMARK(swiglu_gradient<bf16>);
BENCHMARK(rotate<bf16>);
BENCHMARK(loss<float>)->Arg(49152)->Arg(151936);
BENCHMARK(loss<bf16>)->Arg(49152);
BENCHMARK_CAPTURE(optimizer_step, f32, StoredAs::kF32, StoredAs::kF32, StoredAs::kF32);
BENCHMARK_CAPTURE(optimizer_step, bf16, StoredAs::kBF16, StoredAs::kBF16, StoredAs::kBF16);
BENCHMARK_CAPTURE(optimizer_step, eight_bit_moments, StoredAs::kF32, StoredAs::kSigned8, StoredAs::kUnsigned8);
BENCHMARK(squares);

}  // namespace
}  // namespace sedum
