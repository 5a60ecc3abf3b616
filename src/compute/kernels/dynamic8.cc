#include "compute/kernels/dynamic8.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

namespace sedum {
namespace {

// torch.linspace(0.1, 1, count) in f32, whose two halves count from their own ends, with fused multiply-adds.
float boundary(int i, int count) {
  const float step = (1 - 0.1f) / float(count - 1);
  return i < count / 2 ? std::fma(step, float(i), 0.1f) : std::fma(-step, float(count - 1 - i), 1.0f);
}

std::array<float, 256> values_of(bool sign) {
  std::vector<float> all{0, 1};
  for (int exponent = 0; exponent < 7; ++exponent) {
    const int count = (1 << (sign ? exponent : exponent + 1)) + 1;
    const auto decade = float(std::pow(10.0, exponent - 6));
    for (int i = 0; i + 1 < count; ++i) {
      const float value = decade * ((boundary(i, count) + boundary(i + 1, count)) / 2);
      all.push_back(value);
      if (sign) all.push_back(-value);
    }
  }
  std::sort(all.begin(), all.end());
  std::array<float, 256> values;
  std::copy(all.begin(), all.end(), values.begin());
  return values;
}

Map8 make_map(bool sign) {
  Map8 map{.values = values_of(sign), .midpoint = {}, .first = {}, .zero = 0, .sign = sign};
  for (size_t i = 0; i < 255; ++i) map.midpoint[i] = float((double(map.values[i]) + double(map.values[i + 1])) / 2);
  map.midpoint[255] = std::numeric_limits<float>::infinity();
  map.zero = uint8_t(std::find(map.values.begin(), map.values.end(), 0.0f) - map.values.begin());
  // Floats that share their upper 16 bits lie within 2^-7 of one another, relative; codes are never as close, so that such a group meets one
  // midpoint at most and one comparison finds the code.
  map.first.resize(0x10000);
  for (uint32_t upper = 0; upper < 0x10000; ++upper) {
    const float least = std::bit_cast<float>(upper << 16 | (upper & 0x8000 ? 0xffffu : 0u));
    map.first[upper] =
        uint8_t(std::lower_bound(map.midpoint.begin(), map.midpoint.end() - 1, least) - map.midpoint.begin());
  }
  return map;
}

}  // namespace

const Map8& map8(bool sign) {
  static const Map8 maps[] = {make_map(false), make_map(true)};
  return maps[sign];
}

void encode8(const Map8& map, const float* x, int64_t n, uint8_t* codes, float& absmax) {
  float most = 0, finite = 0;
  for (int64_t i = 0; i < n; ++i)
    most = std::max(most, std::abs(x[i])), finite += x[i] * 0;  // NaN if one is not finite
  const float inverse = 1 / most;
  if (finite != 0 || !std::isfinite(inverse)) {  // below 2^-128 a block counts as zero
    absmax = finite == 0 ? 0 : std::numeric_limits<float>::quiet_NaN();
    std::fill_n(codes, n, finite == 0 ? map.zero : uint8_t{255});
    return;
  }
  absmax = most;
  for (int64_t i = 0; i < n; ++i) {
    const float y = x[i] * inverse;
    uint32_t code = map.first[std::bit_cast<uint32_t>(y) >> 16];
    code += y > map.midpoint[code];
    codes[i] = uint8_t(code);
  }
  if (map.sign) return;
  for (int64_t i = 0; i < n; ++i) codes[i] = uint8_t(codes[i] + (codes[i] == map.zero && x[i] > 0));
}

void decode8(const Map8& map, const uint8_t* codes, int64_t n, float absmax, float* x) {
  for (int64_t i = 0; i < n; ++i) x[i] = map.values[codes[i]] * absmax;
}

}  // namespace sedum
