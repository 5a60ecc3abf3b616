#pragma once
// GPTQ: weights rounded one column after the other, each one's error made good by the columns that follow.
//
//   HessianFactor factor(pool, hessian, k, options);              // XᵀX of the layer's inputs, (K,K); once for layers of one input
//   GroupQuantised q = gptq(pool, w, n, k, factor, options);      // w (N,K) f32
//   q.value(row, col);                                            // scale · (q − zero)
//
// Frantar et al.: "GPTQ: Accurate Post-Training Quantization for Generative Pre-trained Transformers", 2022. The inverse Hessian's
// Cholesky factor U (UᵀU = H⁻¹) is needed, no inverse: H with rows and columns reversed is M Mᵀ, and U is the inverse of M, reversed
// again. A group's scale is chosen when its first column is reached, of the weights as they are then. Every result is one sum in one
// order: the same bits for any number of threads.

#include <cstdint>
#include <vector>

#include "base/thread_pool.h"

namespace sedum {

struct GptqOptions {
  int bits = 4;                // 2, 4 or 8
  int64_t group_size = 128;    // columns that share a scale; the last group may be shorter
  bool symmetric = true;       // zero point in the middle
  bool desc_act = false;       // columns in order of their activations' size, largest first ("act-order")
  double damp_percent = 0.01;  // of the mean diagonal, added to the diagonal
  bool awq = false;            // rounding after activation-aware scaling (awq.h) instead of GPTQ
};

// Integers with a scale and a zero point for each group of columns of each row.
struct GroupQuantised {
  int64_t rows = 0, cols = 0, groups = 0;
  int bits = 4;
  std::vector<uint8_t> q;      // (rows, cols)
  std::vector<float> scales;   // (rows, groups), f16 values
  std::vector<uint8_t> zeros;  // (rows, groups)
  std::vector<int32_t> g_idx;  // (cols): the group of each column
  float value(int64_t row, int64_t col) const {
    const size_t g = size_t(row * groups + g_idx[size_t(col)]);
    return scales[g] * float(int(q[size_t(row * cols + col)]) - int(zeros[g]));
  }
  std::vector<float> values(ThreadPool& pool) const;  // (rows, cols)
  void values_to(ThreadPool& pool, float* to) const;  // the same into room for them
};

class HessianFactor {
 public:
  // Error when H is not positive definite even with a hundred times the damping.
  HessianFactor(ThreadPool& pool, std::vector<float> hessian, int64_t cols, const GptqOptions& options);
  int64_t cols() const { return cols_; }
  const std::vector<int32_t>& order() const { return order_; }  // order()[i]: the column that is rounded as the i-th
  const float* upper() const { return upper_.data(); }          // U (K,K) in that order; zeros below the diagonal
  bool dead(int64_t i) const { return dead_[size_t(i)]; }       // the i-th column never saw anything but zeros

 private:
  int64_t cols_;
  std::vector<int32_t> order_;
  std::vector<float> upper_;
  std::vector<bool> dead_;
};

GroupQuantised gptq(ThreadPool& pool, const std::vector<float>& w, int64_t rows, int64_t cols,
                    const HessianFactor& factor, const GptqOptions& options);
// Each weight to the nearest, in groups of the same form.
GroupQuantised round_to_nearest(ThreadPool& pool, const std::vector<float>& w, int64_t rows, int64_t cols,
                                const GptqOptions& options);
// The same with each group's range cut to that share of it (1, 0.95 … 0.5) which changes the group's part of the outputs least,
// d H dᵀ over its columns for d = ŵ − w: AWQ's clipping. hessian: XᵀX (K,K).
GroupQuantised round_clipped(ThreadPool& pool, const std::vector<float>& w, int64_t rows, int64_t cols,
                             const std::vector<float>& hessian, const GptqOptions& options);

}  // namespace sedum
