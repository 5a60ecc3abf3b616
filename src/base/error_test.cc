#include "base/error.h"

#include <array>

#include <gtest/gtest.h>

namespace sedum {
namespace {

TEST(Error, SaysProblemAndMend) {
  EXPECT_STREQ(Error("a.gguf: truncated at byte 12", "fetch it again").what(),
               "a.gguf: truncated at byte 12. fetch it again");
  EXPECT_STREQ(Error("no mend").what(), "no mend");
  EXPECT_STREQ(Error(std::string("no model a\0b\0", 13), "c").what(), "no model a\\0b\\0. c");
  EXPECT_STREQ(ApiError("matmul", "inner sizes differ").what(), "[matmul] inner sizes differ");
}

TEST(Error, EditDistance) {
  EXPECT_EQ(edit_distance("", ""), 0u);
  EXPECT_EQ(edit_distance("", "abc"), 3u);
  EXPECT_EQ(edit_distance("kitten", "sitting"), 3u);
}

TEST(Error, NearestName) {
  const std::array<std::string_view, 3> keys{"learning_rate", "lora_alpha", "seed"};
  EXPECT_EQ(nearest_name("learning_rte", keys), "learning_rate");
  EXPECT_EQ(nearest_name("lora_aplha", keys), "lora_alpha");
  EXPECT_EQ(nearest_name("something_else", keys), "");
}

TEST(ErrorDeathTest, CheckNamesConditionAndPlace) {
  EXPECT_DEATH(SEDUM_CHECK(1 > 2, "numbers"), "error_test.cc:.*1 > 2: numbers");
}

}  // namespace
}  // namespace sedum
