// The lines that are fetched while products multiply: the next panel's, each of them once. A wrong address would change no result.

#include <map>
#include <vector>

#include <gtest/gtest.h>

#define SEDUM_ISA_NAMESPACE fetched
#include "compute/kernels/generic/products_ahead.h"

namespace sedum {
namespace {

using fetched::Ahead;
using fetched::kLine;

// How often each line was fetched by all strips together, by its offset from `base`.
std::map<int64_t, int> fetched_lines(const Ahead& ahead, int64_t strips, const char* base) {
  std::map<int64_t, int> times;
  for (int64_t s = 0; s < strips; ++s)
    for (fetched::Fetch f = ahead.share(s, strips); f.lines > 0; f.advance()) ++times[(f.at - base) / kLine];
  return times;
}

struct Case {
  DType dtype;
  int64_t rows, cols, row, down, col, across;
};

TEST(ProductsAhead, EveryLineOfARectangleOnce) {
  const Case cases[] = {
      {DType::kF32, 64, 256, 32, 32, 0, 256},   {DType::kF32, 300, 96, 0, 300, 32, 32},
      {DType::kBF16, 64, 4096, 0, 32, 0, 1366}, {DType::kBF16, 40, 64, 32, 32, 0, 64},   // beyond the last row
      {DType::kBF16, 64, 100, 0, 64, 96, 32},                                            // beyond the last column
      {DType::kQ4_0, 64, 896, 10, 20, 64, 32},  {DType::kQ4_K, 33, 512, 0, 33, 32, 32},  // a part of a block
      {DType::kQ6_K, 8, 1024, 0, 8, 512, 300},  {DType::kF32, 1, 16, 0, 1, 0, 16},
  };
  for (const Case& c : cases) {
    const DTypeInfo& type = info(c.dtype);
    const size_t row_bytes = size_t((c.cols + type.block - 1) / type.block * type.block_bytes);
    const std::vector<char> room(row_bytes * size_t(c.rows) + 2 * size_t(kLine));
    const char* const base =
        room.data() + (size_t(kLine) - reinterpret_cast<uintptr_t>(room.data()) % size_t(kLine)) % size_t(kLine);
    const ConstMatrix m{c.dtype, base, c.rows, c.cols, row_bytes};
    std::map<int64_t, int> expected;  // lines that the rectangle touches, and by how many rows
    for (int64_t r = c.row; r < std::min(c.row + c.down, c.rows); ++r) {
      const int64_t first = r * int64_t(row_bytes) + c.col / type.block * type.block_bytes,
                    last = r * int64_t(row_bytes) +
                           (std::min(c.col + c.across, c.cols) - 1) / type.block * type.block_bytes + type.block_bytes -
                           1;
      for (int64_t line = first / kLine; line <= last / kLine; ++line) ++expected[line];
    }
    for (const int64_t strips : {1, 5, 37, 2000}) {
      const auto times = fetched_lines(fetched::ahead_as_stored(m, c.row, c.down, c.col, c.across), strips, base);
      for (const auto& [line, rows] : expected)
        EXPECT_GE(times.contains(line) ? times.at(line) : 0, 1)
            << info(c.dtype).name << " line " << line << ", strips " << strips;
      int64_t fetches = 0, touched = 0;
      for (const auto& [line, n] : times) fetches += n;
      for (const auto& [line, n] : expected) touched += n;
      EXPECT_GE(fetches, touched);
      EXPECT_LE(fetches, touched + c.down) << "more than a line a row too many";
    }
  }
}

TEST(ProductsAhead, NothingOutside) {
  const std::vector<float> data(64);
  const ConstMatrix m{DType::kF32, data.data(), 4, 16, 64};
  EXPECT_EQ(fetched::ahead_as_stored(m, 4, 4, 0, 16).first, nullptr);
  EXPECT_EQ(fetched::ahead_as_stored(m, 0, 4, 16, 16).first, nullptr);
  EXPECT_EQ(Ahead{}.share(0, 3).lines, 0);
}

TEST(ProductsAhead, APanelInARow) {
  alignas(64) static const char panel[64 * 11] = {};
  const auto times = fetched_lines(fetched::ahead_in_a_row(panel, sizeof panel), 4, panel);
  EXPECT_EQ(times.size(), 11u);
  for (const auto& [line, n] : times) EXPECT_EQ(n, 1) << line;
}

}  // namespace
}  // namespace sedum
