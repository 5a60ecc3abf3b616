#include "compute/tensor/shape.h"

#include <algorithm>

#include "base/error.h"

namespace sedum {

Shape::Shape(std::span<const int64_t> sizes) : rank_(int(sizes.size())) {
  if (sizes.size() > kMaxRank) throw ApiError("shape", "rank " + std::to_string(sizes.size()) + " is above 6");
  for (const int64_t size : sizes)
    if (size < 0) throw ApiError("shape", "negative size " + std::to_string(size));
  std::copy(sizes.begin(), sizes.end(), sizes_.begin());
}

int64_t Shape::count() const {
  int64_t n = 1;
  for (int i = 0; i < rank_; ++i) n *= sizes_[size_t(i)];
  return n;
}

int64_t Shape::rows() const {
  int64_t n = 1;
  for (int i = 0; i + 1 < rank_; ++i) n *= sizes_[size_t(i)];
  return n;
}

bool Shape::operator==(const Shape& other) const {
  return rank_ == other.rank_ && std::equal(sizes_.begin(), sizes_.begin() + rank_, other.sizes_.begin());
}

std::string Shape::text() const {
  std::string s = "(";
  for (int i = 0; i < rank_; ++i) s += (i ? ", " : "") + std::to_string(sizes_[size_t(i)]);
  return s + ")";
}

}  // namespace sedum
