#include "compute/kernels/products_tune.h"

#include <algorithm>
#include <chrono>
#include <vector>

#include "base/arena.h"

namespace sedum {
namespace {

// 0 first: the kernels' own choice. Blocks from a quarter of a small L2 to a large one; tiles of fewer rows leave more registers.
std::vector<ProductCut> candidates() {
  std::vector<ProductCut> cuts = {{}};
  const int highest = highest_product_tile();
  for (const int kib : {128, 256, 512, 1024, 2048}) cuts.push_back({0, kib});
  for (int tile : {highest * 3 / 4, highest / 2})
    if (tile > 0) cuts.push_back({tile, 0});
  return cuts;
}

double median(std::vector<double> v) {
  std::nth_element(v.begin(), v.begin() + long(v.size() / 2), v.end());
  return v[v.size() / 2];
}

}  // namespace

ProductTuning tune_product(ThreadPool& pool, const PackedMatrix& w, int64_t rows, int rounds) {
  const PackedPanels panels = packed_int8_panels(w);
  const auto trial = packed_int8_from(panels.dtype, w.rows(), w.cols(), panels.bytes, nullptr);
  const Buffer x(size_t(rows * w.cols()) * sizeof(float)), y(size_t(rows * w.rows()) * sizeof(float));
  for (int64_t i = 0; i < rows * w.cols(); ++i) x.as<float>()[i] = float(i % 251) - 125;
  const auto seconds = [&](ProductCut cut) {
    set_product_cut(*trial, cut);
    const auto start = std::chrono::steady_clock::now();
    product_packed_int8(pool, {DType::kF32, x.as(), rows, w.cols(), size_t(w.cols()) * sizeof(float)}, *trial,
                        {DType::kF32, y.as(), rows, w.rows(), size_t(w.rows()) * sizeof(float)});
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  };
  const std::vector<ProductCut> cuts = candidates();
  std::vector<std::vector<double>> gains(cuts.size());
  std::vector<double> own;
  seconds({});
  for (int round = 0; round < rounds; ++round) {
    const double base = seconds({});
    own.push_back(base);
    for (size_t i = 1; i < cuts.size(); ++i) gains[i].push_back(base / seconds(cuts[i]));
  }
  ProductTuning best;
  for (size_t i = 1; i < cuts.size(); ++i)
    if (const double gain = median(gains[i]); gain > 1.02 && gain > best.gain) best.cut = cuts[i], best.gain = gain;
  best.operations = 2.0 * double(rows) * double(w.rows()) * double(w.cols()) / median(own) * best.gain;
  return best;
}

}  // namespace sedum
