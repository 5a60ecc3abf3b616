#include "compute/kernels/outliers.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "base/error.h"
#include "compute/kernels/quantised.h"
#include "compute/kernels/quantised_packed.h"

namespace sedum {
namespace {

constexpr int64_t kColumns = kPanelColumns;

// f += value · w over the results of a panel.
template <class T>
void add_row(float value, const float* w, int64_t count, T* y) {
  for (int64_t i = 0; i < count; ++i) y[i] = T(std::fma(value, w[i], float(y[i])));
}

// Values of W's column k in rows [first, first + count).
void weights_of(const PackedInt8& w, int64_t k, int64_t first, int64_t count, float* to) {
  const ConstMatrix& stored = w.stored;
  if (info(stored.dtype).quantised) return unpack_int8_column(w, first / kColumns, k, to);
  const size_t at = row_bytes(stored.dtype, k);  // plain values: whole bytes each
  for (int64_t i = 0; i < count; ++i)
    decode(stored.dtype, static_cast<const char*>(stored.data) + size_t(first + i) * stored.row_bytes + at, to + i, 1);
}

}  // namespace

std::vector<Outlier> take_outliers(ThreadPool& pool, ConstMatrix x, float threshold, MutableMatrix rest) {
  const auto is_outlier = [threshold](float v) { return std::abs(v) > threshold && std::isfinite(v); };
  const auto row = [](const auto& m, int64_t r) {
    return reinterpret_cast<float*>(const_cast<char*>(static_cast<const char*>(m.data)) + size_t(r) * m.row_bytes);
  };
  std::vector<std::vector<Outlier>> found(size_t(pool.size()));
  pool.run([&](int thread) {
    const int64_t t = thread, n = pool.size();
    for (int64_t r = x.rows * t / n; r < x.rows * (t + 1) / n; ++r)
      for (int64_t k = 0; k < x.cols; ++k)
        if (const float v = row(x, r)[k]; is_outlier(v)) found[size_t(thread)].push_back({r, k, v});
  });
  std::vector<Outlier> all;
  for (const auto& part : found) all.insert(all.end(), part.begin(), part.end());
  if (all.empty()) return all;
  pool.parallel_for(x.rows, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r)
      std::transform(row(x, r), row(x, r) + x.cols, row(rest, r), [&](float v) { return is_outlier(v) ? 0.0f : v; });
  });
  return all;
}

namespace {

// y += outliers · Wᵀ.
void add_outliers(ThreadPool& pool, std::span<const Outlier> outliers, const PackedInt8& w, MutableMatrix y) {
  if (outliers.empty()) return;
  std::map<int64_t, size_t> place;  // of a column of x among those that have outliers: few, and shared by many rows
  for (const Outlier& each : outliers) place.emplace(each.column, place.size());
  pool.parallel_for((w.rows() + kColumns - 1) / kColumns, [&](int64_t begin, int64_t end) {
    std::vector<float> weights(place.size() * size_t(kColumns));
    for (int64_t panel = begin; panel < end; ++panel) {
      const int64_t first = panel * kColumns, count = std::min(kColumns, w.rows() - first);
      for (const auto& [k, at] : place) weights_of(w, k, first, count, &weights[at * size_t(kColumns)]);
      for (const Outlier& each : outliers) {
        const float* const values = &weights[place.find(each.column)->second * size_t(kColumns)];
        char* const to = static_cast<char*>(y.data) + size_t(each.row) * y.row_bytes;
        if (y.dtype == DType::kF32)
          add_row(each.value, values, count, reinterpret_cast<float*>(to) + first);
        else
          add_row(each.value, values, count, reinterpret_cast<bf16*>(to) + first);
      }
    }
  });
}

const PackedInt8& panels_of(const PackedMatrix& w) {
  const auto* packed = dynamic_cast<const PackedInt8*>(&w);
  if (!packed) throw ApiError("outliers", "the weights were not packed by pack_int8");
  return *packed;
}

}  // namespace

void keep_outliers(PackedMatrix& packed, ConstMatrix stored, float threshold) {
  auto& w = const_cast<PackedInt8&>(panels_of(packed));
  if (stored.rows != w.rows() || stored.cols != w.cols())
    throw ApiError("keep_outliers", "the stored matrix is not the one that was packed");
  w.outlier_threshold = threshold, w.stored = stored;
}

void product_packed_outliers(ThreadPool& pool, ConstMatrix x, const PackedMatrix& packed, MutableMatrix y,
                             bool accumulate) {
  const PackedInt8& w = panels_of(packed);
  std::vector<float> values, rest(size_t(x.rows * x.cols));
  if (x.dtype != DType::kF32) {
    values.resize(rest.size());
    for (int64_t r = 0; r < x.rows; ++r)
      decode(x.dtype, static_cast<const char*>(x.data) + size_t(r) * x.row_bytes, &values[size_t(r * x.cols)], x.cols);
    x = {DType::kF32, values.data(), x.rows, x.cols, size_t(x.cols) * sizeof(float)};
  }
  const size_t stride = size_t(x.cols) * sizeof(float);
  const std::vector<Outlier> outliers =
      take_outliers(pool, x, w.outlier_threshold, {DType::kF32, rest.data(), x.rows, x.cols, stride});
  if (!outliers.empty()) x = {DType::kF32, rest.data(), x.rows, x.cols, stride};
  const PackedProduct product{packed, y, accumulate};
  multiply_packed_int8(pool, x, {&product, 1});
  add_outliers(pool, outliers, w, y);
}

}  // namespace sedum
