#include "infer/stop_text.h"

#include <gtest/gtest.h>

namespace sedum {
namespace {

std::string run(const std::vector<std::string>& stops, const std::vector<std::string>& pieces, bool* found = nullptr) {
  StopText stop(stops);
  std::string out;
  for (const auto& piece : pieces) out += stop.push(piece);
  out += stop.finish();
  if (found) *found = stop.found();
  return out;
}

TEST(StopText, AcrossTheBordersOfPieces) {
  bool found = false;
  EXPECT_EQ(run({"END"}, {"one E", "N", "D two"}, &found), "one ");
  EXPECT_TRUE(found);
}

TEST(StopText, WhatOnlyLooksLikeAStopComesOut) {
  bool found = true;
  EXPECT_EQ(run({"END"}, {"one E", "N", "X two EN"}, &found), "one ENX two EN");
  EXPECT_FALSE(found);
}

TEST(StopText, TheEarliestOfSeveralWins) { EXPECT_EQ(run({"ccc", "b"}, {"aab", "ccc"}), "aa"); }
TEST(StopText, OverlappingBeginnings) { EXPECT_EQ(run({"aab"}, {"aaa", "ab", "x"}), "aa"); }
TEST(StopText, NothingToWatch) { EXPECT_EQ(run({""}, {"a", "b"}), "ab"); }

}  // namespace
}  // namespace sedum
