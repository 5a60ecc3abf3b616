#include "serve/store/history.h"

#include <filesystem>
#include <vector>

#include <gmock/gmock.h>
#include <unistd.h>

#include "base/error.h"
#include "base/file.h"

namespace sedum::serve {
namespace {

using json = nlohmann::ordered_json;

struct HistoryTest : ::testing::Test {
  HistoryTest()
      : path(std::filesystem::temp_directory_path() / ("sedum_history_" + std::to_string(::getpid())) / "h.sqlite") {
    std::filesystem::remove_all(path.parent_path());
    history = std::make_unique<History>(path);
  }
  ~HistoryTest() override { std::filesystem::remove_all(path.parent_path()); }
  std::vector<json> rows(Export kind, const std::string& owner = "") const {
    std::vector<json> all;
    history->export_rows(kind, owner, [&](const json& row) { all.push_back(row); });
    return all;
  }
  const std::filesystem::path path;
  std::unique_ptr<History> history;
};

const json kQuestion = {{{"role", "user"}, {"content", "浇水？"}}};

TEST_F(HistoryTest, KeepsConversationsByOwner) {
  history->save("a", "1", "Water", R"([{"role":"user","content":"x'; DROP TABLE conversations; --"}])");
  history->save("b", "1", "Light", "[]");
  history->save("a", "1", "Watering", "[1]");
  history = std::make_unique<History>(path);  // on disk
  ASSERT_EQ(history->list("a").size(), 1u);
  EXPECT_EQ(history->list("a")[0]["title"], "Watering");
  EXPECT_EQ((*history->load("a", "1"))["turns"], json({1}));
  EXPECT_EQ((*history->load("b", "1"))["title"], "Light");
  EXPECT_FALSE(history->load("c", "1"));
  EXPECT_FALSE(history->erase("c", "1"));
  EXPECT_TRUE(history->erase("a", "1"));
  EXPECT_FALSE(history->load("a", "1"));
  EXPECT_TRUE(history->load("b", "1"));
}

TEST_F(HistoryTest, ExportsWhatCanBeTrainedOn) {
  history->rate("a", {.model = "m", .messages = kQuestion, .answer = "good"});
  history->rate("a", {.model = "m", .messages = kQuestion, .answer = "bad", .liked = false});
  history->rate("b", {.model = "m", .messages = kQuestion, .answer = "wrong", .liked = false, .correction = "right"});
  history->vote(
      "a",
      {.messages = kQuestion, .model_a = "m", .model_b = "n", .answer_a = "one", .answer_b = "two", .winner = "b"});
  history->vote(
      "a",
      {.messages = kQuestion, .model_a = "m", .model_b = "n", .answer_a = "one", .answer_b = "two", .winner = "tie"});
  const auto examples = rows(Export::kExamples);
  ASSERT_EQ(examples.size(), 2u);
  EXPECT_EQ(examples[0].dump(),
            R"({"messages":[{"role":"user","content":"浇水？"},{"role":"assistant","content":"good"}]})");
  EXPECT_EQ(examples[1]["messages"][1]["content"], "right");
  const auto preferences = rows(Export::kPreferences);
  ASSERT_EQ(preferences.size(), 2u);
  EXPECT_EQ(preferences[0]["chosen"][0]["content"], "right");
  EXPECT_EQ(preferences[0]["rejected"][0]["content"], "wrong");
  EXPECT_EQ(preferences[1]["chosen"][0]["content"], "two");
  EXPECT_EQ(rows(Export::kAll).size(), 5u);
  EXPECT_EQ(rows(Export::kAll, "b").size(), 1u);
  EXPECT_EQ(history->standings().dump(),
            R"([{"model":"n","wins":1,"losses":0,"ties":1},{"model":"m","wins":0,"losses":1,"ties":1}])");
}

TEST_F(HistoryTest, AFileThatIsNoneIsRefused) {
  const auto other = path.parent_path() / "x.sqlite";
  write_file(other, std::string(5000, 'x'));
  EXPECT_THROW(History{other}, Error);
  EXPECT_THROW(History{path / "below" / "a.sqlite"}, Error);
}

}  // namespace
}  // namespace sedum::serve
