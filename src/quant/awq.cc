#include "quant/awq.h"

#include <algorithm>
#include <cmath>

#include "compute/kernels/products.h"

namespace sedum {
namespace {

constexpr int kSteps = 20;

std::vector<float> scales_for(const std::vector<float>& magnitudes, double alpha) {
  std::vector<float> s(magnitudes.size());
  for (size_t i = 0; i < s.size(); ++i) s[i] = float(std::pow(std::max(double(magnitudes[i]), 1e-8), alpha));
  const auto [least, most] = std::minmax_element(s.begin(), s.end());
  const float norm = std::sqrt(*least * *most);
  for (float& value : s) value = std::max(value / norm, 1e-4f);
  return s;
}

// The error of all layers when their columns are scaled by s, rounded, and scaled back, each in shares of its outputs' size.
double error_of(ThreadPool& pool, const std::vector<AwqWeights>& weights, int64_t cols, const std::vector<float>& h,
                const std::vector<double>& sizes, const std::vector<float>& s, const GptqOptions& options) {
  double error = 0;
  for (size_t l = 0; l < weights.size(); ++l) {
    const AwqWeights& layer = weights[l];
    std::vector<float> d = layer.w;
    for (size_t i = 0; i < d.size(); ++i) d[i] *= s[i % size_t(cols)];
    const GroupQuantised q = round_to_nearest(pool, d, layer.rows, cols, options);
    for (int64_t r = 0; r < layer.rows; ++r)
      for (int64_t c = 0; c < cols; ++c) {
        const size_t at = size_t(r * cols + c);
        d[at] = q.value(r, c) / s[size_t(c)] - layer.w[at];
      }
    error += weighted_error(pool, d, layer.rows, cols, h) / sizes[l];
  }
  return error;
}

}  // namespace

double weighted_error(ThreadPool& pool, const std::vector<float>& d, int64_t rows, int64_t cols,
                      const std::vector<float>& hessian) {
  std::vector<float> product(d.size());
  const size_t bytes = size_t(cols) * 4;
  product_nn(pool, Compute::kF32, {DType::kF32, d.data(), rows, cols, bytes},
             {DType::kF32, hessian.data(), cols, cols, bytes}, {DType::kF32, product.data(), rows, cols, bytes});
  double sum = 0;
  for (size_t i = 0; i < d.size(); ++i) sum += double(d[i]) * product[i];
  return sum;
}

AwqScales awq_scales(ThreadPool& pool, const std::vector<AwqWeights>& weights, int64_t cols,
                     const std::vector<float>& hessian, const std::vector<float>& magnitudes,
                     const GptqOptions& options) {
  AwqScales best;
  std::vector<double> sizes;
  for (const AwqWeights& layer : weights) {
    const double size = weighted_error(pool, layer.w, layer.rows, cols, hessian);
    sizes.push_back(size > 0 ? size : 1);
  }
  for (int step = 0; step < kSteps; ++step) {
    const double alpha = double(step) / kSteps;
    std::vector<float> s = scales_for(magnitudes, alpha);
    const double error = error_of(pool, weights, cols, hessian, sizes, s, options);
    if (step == 0) best.error_without = error;
    if (step == 0 || error < best.error) best.s = std::move(s), best.alpha = alpha, best.error = error;
  }
  return best;
}

}  // namespace sedum
