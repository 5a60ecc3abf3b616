#pragma once
// Activation-aware scaling: columns that meet large activations are made larger before they are rounded, and what stands before the layer,
// a norm or the rows of another layer, smaller by as much.
//
//   std::vector<float> s = awq_scales(pool, weights, hessian, mean_magnitudes, options);   // weights: all layers of one input
//
// Lin et al.: "AWQ: Activation-aware Weight Quantization for LLM Compression and Acceleration", 2023: s = magnitude^α, normalised to
// √(max · min) = 1; α of twenty steps from 0 is the one whose rounded weights give the least error of outputs, the sum over the layers of
// Σ (w − ŵ) H (w − ŵ)ᵀ ÷ Σ w H wᵀ. The paper measures the output of the whole block, where queries, keys and values count by what they do
// there, not by their size; so layers count in shares of their own outputs here.

#include <vector>

#include "quant/gptq.h"

namespace sedum {

struct AwqWeights {
  std::vector<float> w;  // (rows, cols)
  int64_t rows;
};
struct AwqScales {
  std::vector<float> s;                            // one for each column
  double alpha = 0, error = 0, error_without = 0;  // shares of the outputs' squares
};
AwqScales awq_scales(ThreadPool& pool, const std::vector<AwqWeights>& weights, int64_t cols,
                     const std::vector<float>& hessian, const std::vector<float>& magnitudes,
                     const GptqOptions& options);

// Σ over rows of d H dᵀ for d (rows, cols).
double weighted_error(ThreadPool& pool, const std::vector<float>& d, int64_t rows, int64_t cols,
                      const std::vector<float>& hessian);

}  // namespace sedum
