#include "compute/tensor/tensor.h"

#include <numeric>

#include <gtest/gtest.h>

#include "base/error.h"

namespace sedum {
namespace {

Tensor counting(Arena& arena, const Shape& shape) {
  Tensor t = Tensor::empty(arena, DType::kF32, shape);
  std::iota(t.data<float>(), t.data<float>() + t.count(), 0.0f);
  return t;
}

TEST(Tensor, ViewsShareStorage) {
  Arena arena;
  Tensor x = counting(arena, {2, 3, 4});
  Tensor y = x.reshape({6, 4}), z = x.transpose(0, 2), s = x.slice(1, 1, 3);
  EXPECT_TRUE(y.shares_storage_with(x));
  EXPECT_EQ(z.shape(), (Shape{4, 3, 2}));
  EXPECT_EQ(z.stride(0), 1);
  EXPECT_EQ(z.stride(2), 12);
  EXPECT_FALSE(z.contiguous());
  EXPECT_EQ(s.shape(), (Shape{2, 2, 4}));
  EXPECT_EQ(*s.data<float>(), 4.0f);
  x.data<float>()[4] = 99;
  EXPECT_EQ(*s.data<float>(), 99.0f);
}

TEST(Tensor, IllegalViewsAreRefused) {
  Arena arena;
  Tensor x = counting(arena, {2, 6});
  EXPECT_THROW(x.transpose(0, 1).reshape({12}), ApiError);
  EXPECT_THROW(x.reshape({5}), ApiError);
  EXPECT_THROW(x.slice(0, 1, 3), ApiError);
  EXPECT_THROW(x.transpose(0, 2), ApiError);
  EXPECT_THROW(x.data<int32_t>(), ApiError);
  EXPECT_THROW((Shape{1, 1, 1, 1, 1, 1, 1}), ApiError);
  EXPECT_THROW((Shape{-1}), ApiError);
}

TEST(Tensor, StorageOutlivesTheFirstHandleAndReturns) {
  Arena arena;
  {
    Tensor view;
    { view = counting(arena, {10}).slice(0, 5, 10); }
    EXPECT_EQ(view.data<float>()[0], 5.0f);
    EXPECT_GT(arena.live_bytes(), 0u);
  }
  EXPECT_EQ(arena.live_bytes(), 0u);
}

TEST(Tensor, ShapeOnlyModeHasSizesAndNoNumbers) {
  Arena arena(Arena::Backing::kNone);
  const Tensor x = Tensor::zeros(arena, DType::kBF16, {1000, 1000, 1000});
  EXPECT_TRUE(x.defined());
  EXPECT_EQ(x.bytes(), 2'000'000'000u);
  EXPECT_EQ(arena.live_bytes(), 2'000'000'000u);
}

TEST(Tensor, ScalarAndEmpty) {
  Arena arena;
  EXPECT_EQ(Tensor::zeros(arena, DType::kF64, {}).count(), 1);
  EXPECT_EQ(Tensor::zeros(arena, DType::kF32, {0, 5}).count(), 0);
  EXPECT_FALSE(Tensor().defined());
}

}  // namespace
}  // namespace sedum
