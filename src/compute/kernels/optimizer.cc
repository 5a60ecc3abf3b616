#include "compute/kernels/optimizer.h"

#include <algorithm>
#include <vector>

#include "compute/kernels/generic/optimizer_table.h"
#include "compute/kernels/isa.h"
#include "compute/kernels/ref/optimizer.h"

namespace sedum {
namespace {

constexpr int64_t kBlock = 4096;
constexpr OptimizerKernels kNaive = {ref::adamw<float>, ref::sum_of_squares<float>};

}  // namespace

const OptimizerKernels& optimizer_kernels() {
  switch (isa()) {
    case Isa::kPortable:
      return kNaive;
    case Isa::kAvx2:
      return kAvx2Optimizer;
    case Isa::kAvx512:
    case Isa::kAvx512Bf16:
      return kAvx512Optimizer;
  }
  return kNaive;
}

void adamw(ThreadPool& pool, const AdamWStep& step, int64_t n, const float* gradient, float* parameter, float* m,
           float* v, bf16* shadow) {
  pool.parallel_for(
      n,
      [&](int64_t b, int64_t e) {
        optimizer_kernels().adamw(step, e - b, gradient + b, parameter + b, m + b, v + b,
                                  shadow ? shadow + b : nullptr);
      },
      kBlock);
}

double sum_of_squares(ThreadPool& pool, const float* x, int64_t n) {
  const int64_t blocks = (n + kBlock - 1) / kBlock;
  std::vector<double> sums(static_cast<size_t>(blocks));
  pool.parallel_for(
      blocks,
      [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i)
          sums[size_t(i)] = optimizer_kernels().sum_of_squares(x + i * kBlock, std::min(kBlock, n - i * kBlock));
      },
      8);  // a cache line of sums
  double sum = 0;
  for (const double s : sums) sum += s;
  return sum;
}

}  // namespace sedum
