#include "infer/sampler.h"

#include <algorithm>
#include <cmath>
#include <map>

#include <gtest/gtest.h>

#include "base/error.h"

namespace sedum {
namespace {

std::vector<float> logits() { return {1.0f, 3.0f, 2.0f, -1.0f, 3.0f}; }

std::vector<int32_t> kept(const SamplingParams& params, std::vector<float> l = logits()) {
  std::vector<int32_t> ids;
  for (const auto& [p, id] : Sampler(params).distribution(l, {})) ids.push_back(id);
  std::sort(ids.begin(), ids.end());
  return ids;
}

TEST(Sampler, GreedyTakesTheFirstOfTheLargest) {
  auto l = logits();
  EXPECT_EQ(Sampler({.temperature = 0}).sample(l, {}, 0), 1);
  std::vector<float> nan{NAN, 1, NAN};
  EXPECT_EQ(Sampler({.temperature = 0}).sample(nan, {}, 0), 1);
}

TEST(Sampler, TopKTopPMinP) {
  EXPECT_EQ(kept({.top_k = 1}), (std::vector<int32_t>{1}));
  EXPECT_EQ(kept({.top_k = 3}), (std::vector<int32_t>{1, 2, 4}));
  EXPECT_EQ(kept({.top_k = 100}).size(), 5u);
  EXPECT_EQ(kept({.top_p = 0.5f}), (std::vector<int32_t>{1, 4}));  // e³ twice: 0.40 and 0.80
  EXPECT_EQ(kept({.top_p = 1e-6f}), (std::vector<int32_t>{1}));
  EXPECT_EQ(kept({.min_p = 0.3f}), (std::vector<int32_t>{1, 2, 4}));  // e⁻¹ = 0.37 of the best
}

TEST(Sampler, TopPOverAFlatVocabularyNeedsManyCandidates) {
  std::vector<float> flat(5000, 0.5f);
  EXPECT_NEAR(double(kept({.top_p = 0.9f}, flat).size()), 4500, 2);
}

TEST(Sampler, RepetitionPenaltyOncePerToken) {
  auto l = logits();
  const std::vector<int32_t> history{1, 1, 3};
  const auto d = Sampler({.repetition_penalty = 2}).distribution(l, history);
  EXPECT_EQ(l[1], 1.5f);
  EXPECT_EQ(l[3], -2.0f);
  EXPECT_EQ(d.size(), 5u);
}

// χ² of 20,000 draws against the softmax, 4 degrees of freedom: 23.5 is passed once in 10,000.
TEST(Sampler, DrawsFromTheDistribution) {
  const SamplingParams params{.temperature = 1.5f, .seed = 11};
  auto l = logits();
  const auto expected = Sampler(params).distribution(l, {});
  std::map<int32_t, int> counts;
  const int n = 20000;
  for (int i = 0; i < n; ++i) {
    auto copy = logits();
    ++counts[Sampler(params).sample(copy, {}, uint64_t(i))];
  }
  double chi = 0;
  for (const auto& [p, id] : expected) chi += std::pow(counts[id] - n * p, 2) / (n * p);
  EXPECT_LT(chi, 23.5);
}

TEST(Sampler, SeedAndStepDecide) {
  for (uint64_t step = 0; step < 20; ++step) {
    auto a = logits(), b = logits();
    EXPECT_EQ(Sampler({.seed = 3}).sample(a, {}, step), Sampler({.seed = 3}).sample(b, {}, step));
  }
}

TEST(Sampler, RangesAreChecked) {
  EXPECT_THROW(check_sampling({.temperature = -1}, 10), Error);
  EXPECT_THROW(check_sampling({.top_p = 0}, 10), Error);
  EXPECT_THROW(check_sampling({.min_p = 2}, 10), Error);
  EXPECT_THROW(check_sampling({.repetition_penalty = 0}, 10), Error);
  EXPECT_THROW(check_sampling({.max_tokens = 0}, 10), Error);
  EXPECT_THROW(check_sampling({.stop_ids = {10}}, 10), Error);
  EXPECT_NO_THROW(check_sampling({}, 10));
}

}  // namespace
}  // namespace sedum
