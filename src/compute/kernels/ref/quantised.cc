#include "compute/kernels/ref/quantised.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "compute/dtype/table_blocks.h"

namespace sedum::ref {
namespace {

const std::byte* row_of(ConstMatrix m, int64_t row) {
  return static_cast<const std::byte*>(m.data) + size_t(row) * m.row_bytes;
}

// One result: a chain over the blocks of a row of W.
template <class B>
float dot(const std::vector<QuantisedBlock>& x, const B* w) {
  float f = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    const B& block = w[i * 32 / B::kValues];
    const int at = int(i * 32 % B::kValues);
    uint8_t q[B::kValues];
    block.quants(q);
    int sum = 0;
    for (int part = 0; part < 32; part += B::kSub) {
      int integer = 0;
      for (int j = part; j < part + B::kSub; ++j) integer += (int(q[at + j]) - B::kZero) * x[i].q[j], sum += x[i].q[j];
      f = std::fma(float(integer), block.scale((at + part) / B::kSub) * x[i].scale, f);
    }
    if constexpr (B::kHasMinimum) f = std::fma(block.minimum(at / B::kSub), x[i].scale * float(sum), f);
  }
  return f;
}

void store(MutableMatrix y, int64_t row, int64_t col, float value, bool accumulate) {
  std::byte* const p = static_cast<std::byte*>(y.data) + size_t(row) * y.row_bytes;
  if (y.dtype == DType::kF32) {
    float* const to = reinterpret_cast<float*>(p) + col;
    *to = accumulate ? *to + value : value;
  } else {
    bf16* const to = reinterpret_cast<bf16*>(p) + col;
    *to = bf16(accumulate ? float(*to) + value : value);
  }
}

}  // namespace

QuantisedBlock quantise_block(const float* x) {
  QuantisedBlock block{};
  float top = 0;
  for (int i = 0; i < 32; ++i) {
    if (!std::isfinite(x[i])) {
      block.scale = std::numeric_limits<float>::quiet_NaN();
      return block;
    }
    top = std::max(top, std::abs(x[i]));
  }
  if (top < 0x1p-118f) return block;  // 127 / top must stay finite
  block.scale = top / 127;
  const float inverse = 127 / top;
  for (int i = 0; i < 32; ++i) block.q[i] = int8_t(std::nearbyint(x[i] * inverse));
  return block;
}

void product_int8(ConstMatrix x, ConstMatrix w, MutableMatrix y, bool accumulate) {
  const int64_t k = x.cols;
  std::vector<float> values(static_cast<size_t>(k));
  std::vector<QuantisedBlock> quantised(static_cast<size_t>(k / 32));
  std::vector<std::byte> rounded(row_bytes(DType::kQ8_0, k));
  for (int64_t m = 0; m < x.rows; ++m) {
    decode(x.dtype, row_of(x, m), values.data(), k);
    for (size_t i = 0; i < quantised.size(); ++i) quantised[i] = quantise_block(&values[i * 32]);
    for (int64_t n = 0; n < w.rows; ++n) {
      const std::byte* row = row_of(w, n);
      DType type = w.dtype;
      if (!info(type).quantised) {
        std::vector<float> plain(static_cast<size_t>(k));
        decode(type, row, plain.data(), k);
        encode(DType::kQ8_0, plain.data(), rounded.data(), k);
        row = rounded.data(), type = DType::kQ8_0;
      }
      with_stored_block_type(
          type, [&]<class B>(B*) { store(y, m, n, dot(quantised, reinterpret_cast<const B*>(row)), accumulate); });
    }
  }
}

void product_int8_outliers(ConstMatrix x, float threshold, ConstMatrix w, MutableMatrix y, bool accumulate) {
  const int64_t k = x.cols;
  std::vector<float> values(static_cast<size_t>(k)), rest(static_cast<size_t>(k)), weights(static_cast<size_t>(k));
  for (int64_t m = 0; m < x.rows; ++m) {
    decode(x.dtype, row_of(x, m), values.data(), k);
    const auto is_outlier = [&](int64_t i) {
      return std::isfinite(values[size_t(i)]) && std::abs(values[size_t(i)]) > threshold;
    };
    for (int64_t i = 0; i < k; ++i) rest[size_t(i)] = is_outlier(i) ? 0 : values[size_t(i)];
    const MutableMatrix row{y.dtype, static_cast<std::byte*>(y.data) + size_t(m) * y.row_bytes, 1, y.cols, y.row_bytes};
    product_int8({DType::kF32, rest.data(), 1, k, 0}, w, row, accumulate);
    for (int64_t n = 0; n < w.rows; ++n) {
      decode(w.dtype, row_of(w, n), weights.data(), k);
      float f = 0;
      decode(y.dtype, static_cast<std::byte*>(row.data) + row_bytes(y.dtype, n), &f, 1);
      for (int64_t i = 0; i < k; ++i) {
        if (!is_outlier(i)) continue;
        f = std::fma(values[size_t(i)], weights[size_t(i)], f);
        store(row, 0, n, f, false);
        decode(y.dtype, static_cast<std::byte*>(row.data) + row_bytes(y.dtype, n), &f, 1);  // as rounded
      }
    }
  }
}

}  // namespace sedum::ref
