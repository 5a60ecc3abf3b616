#include "base/progress.h"

#include <gtest/gtest.h>

namespace sedum {
namespace {

TEST(Progress, Bytes) {
  EXPECT_EQ(format_bytes(0), "0 B");
  EXPECT_EQ(format_bytes(999), "999 B");
  EXPECT_EQ(format_bytes(1000), "1.00 kB");
  EXPECT_EQ(format_bytes(98362432), "98.4 MB");
  EXPECT_EQ(format_bytes(999999), "1.00 MB");
}

TEST(Progress, Durations) {
  EXPECT_EQ(format_duration(3.14), "3.1 s");
  EXPECT_EQ(format_duration(59.7), "1 min 00 s");
  EXPECT_EQ(format_duration(125), "2 min 05 s");
  EXPECT_EQ(format_duration(4020), "1 h 07 min");
}

TEST(Progress, Numbers) {
  EXPECT_EQ(format_number(0), "0.00");
  EXPECT_EQ(format_number(1234), "1.23k");
  EXPECT_EQ(format_number(45.64), "45.6");
  EXPECT_EQ(format_number(-0.00123456), "-0.00123");
}

TEST(Progress, PaceIsTakenFromTheFirstReport) {
  const Pace::Time start{};
  const auto at = [&](int seconds) { return start + std::chrono::seconds(seconds); };
  Pace fresh;
  fresh.report(0, at(0));
  EXPECT_LT(fresh.seconds_left(0, 10, at(5)), 0);
  fresh.report(1, at(30));  // thirty seconds of loading and evaluating
  EXPECT_LT(fresh.seconds_left(1, 10, at(30)), 0);
  fresh.report(2, at(32));
  EXPECT_EQ(fresh.seconds_left(2, 10, at(32)), 16);
  Pace resumed;
  resumed.report(0, at(0));
  resumed.report(100, at(1));
  resumed.report(101, at(3));
  EXPECT_EQ(resumed.seconds_left(101, 111, at(3)), 20);
  Pace counted;  // by amounts, from its construction on
  counted.report(0, at(0));
  EXPECT_EQ(counted.seconds_left(5, 10, at(10)), 10);
}

TEST(Progress, QuickWorkIsSilent) {
  ::testing::internal::CaptureStderr();
  {
    Progress p("work", 10);
    p.advance(5);
    p.advance(5);
  }
  EXPECT_EQ(::testing::internal::GetCapturedStderr(), "");
}

}  // namespace
}  // namespace sedum
