#include "data/masking.h"

#include <cmath>

#include <gtest/gtest.h>

namespace sedum::data {
namespace {

constexpr MaskOptions kOptions{.share = 0.15, .mask_token = 4, .vocab_size = 1000, .seed = 7};

// Sequences of `length` tokens 100 + i, the first and the last without a label.
StepBatch batch_of(const std::vector<uint32_t>& samples, int length) {
  StepBatch batch;
  for (const uint32_t number : samples) {
    Sample s;
    for (int i = 0; i < length; ++i)
      s.ids.push_back(100 + i % 800), s.labels.push_back(i == 0 || i == length - 1 ? kIgnored : s.ids.back());
    append_sample(batch, s, number);
  }
  return batch;
}

// Shares within four standard deviations of their binomial distributions.
TEST(Masking, SharesAreThoseOfBert) {
  const StepBatch batch = batch_of({0, 1, 2, 3}, 25002);
  const Masked m = mask_tokens(batch, kOptions, 0);
  const auto near = [](double count, double of, double share) {
    EXPECT_NEAR(count / of, share, 4 * std::sqrt(share * (1 - share) / of));
  };
  const double chosen = double(m.rows.size());
  near(chosen, 100000, 0.15);
  double masked = 0, same = 0;
  for (const int32_t row : m.rows) {
    masked += m.ids[size_t(row)] == kOptions.mask_token;
    same += m.ids[size_t(row)] == batch.ids[size_t(row)];
  }
  near(masked, chosen, 0.8 + 0.1 / 1000);  // a random token may be the mask, or what stood there
  near(same, chosen, 0.1 + 0.1 / 1000);
}

TEST(Masking, OnlyChosenRowsChangeAndOnlyLabelledOnesAreChosen) {
  const StepBatch batch = batch_of({0, 1}, 400);
  const Masked m = mask_tokens(batch, kOptions, 3);
  std::vector<bool> chosen(batch.ids.size());
  for (size_t i = 0; i < m.rows.size(); ++i) {
    EXPECT_EQ(m.labels[i], batch.ids[size_t(m.rows[i])]);
    EXPECT_TRUE(i == 0 || m.rows[i] > m.rows[i - 1]);
    chosen[size_t(m.rows[i])] = true;
  }
  for (size_t i = 0; i < chosen.size(); ++i)
    if (!chosen[i]) {
      EXPECT_EQ(m.ids[i], batch.ids[i]);
    }
  for (const size_t frame : {0, 399, 400, 799}) EXPECT_FALSE(chosen[frame]);
}

// A sample's masks depend on the step and on nothing that shares the batch.
TEST(Masking, IsCountedBySampleAndStep) {
  const Masked both = mask_tokens(batch_of({5, 6}, 200), kOptions, 1),
               alone = mask_tokens(batch_of({6}, 200), kOptions, 1);
  EXPECT_EQ(std::vector<int32_t>(both.ids.begin() + 200, both.ids.end()), alone.ids);
  EXPECT_NE(mask_tokens(batch_of({6}, 200), kOptions, 2).rows, alone.rows);
  EXPECT_NE(mask_tokens(batch_of({5}, 200), kOptions, 1).rows, alone.rows);
}

}  // namespace
}  // namespace sedum::data
