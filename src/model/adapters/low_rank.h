#pragma once
// The largest singular values of a matrix and their vectors: what adapters are begun with.
//
//   const LowRank top = largest_singular(pool, w, rows, cols, 16);          // W ≈ left · diag(values) · right
//   const LowRank fast = sketched_singular(pool, w, rows, cols, 16, 4, random);
//
// Signs of pairs of vectors are free; compare products.

#include <cstdint>
#include <vector>

#include "base/random.h"
#include "base/thread_pool.h"

namespace sedum {

struct LowRank {
  std::vector<double> values;      // descending (r)
  std::vector<float> left, right;  // (m,r), (r,n), by rows; orthonormal columns and rows
};

// w (m,n) by rows; 1 ≤ r ≤ min(m,n), ApiError otherwise. By iteration on a block wider than r, until the space of the first r turns by less than
// 1e-6 an iteration (Rutishauser 1970; with 500 iterations at most: where values r and r + 1 are alike to four digits the space is any of many).
LowRank largest_singular(ThreadPool& pool, const float* w, int64_t m, int64_t n, int64_t r);
// By `iterations` from random columns, r of them: torch.svd_lowrank(q = r) (Halko, Martinsson, Tropp: "Finding structure with randomness",
// 2011, algorithm 5.1).
LowRank sketched_singular(ThreadPool& pool, const float* w, int64_t m, int64_t n, int64_t r, int iterations,
                          const Random& random);
// The first r columns Q (m,r) and rows R (r,n) of the QR decomposition of w, up to signs. Left and right; values are 1.
LowRank leading_qr(ThreadPool& pool, const float* w, int64_t m, int64_t n, int64_t r);

}  // namespace sedum
