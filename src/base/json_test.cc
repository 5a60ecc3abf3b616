#include "base/json.h"

#include <gtest/gtest.h>

namespace sedum {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;

constexpr const char* kText = R"({"b": [1, 2.5, "é"], "a": null})";

TEST(Json, OrderOfKeys) {
  EXPECT_EQ(parse_json(kText).dump(), R"({"a":null,"b":[1,2.5,"é"]})");
  EXPECT_EQ(parse_json<ordered_json>(kText).dump(), R"({"b":[1,2.5,"é"],"a":null})");
  EXPECT_EQ(try_parse_json(kText), parse_json(kText));
  EXPECT_EQ(try_parse_json<ordered_json>(kText), parse_json<ordered_json>(kText));
}

TEST(Json, WhatIsNone) {
  for (const std::string_view text : {"", "{", "{\"a\": }", "[1] 2", "\"\xFF\"", "nul"}) {
    EXPECT_THROW((void)parse_json(text), json::parse_error) << text;
    EXPECT_THROW((void)parse_json<ordered_json>(text), ordered_json::parse_error) << text;
    EXPECT_TRUE(try_parse_json(text).is_discarded()) << text;
    EXPECT_TRUE(try_parse_json<ordered_json>(text).is_discarded()) << text;
  }
}

TEST(Json, APartOfAText) {  // a view need not end with a NUL
  EXPECT_EQ(parse_json(std::string_view("[1]]").substr(0, 3)).dump(), "[1]");
}

}  // namespace
}  // namespace sedum
