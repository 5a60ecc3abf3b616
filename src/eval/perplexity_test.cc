#include "eval/perplexity.h"

#include <gmock/gmock.h>

#include "model/model_testing.h"

namespace sedum {
namespace {

using ::testing::HasSubstr;

class PerplexityOfTiny : public ::testing::Test {
 protected:
  // Σ −log p of ids[1…] from logits, in double.
  double reference(const std::vector<int32_t>& ids) {
    const auto logits = testing::logits_of(model_, ids);
    double sum = 0;
    for (size_t i = 0; i + 1 < ids.size(); ++i) {
      double total = 0;
      for (size_t v = 0; v < 320; ++v) total += std::exp(double(logits[i * 320 + v]));
      sum += std::log(total) - double(logits[i * 320 + size_t(ids[i + 1])]);
    }
    return sum;
  }
  Perplexity measure(const std::vector<int32_t>& ids, const PerplexityOptions& options) {
    Context ctx = runtime_.context(Compute::kF32);
    return perplexity(ctx, model_.model(), ids, options);
  }
  static std::vector<int32_t> some(int n) {
    std::vector<int32_t> ids;
    for (int i = 0; i < n; ++i) ids.push_back((i * 37 + i * i) % 320);
    return ids;
  }
  Runtime runtime_{1};
  RuntimeModel model_{runtime_, testing::tiny_model(), {.compute = Compute::kF32}};
};

TEST_F(PerplexityOfTiny, IsTheExponentOfTheMeanLoss) {
  const auto ids = some(40);
  const Perplexity p = measure(ids, {.window = 64});
  EXPECT_EQ(p.tokens, 39);
  EXPECT_NEAR(p.negative_log_likelihood, reference(ids), 1e-5 * p.negative_log_likelihood);
  EXPECT_DOUBLE_EQ(p.value(), std::exp(p.negative_log_likelihood / 39));
}

TEST_F(PerplexityOfTiny, WindowsAreTextsOfTheirOwn) {
  const auto ids = some(70);
  const Perplexity p = measure(ids, {.window = 32});  // two whole ones; the rest of 6 is left out
  EXPECT_EQ(p.tokens, 62);
  const double expected = reference({ids.begin(), ids.begin() + 32}) + reference({ids.begin() + 32, ids.begin() + 64});
  EXPECT_NEAR(p.negative_log_likelihood, expected, 1e-5 * expected);
  EXPECT_EQ(measure(ids, {.window = 32, .max_windows = 1}).tokens, 31);
  EXPECT_EQ(measure(ids, {.window = 100}).tokens, 69);             // shorter than a window, but all there is
  EXPECT_EQ(measure(some(600), {.window = 512}).tokens, 2 * 255);  // never beyond the model's context
}

TEST_F(PerplexityOfTiny, NothingToPredict) {
  EXPECT_THAT(testing::problem_of([&] { measure({1}, {}); }), HasSubstr("1 tokens"));
  EXPECT_THAT(testing::problem_of([&] { measure({1, 2}, {.window = 1}); }), HasSubstr("window"));
}

TEST_F(PerplexityOfTiny, ScorerScoresEachText) {
  const std::vector<std::string> texts{"Water it less.", "", "x", std::string(900, 'y')};
  const auto scores = ModelScorer(model_).score(texts);
  ASSERT_EQ(scores.size(), 4u);
  const auto ids = model_.checkpoint().tokenizer()->encode(texts[0]);
  EXPECT_NEAR(scores[0].negative_log_likelihood, reference(ids), 1e-5 * reference(ids));
  EXPECT_EQ(scores[1].tokens, 0);
  EXPECT_EQ(scores[2].tokens, 0);
  EXPECT_GT(scores[3].tokens, 256);  // longer than the context: in pieces
}

}  // namespace
}  // namespace sedum
