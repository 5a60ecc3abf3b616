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
