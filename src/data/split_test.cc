#include "data/split.h"

#include <algorithm>
#include <set>

#include <gtest/gtest.h>

#include "base/error.h"

namespace sedum::data {
namespace {

std::vector<std::string> numbered(size_t count, size_t group = 1) {
  std::vector<std::string> keys;
  for (size_t i = 0; i < count; ++i) keys.push_back("topic " + std::to_string(i / group));
  return keys;
}

std::set<std::string> held_out(const std::vector<std::string>& keys, const Split& split) {
  std::set<std::string> names;
  for (const size_t row : split.eval) names.insert(keys[row]);
  return names;
}

TEST(Split, TakesTheFractionExactly) {
  const Split split = split_rows(numbered(300));
  EXPECT_EQ(split.eval.size(), 30u);
  EXPECT_EQ(split.train.size(), 270u);
  EXPECT_TRUE(std::is_sorted(split.train.begin(), split.train.end()));
  std::set<size_t> all(split.train.begin(), split.train.end());
  all.insert(split.eval.begin(), split.eval.end());
  EXPECT_EQ(all.size(), 300u);
}

TEST(Split, DependsOnContentAndSeedNotOnOrder) {
  const auto keys = numbered(200);
  auto reversed = keys;
  std::reverse(reversed.begin(), reversed.end());
  EXPECT_EQ(held_out(keys, split_rows(keys)), held_out(reversed, split_rows(reversed)));
  EXPECT_NE(held_out(keys, split_rows(keys)), held_out(keys, split_rows(keys, {.seed = 43})));
  // Pinned: a split that changes between versions leaks evaluation rows into training.
  const auto few = numbered(20);
  EXPECT_EQ(held_out(few, split_rows(few)), (std::set<std::string>{"topic 12", "topic 16"}));
}

TEST(Split, KeepsGroupsTogether) {
  const auto keys = numbered(300, 7);
  const Split split = split_rows(keys);
  EXPECT_LE(split.eval.size(), 30u);
  EXPECT_GT(split.eval.size(), 30u - 7);
  const auto names = held_out(keys, split);
  for (const size_t row : split.train) EXPECT_FALSE(names.count(keys[row]));
}

TEST(Split, SmallSetsAndExtremes) {
  EXPECT_EQ(split_rows(numbered(0)).train.size(), 0u);
  EXPECT_EQ(split_rows(numbered(1)).train.size(), 1u) << "nothing is left to train on otherwise";
  EXPECT_EQ(split_rows(numbered(2)).eval.size(), 1u);
  EXPECT_EQ(split_rows(numbered(10, 5)).eval.size(), 5u) << "one of two groups, though it is more than the fraction";
  EXPECT_EQ(split_rows(numbered(10), {.eval_fraction = 0}).eval.size(), 0u);
  EXPECT_THROW(split_rows(numbered(10), {.eval_fraction = 1}), Error);
  EXPECT_THROW(split_rows(numbered(10), {.eval_fraction = -0.1}), Error);
}

}  // namespace
}  // namespace sedum::data
