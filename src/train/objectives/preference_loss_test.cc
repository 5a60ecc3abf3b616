#include "train/objectives/preference_loss.h"

#include <cmath>

#include <gtest/gtest.h>

namespace sedum {
namespace {

const Answer kChosen{-12.5, -13, 7}, kRejected{-9, -8.2, 4};

// Every loss's derivatives against central differences.
TEST(PreferenceLoss, DerivativesAgreeWithDifferences) {
  for (const char* name : {"sigmoid", "hinge", "ipo", "orpo", "simpo"})
    for (const double ftx : {0.0, 0.3}) {
      const PreferenceOptions o{.loss = name, .beta = 0.7, .label_smoothing = 0.1, .gamma = 0.4, .ftx = ftx};
      const double h = 1e-5;
      const auto value = [&](double by_chosen, double by_rejected) {
        Answer c = kChosen, r = kRejected;
        c.log_prob += by_chosen, r.log_prob += by_rejected;
        return pair_loss(o, c, r).value;
      };
      const PairLoss at = pair_loss(o, kChosen, kRejected);
      EXPECT_NEAR(at.d_chosen, (value(h, 0) - value(-h, 0)) / (2 * h), 1e-8) << name;
      EXPECT_NEAR(at.d_rejected, (value(0, h) - value(0, -h)) / (2 * h), 1e-8) << name;
    }
}

TEST(PreferenceLoss, KtoAgreesWithDifferences) {
  const PreferenceOptions o{.loss = "kto", .beta = 0.5, .desirable_weight = 1.5, .undesirable_weight = 0.5};
  for (const bool desirable : {true, false}) {
    const double h = 1e-5;
    const auto value = [&](double by) {
      Answer a = kChosen;
      a.log_prob += by;
      return kto_loss(o, a, desirable, 0.2).value;
    };
    EXPECT_NEAR(kto_loss(o, kChosen, desirable, 0.2).d_answer, (value(h) - value(-h)) / (2 * h), 1e-9);
    EXPECT_LT(kto_loss(o, kChosen, desirable, 0.2).d_answer * (desirable ? 1 : -1), 0);
  }
}

TEST(PreferenceLoss, WhereThePolicyIsTheReferenceDpoIsLog2) {
  const Answer same{-5, -5, 3}, other{-7, -7, 2};
  EXPECT_DOUBLE_EQ(pair_loss({}, same, other).value, std::log(2.0));
  EXPECT_DOUBLE_EQ(pair_loss({.beta = 0.1}, same, other).d_chosen, -0.05);
  EXPECT_EQ(pair_loss({}, same, other).reward_chosen, 0);
}

// log(p / (1 − p)) by hand, p the geometric mean of the tokens' probabilities.
TEST(PreferenceLoss, OrpoIsItsDefinition) {
  const double pc = std::exp(-12.5 / 7), pr = std::exp(-9 / 4.0);
  const double log_odds = std::log(pc / (1 - pc)) - std::log(pr / (1 - pr));
  EXPECT_NEAR(pair_loss({.loss = "orpo", .beta = 0.1}, kChosen, kRejected).value,
              12.5 / 7 + 0.1 * std::log1p(std::exp(-log_odds)), 1e-12);
}

TEST(PreferenceLoss, ExtremeMarginsStayFinite) {
  for (const char* name : {"sigmoid", "hinge", "ipo", "orpo", "simpo"})
    for (const double far : {-1e4, 0.0}) {
      const PairLoss l =
          pair_loss({.loss = name, .beta = 1, .label_smoothing = 0.1}, {far, -3, 2}, {-1e4 - far, -4, 2});
      EXPECT_TRUE(std::isfinite(l.value) && std::isfinite(l.d_chosen) && std::isfinite(l.d_rejected)) << name;
    }
}

}  // namespace
}  // namespace sedum
