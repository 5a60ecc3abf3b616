#include "data/preference.h"

#include <gmock/gmock.h>

#include "base/error.h"
#include "base/json.h"

namespace sedum::data {
namespace {

using Json = nlohmann::ordered_json;
using ::testing::HasSubstr;

const Origin kOrigin{"pairs.jsonl", 3};

std::string problem(const Json& row, bool single = false) {
  try {
    if (single)
      to_judgement(row, kOrigin);
    else
      to_preference(row, kOrigin);
  } catch (const Error& e) {
    return e.what();
  }
  return "";
}

void expect_pair(const Json& row) {
  const Preference p = to_preference(row, kOrigin);
  ASSERT_GE(p.chosen.messages.size(), 2u) << row;
  EXPECT_EQ(p.chosen.messages[p.chosen.messages.size() - 2], (Message{"user", "2+2?"})) << row;
  EXPECT_EQ(p.chosen.messages.back(), (Message{"assistant", "4"})) << row;
  EXPECT_EQ(p.rejected.messages.back(), (Message{"assistant", "5"})) << row;
  EXPECT_EQ(p.chosen.origin.to_string(), "pairs.jsonl:3");
}

Json user() { return {{"role", "user"}, {"content", "2+2?"}}; }
Json says(const char* text) { return {{"role", "assistant"}, {"content", text}}; }

TEST(Preference, FormsOfTrlAndLlamaFactory) {
  expect_pair({{"prompt", "2+2?"}, {"chosen", "4"}, {"rejected", "5"}});
  expect_pair({{"prompt", Json::array({user()})},
               {"chosen", Json::array({says("4")})},
               {"rejected", Json::array({says("5")})}});
  expect_pair({{"chosen", Json::array({user(), says("4")})}, {"rejected", Json::array({user(), says("5")})}});
  expect_pair({{"instruction", "2+2?"}, {"input", ""}, {"chosen", "4"}, {"rejected", "5"}});
  expect_pair({{"messages", Json::array({user()})}, {"chosen", says("4")}, {"rejected", says("5")}});
  expect_pair({{"conversations", Json::array({{{"from", "human"}, {"value", "2+2?"}}})},
               {"chosen", {{"from", "gpt"}, {"value", "4"}}},
               {"rejected", {{"from", "gpt"}, {"value", "5"}}}});
}

TEST(Preference, Mistakes) {
  EXPECT_THAT(problem({{"prompt", "a"}, {"chosen", "b"}}),
              HasSubstr("pairs.jsonl:3: the row has no column \"rejected\""));
  EXPECT_THAT(problem({{"prompt", "a"}, {"chosen", "b"}, {"rejected", "b"}}), HasSubstr("the same"));
  EXPECT_THAT(problem({{"chosen", "b"}, {"rejected", "c"}}), HasSubstr("no question"));
  EXPECT_THAT(problem({{"prompt", 3}, {"chosen", "b"}, {"rejected", "c"}}), HasSubstr("pairs.jsonl:3"));
  EXPECT_THAT(problem({{"instruction", "a"}, {"chosen", {1, 2}}, {"rejected", "c"}}), HasSubstr("no text"));
}

TEST(Judgement, Forms) {
  EXPECT_TRUE(to_judgement({{"prompt", "2+2?"}, {"completion", "4"}, {"label", true}}, kOrigin).desirable);
  const Judgement bad = to_judgement({{"instruction", "2+2?"}, {"output", "5"}, {"kto_tag", false}}, kOrigin);
  EXPECT_FALSE(bad.desirable);
  EXPECT_EQ(bad.conversation.messages.back().content, "5");
  EXPECT_FALSE(to_judgement({{"messages", Json::array({user(), says("5")})}, {"label", false}}, kOrigin).desirable);
  EXPECT_THAT(problem({{"prompt", "a"}, {"completion", "b"}}, true), HasSubstr("label"));
  EXPECT_THAT(problem({{"messages", Json::array({user()})}, {"label", true}}, true), HasSubstr("pairs.jsonl:3"));
}

}  // namespace
}  // namespace sedum::data
