#include "data/rows.h"

#include <cstdlib>
#include <filesystem>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"

namespace sedum::data {
namespace {

using Json = nlohmann::ordered_json;
using testing::HasSubstr;

std::vector<Conversation> read_all(const std::string& content, const std::string& name = "mine.jsonl") {
  RowReader reader(content, name);
  std::vector<Conversation> all;
  while (const auto row = reader.next()) all.push_back(to_conversation(*row));
  return all;
}

// The whole message that reading `content` ends in, or "" if it does not.
std::string error_of(const std::string& content, const std::string& name = "mine.jsonl") {
  try {
    read_all(content, name);
  } catch (const Error& e) {
    return e.problem() + " | " + e.mend();
  }
  return "";
}

const std::vector<Message> kQuestionAnswer = {{"user", "Q"}, {"assistant", "A"}};

TEST(Rows, AlpacaForm) {
  const auto rows = read_all(R"({"instruction": "Q", "input": "", "output": "A"})");
  ASSERT_EQ(rows.size(), 1u);
  EXPECT_EQ(rows[0].messages, kQuestionAnswer);
  EXPECT_EQ(rows[0].origin.to_string(), "mine.jsonl:1");
  EXPECT_EQ(read_all(R"({"instruction": "Q", "input": "I", "output": "A"})")[0].messages[0].content, "Q\nI");
  EXPECT_EQ(read_all(R"({"instruction": "", "input": "I", "output": "A"})")[0].messages[0].content, "I");
  EXPECT_EQ(read_all(R"({"instruction": "Q", "input": null, "output": "A", "topic": 3})")[0].messages, kQuestionAnswer);
}

TEST(Rows, AlpacaSystemAndHistory) {
  const auto row =
      read_all(R"({"system": "S", "history": [["q1", "a1"], ["q2", "a2"]], "instruction": "Q", "output": "A"})")[0];
  const std::vector<Message> expected = {{"system", "S"},     {"user", "q1"}, {"assistant", "a1"}, {"user", "q2"},
                                         {"assistant", "a2"}, {"user", "Q"},  {"assistant", "A"}};
  EXPECT_EQ(row.messages, expected);
}

TEST(Rows, ChatForms) {
  EXPECT_EQ(read_all(R"({"messages": [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}]})")[0]
                .messages,
            kQuestionAnswer);
  EXPECT_EQ(
      read_all(R"({"conversations": [{"from": "human", "value": "Q"}, {"from": "gpt", "value": "A"}]})")[0].messages,
      kQuestionAnswer);
  const auto parts = read_all(
      R"({"messages": [{"role": "user", "content": [{"type": "text", "text": "Q"}]}, {"role": "assistant", "content": "A"}], "tools": []})");
  EXPECT_EQ(parts[0].messages, kQuestionAnswer);
}

TEST(Rows, PlainText) {
  const auto row = read_all(R"({"text": "Once upon a time"})")[0];
  EXPECT_TRUE(row.is_text());
  EXPECT_EQ(row.text, "Once upon a time");
  // Stanford's Alpaca has the rendered prompt in `text` beside the columns.
  EXPECT_FALSE(read_all(R"({"text": "x", "instruction": "Q", "output": "A"})")[0].is_text());
}

TEST(Rows, LinesAreCountedThroughMarksAndBlanks) {
  const auto rows = read_all("\xEF\xBB\xBF{\"text\": \"a\"}\r\n\r\n  \n{\"text\": \"b\"}\r\n{\"text\": \"c\"}");
  ASSERT_EQ(rows.size(), 3u);
  EXPECT_EQ(rows[0].origin.line, 1);
  EXPECT_EQ(rows[1].origin.line, 4);
  EXPECT_EQ(rows[2].origin.line, 5);
  EXPECT_EQ(rows[2].text, "c");
  EXPECT_TRUE(read_all("").empty());
  EXPECT_TRUE(read_all("\n\n").empty());
}

TEST(Rows, ArrayIsToldByItsFirstCharacter) {
  const auto rows = read_all(" [\n {\"text\": \"a, ]}\\\"\"},\n {\"text\": \"b\"}\n]\n", "mine.json");
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_EQ(rows[0].text, "a, ]}\"");
  EXPECT_EQ(rows[1].origin.to_string(), "mine.json, row 2");
  EXPECT_TRUE(read_all("[]", "mine.json").empty());
  EXPECT_TRUE(read_all("[ \n ]", "mine.json").empty());
}

TEST(Rows, BadArrays) {
  const auto error = [](const char* content) { return error_of(content, "mine.json"); };
  const char* const mend = " | check the brackets and commas, or write one JSON object a line";
  EXPECT_EQ(
      error(R"([{"text": "a"}, {"text": "b"})"),
      "mine.json, row 2: the array is not closed: the file ends too early | get the whole file, or end it with ]");
  EXPECT_EQ(error(R"([{"text": "a"}, {"text": "b)"),
            "mine.json, row 2: the file ends inside this row | get the whole file, or remove the row");
  EXPECT_EQ(
      error(R"([{"text": "a"} {"text": "b"}])"),
      std::string(
          "mine.json, row 1: after the row, a comma or ] is expected, near: [{\"text\": \"a\"} {\"text\": \"b\"}]") +
          mend);
  EXPECT_EQ(error(R"([{"text": "a"}, ])"), "mine.json, row 1: a comma, and no row after it | remove the comma");
  EXPECT_EQ(error(R"([{"text": "a"}] x)"),
            std::string("mine.json, row 1: text after the end of the array, near: [{\"text\": \"a\"}] x") + mend);
  EXPECT_EQ(error("[1]"),
            "mine.json, row 1: the row is a number, not an object | write {\"instruction\": …, \"output\": …}");
  EXPECT_THAT(error("[,]"), HasSubstr("mine.json, row 1: not valid JSON"));
  EXPECT_THAT(error("["), HasSubstr("the array is not closed"));
  EXPECT_THAT(error("[}"), HasSubstr("mine.json, row 1: not valid JSON"));
}

TEST(Rows, BadJsonSaysWhere) {
  EXPECT_EQ(error_of("{\"text\": \"a\"}\n{'text': 'b'}\n"),
            "mine.jsonl:2: not valid JSON at character 2, near: {'text': 'b'} | "
            "quote keys and texts with \", and escape \" and line breaks inside them");
  EXPECT_EQ(error_of("{\"text\": \"多肉\" \"b\"}"),
            "mine.jsonl:1: not valid JSON at character 17, near: xt\": \"多肉\" \"b\"} | "
            "quote keys and texts with \", and escape \" and line breaks inside them");
  EXPECT_EQ(error_of("{\"text\": \"a"),
            "mine.jsonl:1: not valid JSON: the row ends too early | a row is one JSON object, on one line");
  EXPECT_EQ(error_of("{\"text\": 1e999}"),
            "mine.jsonl:1: not valid JSON: a number is out of range | write it as text, or remove it");
  EXPECT_THAT(error_of("{\"text\": \"\\ud800\"}"), HasSubstr("mine.jsonl:1: not valid JSON"))
      << "half a surrogate pair";
  EXPECT_THAT(error_of("{\"text\": \"a\"} {\"text\": \"b\"}"),
              HasSubstr("mine.jsonl:1: not valid JSON at character 15"));
  EXPECT_THAT(error_of(std::string("{\"text\": \"a\0b\"}", 15)), HasSubstr("mine.jsonl:1: not valid JSON"));
  EXPECT_EQ(error_of("\"a\""),
            "mine.jsonl:1: the row is a string, not an object | write {\"instruction\": …, \"output\": …}");
}

TEST(Rows, BadBytes) {
  EXPECT_EQ(error_of("{\"text\": \"a\"}\n{\"text\": \"\xB6\xE0\"}"),
            "mine.jsonl:2: not UTF-8: byte 11 of the row | save the file as UTF-8 (it may be GB18030 or Latin-1)");
  EXPECT_EQ(error_of("\xFF\xFE{"), "mine.jsonl: the file is UTF-16 | save it as UTF-8");
}

TEST(Rows, DeepAndWideRowsAreRefused) {
  const std::string deep = "{\"text\": " + std::string(1'000'000, '[') + std::string(1'000'000, ']') + "}";
  EXPECT_EQ(error_of(deep), "mine.jsonl:1: the row is nested deeper than 64 levels | flatten or remove it");
  EXPECT_EQ(error_of("[" + deep + "]"),
            "mine.jsonl, row 1: the row is nested deeper than 64 levels | flatten or remove it");
  std::string wide = "{\"text\": \"a\"";
  for (int i = 0; i < kMaxKeys; ++i) wide += ",\"k" + std::to_string(i) + "\":0";
  EXPECT_EQ(error_of(wide + "}"), "mine.jsonl:1: the row has more than 10000 keys | split or remove it");
  EXPECT_THAT(error_of(std::string(1'000'000, '{')), HasSubstr("nested deeper"));
}

TEST(Rows, MissingQuestionOrAnswer) {
  EXPECT_EQ(error_of("\n{\"instruction\": \"Q\", \"input\": \"\", \"output\": \" \"}"),
            "mine.jsonl:2: the row has no answer (output is empty) | fill \"output\", or remove the row");
  EXPECT_EQ(error_of(R"({"instruction": "Q"})"),
            "mine.jsonl:1: the row has no answer (output is missing) | fill \"output\", or remove the row");
  EXPECT_EQ(error_of(R"({"instruction": "Q", "outptu": "A"})"),
            "mine.jsonl:1: the row has no answer (output is missing) | rename \"outptu\" to \"output\"");
  EXPECT_EQ(error_of(R"({"instruction": "", "output": "A"})"),
            "mine.jsonl:1: the row has no question (instruction is empty) | fill \"instruction\", or remove the row");
  EXPECT_EQ(error_of(R"({"text": ""})"),
            "mine.jsonl:1: the row has no text (text is empty) | fill \"text\", or remove the row");
  EXPECT_EQ(error_of(R"({"messages": [{"role": "user", "content": "Q"}]})"),
            "mine.jsonl:1: the row has no answer (the last message is of the role \"user\") | add an assistant's "
            "message, or remove the row");
  EXPECT_EQ(
      error_of(R"({"messages": [{"role": "assistant", "content": "A"}]})"),
      "mine.jsonl:1: the row has no question (no message is the user's) | add a user's message, or remove the row");
  EXPECT_EQ(error_of(R"({"messages": [{"role": "user", "content": "Q"}, {"role": "assistant", "content": null}]})"),
            "mine.jsonl:1: the row has no answer (message 2 is empty) | fill \"content\", or remove the row");
  EXPECT_EQ(error_of(R"({"messages": []})"),
            "mine.jsonl:1: the row has no messages | add a user's and an assistant's message, or remove the row");
}

TEST(Rows, WrongTypesAndNames) {
  EXPECT_EQ(error_of(R"({"instruction": "Q", "output": 5})"),
            "mine.jsonl:1: column \"output\" holds a number instead of text | put it in quotes");
  EXPECT_EQ(error_of(R"({"instruction": "Q", "output": ["A"]})"),
            "mine.jsonl:1: column \"output\" holds an array instead of text | put it in quotes");
  EXPECT_EQ(error_of(R"({"instrution": "Q"})"),
            "mine.jsonl:1: the row has no column that is known here (it has: instrution) | rename \"instrution\" to "
            "\"instruction\"");
  EXPECT_EQ(error_of(R"({"zzzzzzzzz": 1, "b": 2})"),
            "mine.jsonl:1: the row has no column that is known here (it has: zzzzzzzzz, b) | "
            "use instruction/input/output, messages, conversations or text");
  EXPECT_THAT(error_of("{}"), HasSubstr("mine.jsonl:1: the row has no columns | use instruction"));
  EXPECT_EQ(error_of(R"({"messages": [{"role": "asistant", "content": "A"}]})"),
            "mine.jsonl:1: message 1 has the role \"asistant\", which is not known | did you mean \"assistant\"?");
  EXPECT_EQ(error_of(R"({"messages": [{"content": "A"}]})"),
            "mine.jsonl:1: message 1 has no \"role\" | say who speaks: \"user\" or \"assistant\"");
  EXPECT_EQ(
      error_of(R"({"messages": [{"role": "user", "content": "Q"}, {"role": "system", "content": "S"}]})"),
      "mine.jsonl:1: message 2 is a system message, but not the first | put one system message before all others");
  EXPECT_EQ(error_of(R"({"messages": "Q"})"),
            "mine.jsonl:1: column \"messages\" must be a list of messages | write [{\"role\": …, \"content\": …}, …]");
  EXPECT_EQ(error_of(R"({"instruction": "Q", "output": "A", "history": [["q"]]})"),
            "mine.jsonl:1: column \"history\" must be a list of [question, answer] | remove the column, or write "
            "[[\"question\", \"answer\"], …]");
  EXPECT_THAT(
      error_of(R"({"messages": [{"role": "user", "content": "Q"}, {"role": "assistant", "tool_calls": [{}]}]})"),
      HasSubstr("message 2 calls a tool"));
  EXPECT_THAT(error_of(R"({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]})"),
              HasSubstr("message 1 has a part that is no text"));
}

TEST(Rows, RenamedColumns) {
  const ColumnNames names = ColumnNames::from_map({{"prompt", "question"}, {"response", "answer"}});
  const Json row = {{"question", "Q"}, {"answer", "A"}};
  EXPECT_EQ(to_conversation(row, {"x", 1}, names).messages, kQuestionAnswer);
  EXPECT_THROW(to_conversation(row, {"x", 1}), Error);
  try {
    ColumnNames::from_map({{"respose", "answer"}});
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.problem(), "columns: \"respose\" is not known");
    EXPECT_EQ(e.mend(), "did you mean \"response\"?");
  }
}

TEST(Rows, RoundTrips) {
  const Json row = {{"instruction", "Q"},
                    {"input", ""},
                    {"output", "A\n多肉"},
                    {"system", "S"},
                    {"history", Json::array({Json::array({"q1", "a1"})})}};
  const Conversation c = to_conversation(row, {"x", 1});
  EXPECT_EQ(to_alpaca(c), row);
  EXPECT_EQ(to_conversation(to_alpaca(c), {"x", 1}).messages, c.messages);
  EXPECT_EQ(to_conversation(to_chat(c), {"x", 1}).messages, c.messages);
  const Conversation twice = {{{"user", "a"}, {"user", "b"}, {"assistant", "c"}}, "", {"x", 3}};
  EXPECT_EQ(to_conversation(to_chat(twice), {"x", 3}).messages, twice.messages);
  EXPECT_THROW(to_alpaca(twice), Error);
  const Conversation text = {{}, "plain", {"x", 4}};
  EXPECT_EQ(to_conversation(to_chat(text), {"x", 4}).text, "plain");
  EXPECT_EQ(joined_text(twice), "a\nb\nc");
}

TEST(Rows, FilesByPath) {
  const auto folder = std::filesystem::temp_directory_path() / ("sedum_rows_" + std::to_string(::getpid()));
  std::filesystem::create_directories(folder);
  write_file(folder / "a.txt", "[not JSON]\nat all");
  const auto text = read_conversations(folder / "a.txt");
  ASSERT_EQ(text.size(), 1u);
  EXPECT_EQ(text[0].text, "[not JSON]\nat all");
  write_file(folder / "empty.jsonl", "\n");
  EXPECT_THROW(read_conversations(folder / "empty.jsonl"), Error);
  EXPECT_THROW(read_conversations(folder / "missing.jsonl"), Error);
  std::filesystem::remove_all(folder);
}

TEST(Rows, PublicInstructionSets) {
  const char* data = std::getenv("SEDUM_TEST_DATA");
  if (!data) GTEST_SKIP() << "SEDUM_TEST_DATA is not set";
  const auto folder = std::filesystem::path(data) / "instructions";
  EXPECT_EQ(read_conversations(folder / "alpaca_en_demo.json").size(), 999u);
  EXPECT_EQ(read_conversations(folder / "alpaca_zh_demo.json").size(), 1000u);
}

}  // namespace
}  // namespace sedum::data
