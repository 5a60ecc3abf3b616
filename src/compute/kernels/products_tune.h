#pragma once
// The best way to cut a packed product for this machine, by trying.

#include "compute/kernels/quantised.h"

namespace sedum {

struct ProductTuning {
  ProductCut cut = {};    // {}: nothing was better than the kernels' own choice
  double gain = 1;        // how many times as fast as that choice
  double operations = 0;  // a second, with `cut`
};

// For `rows` rows of activations at once. All candidates are measured in turn, `rounds` times; one replaces the kernels' choice only
// if it was at least 2 % faster in the median round, which is what neighbours and clocks take and give within a round.
ProductTuning tune_product(ThreadPool& pool, const PackedMatrix& w, int64_t rows, int rounds = 7);

}  // namespace sedum
