#include "eval/compare.h"

#include <gmock/gmock.h>

#include "base/json.h"
#include "infer/chat.h"
#include "infer/local_engine.h"
#include "model/model_testing.h"

namespace sedum {
namespace {

using ::testing::HasSubstr;

std::vector<data::Message> question(const std::string& json) {
  data::RowReader reader(json, "q.jsonl");
  return question_of(*reader.next());
}

TEST(Compare, WhatARowAsks) {
  EXPECT_EQ(question(R"({"instruction": "A?", "output": "B"})").back().content, "A?");
  EXPECT_EQ(question(R"({"instruction": "A?", "input": "x"})").back().content, "A?\nx");
  const auto turns = question(
      R"({"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "a"}, )"
      R"({"role": "assistant", "content": "b"}, {"role": "user", "content": "c"}, {"role": "assistant", "content": "d"}]})");
  ASSERT_EQ(turns.size(), 4u);
  EXPECT_EQ(turns.back().content, "c");
  EXPECT_EQ(turns.front().role, "system");
}

TEST(Compare, ARowThatAsksNothing) {
  for (const char* row :
       {R"({"output": "B"})", R"({"messages": []})", R"({"messages": [{"role": "assistant", "content": "x"}]})"})
    EXPECT_THAT(testing::problem_of([&] { question(row); }), HasSubstr("q.jsonl:1")) << row;
}

TEST(Compare, TableHoldsTogether) {
  EXPECT_EQ(comparison_markdown({{"a|b", "two\nlines", "c"}}, "base", "tuned"),
            "| question | base | tuned |\n|---|---|---|\n| a\\|b | two<br>lines | c |\n");
}

TEST(Compare, AnswersAreThoseOfTheEngine) {
  Runtime runtime(1);
  const RuntimeModel model(runtime, testing::tiny_model(), {.compute = Compute::kF32});
  LocalEngine engine(model, {});
  std::vector<std::vector<data::Message>> questions;
  for (const char* text : {"Hi", "Soil?", "多肉"}) questions.push_back({{"user", text}});
  const auto answers = EngineGenerator(engine, "Be short.").generate(questions, {.max_tokens = 9});
  ASSERT_EQ(answers.size(), 3u);
  for (size_t i = 0; i < 3; ++i) {
    const nlohmann::ordered_json messages{{{"role", "system"}, {"content", "Be short."}},
                                          {{"role", "user"}, {"content", questions[i][0].content}}};
    EXPECT_EQ(answers[i], generate(engine, {chat_prompt(engine, messages), {.temperature = 0, .max_tokens = 9}}).text);
  }
}

}  // namespace
}  // namespace sedum
