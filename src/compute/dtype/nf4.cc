#include "compute/dtype/nf4.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "base/error.h"

namespace sedum {
namespace {

// The middles between neighbours; a value on one goes down.
constexpr std::array<float, 16> middles() {
  std::array<float, 16> m{};
  for (size_t i = 0; i < 15; ++i) m[i] = (kNf4Values[i] + kNf4Values[i + 1]) / 2;
  m[15] = 2;
  return m;
}
constexpr std::array<float, 16> kMiddles = middles();

uint8_t nearest(float x) {
  int i = x > kMiddles[7] ? 8 : 0;
  i += x > kMiddles[size_t(i) + 3] ? 4 : 0;
  i += x > kMiddles[size_t(i) + 1] ? 2 : 0;
  i += x > kMiddles[size_t(i)] ? 1 : 0;
  return uint8_t(i);
}

float largest(const float* x, int64_t n) {
  float top = 0;
  for (int64_t i = 0; i < n; ++i) top = std::max(top, std::abs(x[i]));
  return top;
}

// Returns the scale.
float encode_block(const float* x, uint8_t* qs) {
  const float scale = largest(x, kNf4Block), inverse = 1 / std::max(scale, 1e-38f);
  for (int i = 0; i < kNf4Block / 2; ++i)
    qs[i] = uint8_t(nearest(x[2 * i] * inverse) << 4 | nearest(x[2 * i + 1] * inverse));
  return scale;
}

// The mean as PyTorch's CPU kernel sums it (SumKernel.cpp: four rows of eight lanes, sums of 2^p carried up through four levels):
// an offset that differs in its last bit moves every scale.
using Lanes = std::array<float, 8>;
void add(Lanes& to, const Lanes& x) {
  for (size_t i = 0; i < 8; ++i) to[i] += x[i];
}
Lanes lanes_at(const float* p) {
  Lanes x;
  std::memcpy(x.data(), p, sizeof x);
  return x;
}

std::array<Lanes, 4> cascade(const float* x, int64_t rows) {
  int power = 0;
  while ((int64_t{1} << power) < rows) ++power;
  power = std::max(4, power / 4);
  const int64_t step = int64_t{1} << power;
  std::array<std::array<Lanes, 4>, 4> levels{};
  int64_t row = 0;
  const auto add_row = [&] {
    for (int k = 0; k < 4; ++k) add(levels[0][size_t(k)], lanes_at(x + (row * 4 + k) * 8));
    ++row;
  };
  while (row + step <= rows) {
    for (int64_t i = 0; i < step; ++i) add_row();
    for (size_t level = 1; level < 4; ++level) {
      for (size_t k = 0; k < 4; ++k) add(levels[level][k], levels[level - 1][k]), levels[level - 1][k] = {};
      if (row & (step - 1) << int64_t(level) * power) break;
    }
  }
  while (row < rows) add_row();
  for (size_t level = 1; level < 4; ++level)
    for (size_t k = 0; k < 4; ++k) add(levels[0][k], levels[level][k]);
  return levels[0];
}

float mean(const std::vector<float>& x) {
  const int64_t n = int64_t(x.size()), vectors = n / 8, rows = vectors / 4;
  std::array<Lanes, 4> sums = cascade(x.data(), rows);
  for (int64_t i = rows * 4; i < vectors; ++i) add(sums[0], lanes_at(&x[size_t(i) * 8]));
  for (size_t k = 1; k < 4; ++k) add(sums[0], sums[k]);
  float sum = 0;
  for (int64_t i = vectors * 8; i < n; ++i) sum += x[size_t(i)];
  for (const float lane : sums[0]) sum += lane;
  return sum / float(n);
}

// The nearest of the dynamic values. bitsandbytes' CPU code first rounds x to one of 65,536 steps, whose middles it has in a table:
// an even rounding would give other bits for one scale in two hundred.
uint8_t nearest_dynamic(float x) {
  const auto& values = dynamic_values();
  if (!(std::abs(x) <= 1)) x = x > 0 ? 1.0f : -1.0f;  // NaN too
  const int step = int((x + 1) * 32767.5f + 0.5f);
  const double middle = step / 32767.5 - 1;
  const auto above = std::upper_bound(values.begin(), values.end(), float(middle));
  if (above == values.begin()) return 0;
  const size_t low = size_t(above - values.begin()) - 1;
  if (low == 255) return 255;
  return uint8_t(low + (middle > (double(values[low]) + values[low + 1]) / 2 ? 1 : 0));
}

void quantise_scales(const std::vector<float>& scales, Nf4Quantised& to) {
  to.offset = mean(scales);
  to.scales.resize(scales.size());
  for (size_t begin = 0; begin < scales.size(); begin += kNf4ScalesBlock) {
    const size_t end = std::min(scales.size(), begin + kNf4ScalesBlock);
    float top = 0;
    for (size_t i = begin; i < end; ++i) top = std::max(top, std::abs(scales[i] - to.offset));
    const float inverse = 1 / std::max(top, 1e-38f);
    to.scales_scales.push_back(top);
    for (size_t i = begin; i < end; ++i) to.scales[i] = nearest_dynamic((scales[i] - to.offset) * inverse);
  }
}

}  // namespace

const std::array<float, 256>& dynamic_values() {
  static constexpr std::array<float, 128> positive = {
#include "compute/dtype/dynamic_values.inc"
  };
  static constexpr std::array<float, 256> all = [] {
    std::array<float, 256> values{};  // 127 negative ones, zero, 128 positive ones: 1 has no counterpart
    for (size_t i = 0; i < 128; ++i) values[128 + i] = positive[i];
    for (size_t i = 0; i < 127; ++i) values[126 - i] = -positive[i];
    return values;
  }();
  return all;
}

Nf4Quantised quantise_nf4(ThreadPool& pool, const float* values, int64_t n) {
  if (n < kNf4Block || n % kNf4Block)
    throw ApiError("quantise_nf4", std::to_string(n) + " values are not a whole number of blocks of 64");
  Nf4Quantised q;
  q.count = n, q.packed.resize(size_t(n / 2));
  std::vector<float> scales(size_t(n / kNf4Block));
  pool.parallel_for(
      n / kNf4Block,
      [&](int64_t begin, int64_t end) {
        for (int64_t b = begin; b < end; ++b)
          scales[size_t(b)] = encode_block(values + b * kNf4Block, q.packed.data() + b * kNf4Block / 2);
      },
      64);
  quantise_scales(scales, q);
  return q;
}

std::vector<float> nf4_scales(const Nf4Quantised& q) {
  std::vector<float> scales(q.scales.size());
  for (size_t i = 0; i < scales.size(); ++i)
    scales[i] = dynamic_values()[q.scales[i]] * q.scales_scales[i / kNf4ScalesBlock] + q.offset;
  return scales;
}

void nf4_blocks(ThreadPool& pool, const Nf4Quantised& q, BlockNF4* to) {
  const std::vector<float> scales = nf4_scales(q);
  pool.parallel_for(
      int64_t(scales.size()),
      [&](int64_t begin, int64_t end) {
        for (int64_t b = begin; b < end; ++b) {
          std::memcpy(to[b].qs, q.packed.data() + b * kNf4Block / 2, kNf4Block / 2);
          to[b].set_scale(scales[size_t(b)]);
        }
      },
      256);
}

void decode_nf4(const BlockNF4* from, float* to, int64_t n) {
  for (const BlockNF4* const end = from + n / kNf4Block; from < end; ++from) {
    const float scale = from->scale();
    for (const uint8_t byte : from->qs) {
      *to++ = kNf4Values[byte >> 4] * scale;
      *to++ = kNf4Values[byte & 15] * scale;
    }
  }
}

void encode_nf4(const float* from, BlockNF4* to, int64_t n) {
  ThreadPool alone(1);
  nf4_blocks(alone, quantise_nf4(alone, from, n), to);
}

}  // namespace sedum
