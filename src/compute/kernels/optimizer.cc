#include "compute/kernels/optimizer.h"

#include <algorithm>
#include <array>
#include <vector>

#include "compute/kernels/dynamic8.h"
#include "compute/kernels/generic/optimizer_table.h"
#include "compute/kernels/isa.h"
#include "compute/kernels/ref/optimizer.h"

namespace sedum {
namespace {

constexpr int64_t kBlock = 4096;     // of a sum
constexpr int64_t kInCache = 1024;   // of an update: with three arrays widened, 12 KB
constexpr int64_t kRowsOfSum = 64;   // of Adafactor's columns: a block's sums are kept apart
constexpr int64_t kMostBlocks = 64;  // of rows, so that these sums stay small beside the gradient

constexpr OptimizerKernels kNaive = {ref::adamw<float>,
                                     ref::sgd<float>,
                                     ref::muon_momentum<float>,
                                     ref::decayed_step<float>,
                                     ref::combine<float>,
                                     ref::add_squares<float>,
                                     ref::sum_of_factored_squares<float>,
                                     ref::factored_step<float>,
                                     ref::sum_of_squares<float>,
                                     ref::clip_values<float>,
                                     ref::widen,
                                     ref::round_stochastically};

// Values begin … begin + n − 1 of an array as f32: in place, or widened into `scratch`. begin: a multiple of kInCache.
float* opened(const StoredArray& a, int64_t begin, int64_t n, float* scratch) {
  if (!a.values) return nullptr;
  switch (a.format) {
    case StoredAs::kF32:
      return static_cast<float*>(a.values) + begin;
    case StoredAs::kBF16:
      optimizer_kernels().widen(static_cast<const bf16*>(a.values) + begin, n, scratch);
      break;
    case StoredAs::kSigned8:
    case StoredAs::kUnsigned8:
      for (int64_t i = 0; i < n; i += kBlock8)
        decode8(map8(a.format == StoredAs::kSigned8), static_cast<const uint8_t*>(a.values) + begin + i,
                std::min(kBlock8, n - i), a.absmax[(begin + i) / kBlock8], scratch + i);
      break;
  }
  return scratch;
}

void closed(const StoredArray& a, int64_t begin, int64_t n, const float* scratch, StochasticRounding rounding) {
  if (!a.values || a.format == StoredAs::kF32) return;
  if (a.format == StoredAs::kBF16)
    return optimizer_kernels().round_stochastically(scratch, n, rounding, a.stream, begin,
                                                    static_cast<bf16*>(a.values) + begin);
  for (int64_t i = 0; i < n; i += kBlock8)
    encode8(map8(a.format == StoredAs::kSigned8), scratch + i, std::min(kBlock8, n - i),
            static_cast<uint8_t*>(a.values) + begin + i, a.absmax[(begin + i) / kBlock8]);
}

// update(begin, n, pointers) for every block, with the arrays as f32.
template <size_t N, class F>
void in_blocks(ThreadPool& pool, int64_t n, const std::array<StoredArray, N>& arrays, StochasticRounding rounding,
               F&& update) {
  pool.parallel_for(
      n,
      [&](int64_t b, int64_t e) {
        alignas(64) float scratch[N][kInCache];
        for (int64_t i = b; i < e; i += kInCache) {
          const int64_t count = std::min(kInCache, e - i);
          std::array<float*, N> at;
          for (size_t k = 0; k < N; ++k) at[k] = opened(arrays[k], i, count, scratch[k]);
          update(i, count, at);
          for (size_t k = 0; k < N; ++k) closed(arrays[k], i, count, scratch[k], rounding);
        }
      },
      4 * kInCache);
}

int64_t rows_of_a_sum(int64_t rows) { return std::max(kRowsOfSum, (rows + kMostBlocks - 1) / kMostBlocks); }

double in_order(const std::vector<double>& sums) {
  double sum = 0;
  for (const double s : sums) sum += s;
  return sum;
}

}  // namespace

const OptimizerKernels& optimizer_kernels() {
  switch (isa()) {
    case Isa::kPortable:
      return kNaive;
    case Isa::kAvx2:
      return kAvx2Optimizer;
    case Isa::kAvx512:
    case Isa::kAvx512Bf16:
    case Isa::kAmx:
      return kAvx512Optimizer;
  }
  return kNaive;
}

void adamw(ThreadPool& pool, const AdamWStep& step, int64_t n, const float* gradient, StoredArray parameter,
           StoredArray m, StoredArray v, StochasticRounding rounding) {
  in_blocks<3>(pool, n, {parameter, m, v}, rounding, [&](int64_t i, int64_t count, const std::array<float*, 3>& at) {
    optimizer_kernels().adamw(step, count, gradient + i, at[0], at[1], at[2]);
  });
}

void sgd(ThreadPool& pool, const SgdStep& step, int64_t n, const float* gradient, StoredArray parameter,
         StoredArray buffer, StochasticRounding rounding) {
  in_blocks<2>(pool, n, {parameter, buffer}, rounding, [&](int64_t i, int64_t count, const std::array<float*, 2>& at) {
    optimizer_kernels().sgd(step, count, gradient + i, at[0], at[1]);
  });
}

void muon_momentum(ThreadPool& pool, double momentum, bool nesterov, double gradient_scale, int64_t n,
                   const float* gradient, StoredArray buffer, float* x, StochasticRounding rounding) {
  in_blocks<1>(pool, n, {buffer}, rounding, [&](int64_t i, int64_t count, const std::array<float*, 1>& at) {
    optimizer_kernels().muon_momentum(momentum, nesterov, gradient_scale, count, gradient + i, at[0], x + i);
  });
}

void decayed_step(ThreadPool& pool, double decay, double rate, int64_t n, const float* update, StoredArray parameter,
                  StochasticRounding rounding) {
  in_blocks<1>(pool, n, {parameter}, rounding, [&](int64_t i, int64_t count, const std::array<float*, 1>& at) {
    optimizer_kernels().decayed_step(decay, rate, count, update + i, at[0]);
  });
}

void combine(ThreadPool& pool, float a, const float* x, float b, int64_t n, float* y) {
  pool.parallel_for(
      n, [&](int64_t begin, int64_t end) { optimizer_kernels().combine(a, x + begin, b, end - begin, y + begin); },
      kBlock);
}

int64_t adafactor_scratch(int64_t rows, int64_t cols) {
  return (rows + rows_of_a_sum(rows) - 1) / rows_of_a_sum(rows) * cols;
}

void squares_by_row_and_column(ThreadPool& pool, const float* gradient, int64_t rows, int64_t cols, double* row_sums,
                               float* column_sums, float* scratch) {
  const int64_t height = rows_of_a_sum(rows), blocks = (rows + height - 1) / height;
  pool.parallel_for(blocks, [&](int64_t begin, int64_t end) {
    for (int64_t block = begin; block < end; ++block) {
      float* sums = scratch + block * cols;
      std::fill_n(sums, cols, 0.0f);
      for (int64_t r = block * height; r < std::min(rows, (block + 1) * height); ++r)
        row_sums[r] = optimizer_kernels().add_squares(gradient + r * cols, cols, sums);
    }
  });
  pool.parallel_for(
      cols,
      [&](int64_t begin, int64_t end) {
        std::copy(scratch + begin, scratch + end, column_sums + begin);
        for (int64_t block = 1; block < blocks; ++block)
          optimizer_kernels().combine(1, scratch + block * cols + begin, 1, end - begin, column_sums + begin);
      },
      512);
}

double sum_of_factored_squares(ThreadPool& pool, const float* gradient, const float* r, const float* c, int64_t rows,
                               int64_t cols) {
  std::vector<double> sums(static_cast<size_t>(rows));
  pool.parallel_for(
      rows,
      [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i)
          sums[size_t(i)] =
              double(r[i]) * double(r[i]) * optimizer_kernels().sum_of_factored_squares(gradient + i * cols, c, cols);
      },
      8);
  return in_order(sums);
}

void factored_step(ThreadPool& pool, double decay, double rate, const float* gradient, const float* r, const float* c,
                   int64_t rows, int64_t cols, StoredArray parameter, StochasticRounding rounding) {
  in_blocks<1>(pool, rows * cols, {parameter}, rounding,
               [&](int64_t begin, int64_t count, const std::array<float*, 1>& at) {
                 for (int64_t i = begin; i < begin + count;) {  // a row's part at a time
                   const int64_t row = i / cols, col = i % cols, n = std::min(cols - col, begin + count - i);
                   optimizer_kernels().factored_step(decay, rate * double(r[row]), n, gradient + i, c + col,
                                                     at[0] + (i - begin));
                   i += n;
                 }
               });
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
  return in_order(sums);
}

void clip_values(ThreadPool& pool, float* x, float most, int64_t n) {
  pool.parallel_for(
      n, [&](int64_t begin, int64_t end) { optimizer_kernels().clip_values(x + begin, most, end - begin); }, kBlock);
}

void round_stochastically(const float* x, int64_t n, StochasticRounding rounding, uint32_t stream, int64_t first,
                          bf16* y) {
  optimizer_kernels().round_stochastically(x, n, rounding, stream, first, y);
}

}  // namespace sedum
