#include "data/dedup.h"

#include <cmath>
#include <string>

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/random.h"
#include "data/units.h"

namespace sedum::data {
namespace {

// `words` words, drawn by `text` and place alone; `changed` of them, spread evenly, replaced.
std::string random_text(uint32_t text, int words, int changed = 0) {
  const Random random(11, Purpose::kTest, text);
  std::string out;
  for (int i = 0; i < words; ++i) {
    const bool replaced = changed > 0 && i % (words / changed) == 0 && i / (words / changed) < changed;
    out += (replaced ? "other" + std::to_string(i) : "w" + std::to_string(random.below(5000, uint64_t(i)))) + " ";
  }
  return out;
}

TEST(Dedup, ExactAfterNormalisation) {
  Deduplicator seen({.near = false});
  EXPECT_FALSE(seen.add("Water  it.\n"));
  const auto repeat = seen.add(" water it. ");
  ASSERT_TRUE(repeat);
  EXPECT_TRUE(repeat->exact);
  EXPECT_EQ(repeat->of, 0);
  EXPECT_FALSE(seen.add("Water it!"));
  EXPECT_EQ(seen.size(), 2);
}

TEST(Dedup, ShinglesAndJaccard) {
  EXPECT_EQ(shingles("a b c d e").size(), 1u);
  EXPECT_EQ(shingles("a b c d e f").size(), 2u);
  EXPECT_EQ(shingles("a b").size(), 1u);
  EXPECT_EQ(shingles("多肉植物冬天").size(), 2u);
  EXPECT_TRUE(shingles("?!").empty());
  EXPECT_EQ(shingles("a b c d e, f").size(), shingles("a b c d e f").size());
  EXPECT_DOUBLE_EQ(jaccard({1, 2, 3}, {2, 3, 4}), 0.5);
  EXPECT_DOUBLE_EQ(jaccard({}, {}), 0);
}

TEST(Dedup, MinHashEstimatesJaccard) {
  // The mean of 200 estimates of 128 values each: standard error sqrt(0.25 / 128 / 200) < 0.0032 at most; five of them.
  // The pairs are independent, so a bias of the hash functions would show.
  double bias = 0;
  for (uint32_t text = 0; text < 200; ++text) {
    const auto a = shingles(random_text(text, 100)), b = shingles(random_text(text, 100, 1 + int(text % 10)));
    const MinHash ma = min_hash(a), mb = min_hash(b);
    int equal = 0;
    for (size_t i = 0; i < kPermutations; ++i) equal += ma[i] == mb[i];
    bias += (equal / double(kPermutations) - jaccard(a, b)) / 200;
  }
  EXPECT_LT(std::abs(bias), 5 * 0.0032);
}

TEST(Dedup, BandsFollowTheThreshold) {
  EXPECT_EQ(Deduplicator({.threshold = 0.8}).rows_per_band(), 5);
  EXPECT_LT(Deduplicator({.threshold = 0.5}).rows_per_band(), 4);
  EXPECT_EQ(Deduplicator({.threshold = 1}).rows_per_band(), 16);
  EXPECT_THROW(Deduplicator({.threshold = 0}), Error);
  EXPECT_THROW(Deduplicator({.threshold = 1.1}), Error);
  EXPECT_THROW(Deduplicator({.threshold = std::nan("")}), Error);
}

TEST(Dedup, AgreesWithComparingAllPairs) {
  // Texts of 200 words with 0 to 12 changed: similarities on both sides of the threshold.
  std::vector<std::string> texts;
  for (uint32_t i = 0; i < 300; ++i) texts.push_back(random_text(i % 60, 200, int(i / 60) * 3));
  Deduplicator seen;
  std::vector<std::vector<uint64_t>> kept;
  int missed = 0, wrong = 0, found = 0;
  for (const std::string& text : texts) {
    const auto own = shingles(comparable_text(text));
    double best = 0;
    for (const auto& other : kept) best = std::max(best, jaccard(own, other));
    const auto repeat = seen.add(text);
    if (repeat) {
      wrong +=
          repeat->similarity < 0.8 || std::abs(jaccard(own, kept[size_t(repeat->of)]) - repeat->similarity) > 1e-12;
      ++found;
    } else {
      missed += best >= 0.8;
      kept.push_back(own);
    }
  }
  EXPECT_EQ(missed, 0);
  EXPECT_EQ(wrong, 0);
  EXPECT_GT(found, 50);
  EXPECT_GT(seen.size(), 100);
}

TEST(Dedup, ChineseByCharacters) {
  Deduplicator seen;
  const std::string text =
      "多肉植物在冬天生长缓慢，土壤干透以后再浇水，一般三到四个星期浇一次就够了，不要在晚上浇水，叶心也不要积水，通风要"
      "好。";
  EXPECT_FALSE(seen.add(text));
  EXPECT_TRUE(seen.add(text + "谢谢"));
  EXPECT_TRUE(
      seen.add("多肉植物在冬天生长缓慢, 土壤干透以后再浇水, 一般三到四个星期浇一次就够了, 不要在晚上浇水, "
               "叶心也不要积水, 通风要好."))
      << "other punctuation";
  EXPECT_FALSE(
      seen.add("仙人掌夏天要放在通风明亮的地方，避免中午的阳光直射，傍晚浇水，盆土不要长时间潮湿，否则容易烂根。"));
}

TEST(Dedup, TextsWithoutUnitsAreComparedExactly) {
  Deduplicator seen;
  EXPECT_FALSE(seen.add("🌵"));
  EXPECT_FALSE(seen.add("🌱"));
  EXPECT_FALSE(seen.add(""));
  EXPECT_TRUE(seen.add("🌵"));
  EXPECT_TRUE(seen.add(" "));
}

TEST(Hash, PinnedAndSpread) {
  EXPECT_EQ(hash64(""), 14515530295614120329u);
  EXPECT_EQ(hash64("succulent"), 2057059832126421848u);
  EXPECT_NE(hash64("a"), hash64(std::string("a\0", 2)));
  EXPECT_NE(hash64("a", 1), hash64("a", 2));
  // Each of 64 bits set in about half of 4096 hashes: standard deviation 32, six of them.
  std::array<int, 64> set{};
  for (int i = 0; i < 4096; ++i)
    for (int bit = 0; bit < 64; ++bit) set[size_t(bit)] += hash64("key " + std::to_string(i)) >> bit & 1;
  for (const int count : set) EXPECT_NEAR(count, 2048, 6 * 32);
}

}  // namespace
}  // namespace sedum::data
