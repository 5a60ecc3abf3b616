#include "compute/ops/embedding.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "compute/ops/operator_examples.h"

namespace sedum::ops {
namespace {

Ids ids(std::vector<int32_t> v) { return std::make_shared<const std::vector<int32_t>>(std::move(v)); }

using In = std::span<const Variable>;
const Registered kEmbedding({"embedding", {{6, 4}}, [](Context& c, In in) {
                               return embedding(c, in[0], ids({5, 0, 5, 2}));
                             }});
const Registered kSelect({"select_rows", {{5, 3}}, [](Context& c, In in) {
                            return select_rows(c, in[0], ids({0, 3, 4}));
                          }});
const Registered kSelectNone({"select_rows", {{2, 3}}, [](Context& c, In in) {
                                return select_rows(c, in[0], ids({}));
                              }});

TEST(Embedding, UnknownIdsAreRefused) {
  ThreadPool pool(1);
  Arena arena;
  Context ctx{.pool = &pool, .arena = &arena};
  const Variable table(Tensor::zeros(arena, DType::kF32, {4, 2}));
  EXPECT_THROW(embedding(ctx, table, ids({4})), ApiError);
  EXPECT_THROW(embedding(ctx, table, ids({-1})), ApiError);
  EXPECT_EQ(embedding(ctx, table, ids({})).shape(), (Shape{0, 2}));
}

}  // namespace
}  // namespace sedum::ops
