#include "compute/ops/dora.h"

#include <cmath>

#include <gtest/gtest.h>

#include "base/random.h"
#include "compute/ops/operator_examples.h"

namespace sedum::ops {
namespace {

using In = std::span<const Variable>;

Tensor norms_of(Context& c, int64_t n) {
  Tensor t = c.empty(DType::kF64, {n});
  for (int64_t i = 0; i < n; ++i) t.data<double>()[i] = 0.5 + double(i);
  return t;
}
const Registered kPlain({"scale_columns", {{4, 5}, {5}}, [](Context& c, In in) {
                           return scale_columns(c, in[0], in[1], norms_of(c, 5), nullptr);
                         }});
const Registered kBias({"scale_columns", {{4, 5}, {5}, {5}}, [](Context& c, In in) {
                          return scale_columns(c, in[0], in[1], norms_of(c, 5), &in[2]);
                        }});

// ‖W + sBA‖ without the sum, against the sum written out; W as stored in every floating type and a block type.
TEST(Dora, NormsAreThoseOfTheAdaptedWeight) {
  ThreadPool pool(2);
  Arena arena;
  Context ctx{.pool = &pool, .arena = &arena};
  const int64_t rows = 21, cols = 64, rank = 3;
  const auto normal = [&](const Shape& shape, uint32_t stream) {
    Tensor t = ctx.empty(DType::kF32, shape);
    for (int64_t i = 0; i < t.count(); ++i) t.data<float>()[i] = Random(8, Purpose::kTest, stream).normal(uint64_t(i));
    return t;
  };
  const Tensor w = normal({rows, cols}, 0), a = normal({rank, cols}, 1), b = normal({rows, rank}, 2);
  for (const DType type : {DType::kF32, DType::kF16, DType::kBF16, DType::kQ8_0}) {
    Tensor stored = ctx.empty(type, {rows, cols});
    encode(type, w.data<float>(), stored.raw(), w.count());
    std::vector<float> values(size_t(w.count()));
    decode(type, stored.raw(), values.data(), w.count());
    const Weight weight{Variable(stored), nullptr};
    const Tensor norms = adapted_norms(ctx, weight, row_squares(ctx, weight), a, b, 0.7f);
    for (int64_t n = 0; n < rows; ++n) {
      double sum = 0;
      for (int64_t k = 0; k < cols; ++k) {
        double v = double(values[size_t(n * cols + k)]);
        for (int64_t i = 0; i < rank; ++i)
          v += double(0.7f) * double(b.data<float>()[n * rank + i]) * double(a.data<float>()[i * cols + k]);
        sum += v * v;
      }
      EXPECT_NEAR(norms.data<float>()[n], std::sqrt(sum), 1e-5 * std::sqrt(sum)) << name(type) << " row " << n;
    }
  }
}

}  // namespace
}  // namespace sedum::ops
