#include "compute/kernels/products_measure.h"

#include <algorithm>
#include <chrono>
#include <functional>
#include <vector>

#include "base/arena.h"
#include "base/error.h"
#include "compute/kernels/isa.h"
#include "compute/kernels/machine.h"

namespace sedum {
namespace {

// Values of ordinary size, the same everywhere; one row is encoded and repeated, since the encoding of K-quants is a slow search.
struct Filled {
  Filled(DType type, int64_t rows, int64_t cols)
      : memory(row_bytes(type, cols) * size_t(rows)),
        matrix{type, memory.as<void>(), rows, cols, row_bytes(type, cols)} {
    std::vector<float> values(static_cast<size_t>(cols));
    uint32_t state = 12345;
    for (float& x : values) x = float(int32_t(state = state * 1664525 + 1013904223)) * 0x1p-31f;
    encode(type, values.data(), memory.as<void>(), cols);
    for (int64_t i = 1; i < rows; ++i)
      std::copy_n(memory.as<std::byte>(), matrix.row_bytes, memory.as<std::byte>() + size_t(i) * matrix.row_bytes);
  }
  MutableMatrix out() const { return {matrix.dtype, memory.as<void>(), matrix.rows, matrix.cols, matrix.row_bytes}; }
  Buffer memory;
  ConstMatrix matrix;
};

double median_seconds(double least_seconds, const std::function<void()>& f) {
  using Clock = std::chrono::steady_clock;
  const auto seconds_since = [](Clock::time_point start) {
    return std::chrono::duration<double>(Clock::now() - start).count();
  };
  std::vector<double> times;
  f();
  for (const auto begin = Clock::now(); times.size() < 5 || seconds_since(begin) < least_seconds;) {
    const auto start = Clock::now();
    f();
    times.push_back(seconds_since(start));
  }
  std::nth_element(times.begin(), times.begin() + std::ptrdiff_t(times.size() / 2), times.end());
  return times[times.size() / 2];
}

}  // namespace

ProductSpeed measure_product(ThreadPool& pool, const ProductCase& what, double least_seconds) {
  const auto& [product, compute, weights, activations, m, n, k, packed] = what;
  ProductSpeed speed;
  size_t weight_bytes = 0;
  if (product == Product::kTN) {
    const Filled dy(activations, m, n), x(activations, m, k), dw(weights, n, k);
    speed.seconds = median_seconds(least_seconds, [&] { product_tn(pool, compute, dy.matrix, x.matrix, dw.out()); });
  } else {
    const Filled w(weights, n, k), x(activations, m, k), y(activations, m, n);
    weight_bytes = w.memory.size();
    if (packed) {
      const auto panels = pack(pool, compute, w.matrix);
      if (!panels) throw ApiError("measure_product", "these weights have no packed form");
      weight_bytes = panels->bytes();
      speed.seconds = median_seconds(least_seconds, [&] { product_packed(pool, x.matrix, *panels, y.out()); });
    } else if (product == Product::kNT) {
      speed.seconds = median_seconds(least_seconds, [&] { product_nt(pool, compute, x.matrix, w.matrix, y.out()); });
    } else {
      speed.seconds = median_seconds(least_seconds, [&] { product_nn(pool, compute, y.matrix, w.matrix, x.out()); });
    }
  }
  speed.operations_per_second = 2.0 * double(m) * double(n) * double(k) / speed.seconds;
  speed.share = speed.operations_per_second / measure_peak(pool, isa(), compute);
  speed.weight_bytes_per_second = double(weight_bytes) / speed.seconds;
  return speed;
}

}  // namespace sedum
