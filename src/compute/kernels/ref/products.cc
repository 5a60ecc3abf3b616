#include "compute/kernels/ref/products.h"

#include <algorithm>
#include <cstring>
#include <vector>

namespace sedum {
namespace ref {
namespace {

const std::byte* row_of(const ConstMatrix& m, int64_t i) {
  return static_cast<const std::byte*>(m.data) + size_t(i) * m.row_bytes;
}

std::vector<double> values_of(const ConstMatrix& m) {
  std::vector<double> values(size_t(m.rows) * size_t(m.cols));
  std::vector<float> row(static_cast<size_t>(m.cols));
  for (int64_t i = 0; i < m.rows; ++i) {
    double* to = values.data() + i * m.cols;
    if (m.dtype == DType::kF64) {
      std::memcpy(to, row_of(m, i), size_t(m.cols) * sizeof(double));
    } else {
      decode(m.dtype, row_of(m, i), row.data(), m.cols);
      std::copy(row.begin(), row.end(), to);
    }
  }
  return values;
}

template <class T>
void write(const MutableMatrix& c, int64_t i, const double* sums, bool accumulate) {
  T* to = reinterpret_cast<T*>(static_cast<std::byte*>(c.data) + size_t(i) * c.row_bytes);
  for (int64_t j = 0; j < c.cols; ++j) {
    const double before = accumulate ? double(static_cast<stat_t<T>>(to[j])) : 0;
    to[j] = T(stat_t<T>(before + sums[j]));
  }
}

}  // namespace

void multiply(ThreadPool& pool, Product product, const ConstMatrix& a, const ConstMatrix& b, const MutableMatrix& c,
              bool accumulate) {
  const std::vector<double> left = values_of(a), right = values_of(b);
  const int64_t k = product == Product::kTN ? a.rows : a.cols;
  const Strided<double> at =
      product == Product::kTN ? Strided<double>{left.data(), 1, a.cols} : Strided<double>{left.data(), a.cols, 1};
  const Strided<double> bt =
      product == Product::kNT ? Strided<double>{right.data(), 1, b.cols} : Strided<double>{right.data(), b.cols, 1};
  std::vector<double> sums(size_t(c.rows) * size_t(c.cols));
  pool.parallel_for(c.rows, [&](int64_t begin, int64_t end) {
    multiply_rows(begin, end, c.cols, k, at, bt, sums.data());
    for (int64_t i = begin; i < end; ++i) {
      const double* row = sums.data() + i * c.cols;
      if (c.dtype == DType::kF64)
        write<double>(c, i, row, accumulate);
      else if (c.dtype == DType::kF32)
        write<float>(c, i, row, accumulate);
      else
        write<bf16>(c, i, row, accumulate);
    }
  });
}

}  // namespace ref
}  // namespace sedum
