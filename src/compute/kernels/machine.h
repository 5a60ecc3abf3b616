#pragma once
// What this machine can do at most: the denominators of every performance figure.
//
//   const double top = measure_peak(pool, isa(), Compute::kBF16);   // operations per second, all threads of the pool
//   const double read = measure_read_bandwidth(pool);               // bytes per second
//
// Peaks are of registers alone: independent multiply-adds, enough to hide their latency. A multiply-add is two operations. The best
// of several short trials counts, because a neighbour may take a core for a moment.

#include "base/thread_pool.h"
#include "compute/kernels/isa.h"
#include "compute/kernels/products.h"

namespace sedum {

// kBF16 without BF16 instructions is the f32 peak: that is how it is computed there. kInt8: vpdpbusd, or the three
// instructions that stand for it.
double measure_peak(ThreadPool& pool, Isa isa, Compute compute);

// Reading 1 GiB (or `bytes`) in order, prefetched: what one token through all weights is bounded by.
double measure_read_bandwidth(ThreadPool& pool, size_t bytes = size_t(1) << 30);

}  // namespace sedum
