#include "eval/divergence.h"

#include <cmath>

#include <gtest/gtest.h>

#include "base/error.h"
#include "model/model_testing.h"

namespace sedum {
namespace {

TEST(Divergence, OfTwoRows) {
  // p = (1/2, 1/4, 1/4), q uniform: Σ p ln(3 p).
  const float p[] = {std::log(2.0f), 0, 0}, q[] = {5, 5, 5};
  EXPECT_NEAR(kl_of_logits(p, q, 3), 0.5 * std::log(1.5) + 0.5 * std::log(0.75), 1e-7);
  EXPECT_NEAR(kl_of_logits(p, p, 3), 0, 1e-12);
  const float far[] = {1000, 0, -1000};
  EXPECT_NEAR(kl_of_logits(far, q, 3), std::log(3.0), 1e-9);
}

TEST(Divergence, OfAModelFromItselfIsNothingAndPerplexityIsPerplexity) {
  Runtime runtime(1);
  const RuntimeModel model(runtime, testing::tiny_model(), {.compute = Compute::kF32});
  std::vector<int32_t> ids;
  for (int i = 0; i < 200; ++i) ids.push_back((i * 29) % 190);
  Context a = runtime.context(Compute::kF32), b = runtime.context(Compute::kBF16);
  const PerplexityOptions windows{.window = 90};
  const Divergence same = divergence(a, model.model(), a, model.model(), ids, windows);
  EXPECT_EQ(same.tokens, 2 * 89);
  EXPECT_NEAR(same.kl, 0, 1e-12);
  EXPECT_EQ(same.same_best, 1);
  const double want = perplexity(a, model.model(), ids, windows).value();
  EXPECT_NEAR(same.perplexity, want, 1e-5 * want);
  const Divergence rounded = divergence(a, model.model(), b, model.model(), ids, windows);
  EXPECT_GT(rounded.kl, 0);
  EXPECT_LT(rounded.kl, 0.01);
  EXPECT_NEAR(rounded.original_perplexity, want, 1e-5 * want);
  EXPECT_THROW(divergence(a, model.model(), a, model.model(), {1}, windows), Error);
}

}  // namespace
}  // namespace sedum
