#pragma once
// Which values dropout keeps: counted by (seed, site, step, sequence, position, column), so that it does not depend on threads, batch
// composition or recomputation. Srivastava et al.: "Dropout: A Simple Way to Prevent Neural Networks from Overfitting", 2014.
//
//   DropoutRow row(&dropout, r, 0);
//   y[c] = x[c] * row.at(c);         // 0 or 1 / (1 − p): the expectation is kept

#include <array>
#include <cstdint>

#include "base/random.h"

namespace sedum {

struct Dropout {
  uint32_t threshold = 0;  // of 16 random bits: below it a value is dropped
  float scale = 1;         // of what is kept: 65536 / (65536 − threshold)
  std::array<uint32_t, 2> key{};
  uint32_t step = 0;
  const uint32_t *sequence = nullptr, *position = nullptr;  // of each row
};

// The factors of one row; group tells heads of attention apart (below 4096). Columns below 2^23, asked for in any order.
class DropoutRow {
 public:
  DropoutRow(const Dropout* dropout, int64_t row, uint32_t group)
      : dropout_(dropout),
        position_(dropout ? dropout->position[row] : 0),
        sequence_(dropout ? dropout->sequence[row] : 0),
        group_(group << 20) {}
  float at(int64_t column) {
    if (const uint32_t block = uint32_t(column / 8); block != block_) {
      words_ = philox4x32({group_ | block, position_, sequence_, dropout_->step}, dropout_->key);
      block_ = block;
    }
    const uint32_t bits = words_[size_t(column % 8 / 2)] >> (column % 2 * 16) & 0xFFFF;
    return bits < dropout_->threshold ? 0.0f : dropout_->scale;
  }

 private:
  const Dropout* dropout_;
  uint32_t position_, sequence_, group_, block_ = UINT32_MAX;
  std::array<uint32_t, 4> words_{};
};

}  // namespace sedum
