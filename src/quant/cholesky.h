#pragma once
// Dense triangular algebra in f32, blocked over the products of compute/kernels: the same bits for any number of threads.

#include <cstdint>
#include <vector>

#include "base/thread_pool.h"

namespace sedum {

// a (n,n) symmetric, its lower triangle is read: becomes L with L Lᵀ = a, zeros above the diagonal. False when a pivot is not positive;
// then a is of no use.
bool cholesky(ThreadPool& pool, float* a, int64_t n);
// l (n,n) lower triangular: becomes its inverse.
void invert_lower(ThreadPool& pool, float* l, int64_t n);

}  // namespace sedum
