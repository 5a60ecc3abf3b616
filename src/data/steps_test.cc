#include "data/steps.h"

#include <filesystem>

#include <gtest/gtest.h>
#include <unistd.h>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "data/rows.h"

namespace sedum::data {
namespace {

using Json = nlohmann::ordered_json;

class Steps : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::temp_directory_path() / ("sedum_steps_" + std::to_string(::getpid()));
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::filesystem::path write(const char* name, const std::string& content) {
    write_file(folder_ / name, content);
    return folder_ / name;
  }
  static std::vector<Json> rows(const std::filesystem::path& path) {
    RowReader reader(path);
    std::vector<Json> all;
    while (const auto row = reader.next()) all.push_back(*row->columns);
    return all;
  }
  static Json report_of(const std::filesystem::path& output) {
    return parse_json<Json>(read_file(report_path(output)));
  }

  std::filesystem::path folder_;
};

TEST_F(Steps, CleanKeepsColumnsAndDropsEmpties) {
  const auto in = write("in.json", R"([{"id": 7, "instruction": " Q\u00a0", "output": "A\r\nB ", "note": " kept "},
                                       {"instruction": "Q", "output": "\u200b"},
                                       {"messages": [{"role": "user", "content": " Q "}, {"role": "assistant", "content": "A"}]},
                                       {"instruction": "Q", "output": "A"}])");
  const auto out = folder_ / "out.jsonl";
  const Json report = clean({{in}, out, {}});
  EXPECT_EQ(read_file(out),
            "{\"id\":7,\"instruction\":\"Q\",\"output\":\"A\\nB\",\"note\":\" kept \"}\n"
            "{\"messages\":[{\"role\":\"user\",\"content\":\"Q\"},{\"role\":\"assistant\",\"content\":\"A\"}]}\n"
            "{\"instruction\":\"Q\",\"output\":\"A\"}\n");
  EXPECT_EQ(report["rows_in"], 4);
  EXPECT_EQ(report["rows_out"], 3);
  EXPECT_EQ(report["rows_changed"], 2);
  EXPECT_EQ(report["dropped"], Json::array({in.string() + ", row 2: the row has no answer (output is empty)"}));
  EXPECT_EQ(report_of(out), report);
}

TEST_F(Steps, DamagedFilesLeaveNoOutput) {
  const auto in = write("in.jsonl", "{\"text\": \"a\"}\n{\"text\"");
  EXPECT_THROW(clean({{in}, folder_ / "out.jsonl", {}}), Error);
  EXPECT_FALSE(std::filesystem::exists(folder_ / "out.jsonl"));
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder_), {}), 1);
}

TEST_F(Steps, DedupOverFilesAndInPlace) {
  const auto a = write("a.jsonl", "{\"text\": \"Water it.\"}\n{\"text\": \"Feed it.\"}\n");
  const auto b = write("b.jsonl", "{\"text\": \"water  IT.\"}\n{\"text\": \"Turn it.\"}\n");
  const Json report = dedup({{a, b}, a, {}}, {});
  EXPECT_EQ(read_file(a), "{\"text\":\"Water it.\"}\n{\"text\":\"Feed it.\"}\n{\"text\":\"Turn it.\"}\n");
  EXPECT_EQ(report["exact_duplicates"], 1);
  EXPECT_EQ(report["near_duplicates"], 0);
  EXPECT_EQ(report["dropped"][0]["row"], b.string() + ":1");
  EXPECT_EQ(report["dropped"][0]["repeats"], a.string() + ":1");
}

TEST_F(Steps, DedupByColumn) {
  const auto in = write("in.jsonl",
                        "{\"instruction\": \"Q\", \"output\": \"A\"}\n"
                        "{\"instruction\": \"q\", \"output\": \"something else\"}\n");
  EXPECT_EQ(dedup({{in}, folder_ / "out.jsonl", {}}, {})["rows_out"], 2);
  EXPECT_EQ(dedup({{in}, folder_ / "out.jsonl", {}}, {}, "instruction")["rows_out"], 1);
  EXPECT_THROW(dedup({{in}, folder_ / "out.jsonl", {}}, {}, "topic"), Error);
}

TEST_F(Steps, SplitByFamily) {
  std::string content;
  for (int i = 0; i < 60; ++i)
    content += Json({{"instruction", "Q" + std::to_string(i)}, {"output", "A"}, {"family", i / 3}}).dump() + "\n";
  const auto in = write("in.jsonl", content);
  const auto train = folder_ / "train.jsonl", eval = folder_ / "eval.jsonl";
  const Json report = split({{in}, train, {}}, eval, {.eval_fraction = 0.1}, "family");
  EXPECT_EQ(report["groups"], 20);
  EXPECT_EQ(report["rows_train"], 54);
  EXPECT_EQ(report["rows_eval"], 6);
  for (const Json& held : rows(eval))
    for (const Json& trained : rows(train)) EXPECT_NE(held["family"], trained["family"]);
  const std::string first = read_file(eval);
  split({{in}, train, {}}, eval, {.eval_fraction = 0.1}, "family");
  EXPECT_EQ(read_file(eval), first);
  EXPECT_THROW(split({{in}, train, {}}, train, {}), Error);
}

TEST_F(Steps, SplitKeepsEqualQuestionsTogether) {
  std::string content;
  for (int i = 0; i < 40; ++i)
    content += Json({{"instruction", (i % 2 ? "Question " : "question  ") + std::to_string(i / 2)},
                     {"output", "A" + std::to_string(i)}})
                   .dump() +
               "\n";
  const auto in = write("in.jsonl", content);
  const Json report = split({{in}, folder_ / "train.jsonl", {}}, folder_ / "eval.jsonl", {});
  EXPECT_EQ(report["groups"], 20);
  EXPECT_EQ(report["rows_eval"], 4);
}

TEST_F(Steps, InspectListsEveryMistake) {
  const auto in = write("in.jsonl",
                        "{\"instruction\": \"多肉怎么浇水？\", \"output\": \"干透浇透。\"}\n"
                        "{\"instruction\": \"Q\", \"output\": \"\"}\n"
                        "{\"text\": \"How to water\"}\n"
                        "{\"text\": \"how to water\"}\n"
                        "{\"textt\": \"x\"}\n");
  const Json report = inspect({{in}, folder_ / "report.json", {}});
  EXPECT_EQ(report["rows"], 5);
  EXPECT_EQ(report["rows_good"], 3);
  EXPECT_EQ(report["problems"].size(), 2u);
  EXPECT_EQ(report["columns"]["instruction"], 2);
  EXPECT_EQ(report["forms"]["text"], 2);
  EXPECT_EQ(report["languages"]["zh"], 1);
  EXPECT_EQ(report["languages"]["latin"], 2);
  EXPECT_EQ(report["exact_repetitions"], 1);
  EXPECT_EQ(report["characters"]["prompt"]["max"], 7);
  EXPECT_EQ(report["characters"]["answer"]["sum"], 5);
  EXPECT_EQ(report["examples"].size(), 3u);
  EXPECT_EQ(parse_json<Json>(read_file(folder_ / "report.json")), report);
}

}  // namespace
}  // namespace sedum::data
