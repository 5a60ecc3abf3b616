#pragma once
// What is multiplied next, as lines of 64 bytes: each strip of rows, while it is computed, fetches its share of them into L2. Weights that come
// from memory then cost 2-9 % less.

#include "compute/kernels/products.h"

namespace sedum::SEDUM_ISA_NAMESPACE {

constexpr int64_t kLine = 64;

// Lines that a tile fetches, one at each unit: down the rows, then the next line of each.
struct Fetch {
  const char* at;
  int64_t stride, rows, row;  // bytes between rows; `at` is in row `row`
  int64_t lines;              // that are left
  void advance() {
    --lines, at += stride;
    if (++row == rows) row = 0, at += kLine - rows * stride;
  }
};

struct Ahead {
  const char* first = nullptr;
  int64_t stride = 0, rows = 0, lines = 0;  // lines of each row
  // Of strip s of `count`.
  Fetch share(int64_t s, int64_t count) const {
    if (!first) return {nullptr, 0, 0, 0, 0};
    const int64_t all = rows * lines, each = (all + count - 1) / count, begin = s * each < all ? s * each : all;
    return {first + begin % rows * stride + begin / rows * kLine, stride, rows, begin % rows,
            begin + each < all ? each : all - begin};
  }
};

// `bytes` that follow each other.
inline Ahead ahead_in_a_row(const void* first, int64_t bytes) {
  return {static_cast<const char*>(first), kLine, bytes / kLine, 1};
}

// A rectangle of a stored matrix, whole blocks of it, as far as it lies inside.
inline Ahead ahead_as_stored(const ConstMatrix& m, int64_t row, int64_t rows, int64_t col, int64_t cols) {
  const DTypeInfo& type = info(m.dtype);
  const int64_t end = col + cols < m.cols ? col + cols : m.cols, down = row + rows < m.rows ? rows : m.rows - row;
  if (down <= 0 || col >= end) return {};
  const int64_t from = col / type.block * type.block_bytes, to = (end + type.block - 1) / type.block * type.block_bytes;
  const char* at = static_cast<const char*>(m.data) + size_t(row) * m.row_bytes + from;
  // How many bytes of its first line lie before a row's part: the same in all rows, or not known.
  const int64_t before = m.row_bytes % size_t(kLine) ? kLine - 1 : int64_t(uintptr_t(at) % size_t(kLine));
  return {at, int64_t(m.row_bytes), down, (before + to - from + kLine - 1) / kLine};
}

}  // namespace sedum::SEDUM_ISA_NAMESPACE
