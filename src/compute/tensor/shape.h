#pragma once
// The sizes of a tensor, outermost first: (B, T, H, D) is Shape{B, T, H, D}.

#include <array>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>

namespace sedum {

class Shape {
 public:
  static constexpr int kMaxRank = 6;
  Shape() = default;  // a scalar: rank 0, one value
  Shape(std::initializer_list<int64_t> sizes) : Shape(std::span(sizes.begin(), sizes.size())) {}
  explicit Shape(std::span<const int64_t> sizes);

  int rank() const { return rank_; }
  int64_t operator[](int i) const { return sizes_[size_t(i < 0 ? i + rank_ : i)]; }  // −1: the last
  int64_t& operator[](int i) { return sizes_[size_t(i < 0 ? i + rank_ : i)]; }
  int64_t count() const;  // of values
  int64_t rows() const;   // of values over the last size: all sizes but the last multiplied
  bool operator==(const Shape& other) const;
  std::string text() const;  // "(2, 3)"

 private:
  std::array<int64_t, kMaxRank> sizes_{};
  int rank_ = 0;
};

}  // namespace sedum
