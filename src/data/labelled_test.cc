#include "data/labelled.h"

#include <gmock/gmock.h>
#include <unistd.h>

#include "base/error.h"
#include "base/file.h"

namespace sedum::data {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class LabelledRows : public ::testing::Test {
 protected:
  ~LabelledRows() override { std::filesystem::remove(path_); }
  std::vector<Labelled> read(const std::string& text, bool need_labels = true) {
    write_file(path_, text);
    return read_labelled(path_, need_labels);
  }
  std::string problem(const std::string& text) {
    try {
      read(text);
    } catch (const Error& e) {
      return e.what();
    }
    return "";
  }
  std::filesystem::path path_ =
      std::filesystem::temp_directory_path() / ("labelled." + std::to_string(getpid()) + ".jsonl");
};

TEST_F(LabelledRows, TextsAndWords) {
  const auto texts = read(R"({"text": "a", "label": "good"}
{"text": "", "label": true}
{"text": "c", "label": "bad"})");
  EXPECT_THAT(label_names(texts), ElementsAre("bad", "good", "true"));
  const auto words = read(R"({"tokens": ["Ada", "sleeps"], "labels": ["B-PER", "O"]})");
  EXPECT_THAT(words[0].tokens, ElementsAre("Ada", "sleeps"));
  EXPECT_THAT(words[0].labels, ElementsAre("B-PER", "O"));
  EXPECT_TRUE(read(R"({"text": "a"})", false)[0].labels.empty());
}

TEST_F(LabelledRows, NumbersAreOrderedByValue) {
  const auto rows = read(R"({"text": "a", "label": 10}
{"text": "b", "label": 9}
{"text": "c", "label": -1})");
  EXPECT_THAT(label_names(rows), ElementsAre("-1", "9", "10"));
}

TEST_F(LabelledRows, WhatIsWrongIsNamed) {
  EXPECT_THAT(problem(R"({"text": "a"})"), HasSubstr("\"label\" is missing"));
  EXPECT_THAT(problem(R"({"text": "a", "label": 0.5})"), HasSubstr("is none"));
  EXPECT_THAT(problem(R"({"label": 1})"), HasSubstr("text and label"));
  EXPECT_THAT(problem(R"({"tokens": ["a", "b"], "labels": ["O"]})"), HasSubstr("2 tokens have 1 labels"));
  EXPECT_THAT(problem(R"({"text": "a", "label": 1}
{"tokens": ["a"], "labels": [1]})"),
              HasSubstr("mixed"));
}

TEST(LabelScores, AccuracyAndF1) {
  // Class 0: 2 hits of 3 truths and 2 guesses, F1 0.8; class 1: 1 of 1 and 2, 2/3; class 2 does not occur.
  const LabelScores s = score_labels({{0}, {0}, {0}, {1}}, {{0}, {0}, {1}, {1}}, {"a", "b", "c"});
  EXPECT_DOUBLE_EQ(s.accuracy, 0.75);
  EXPECT_DOUBLE_EQ(s.macro_f1, (0.8 + 2.0 / 3) / 2);
  EXPECT_FALSE(s.entity_f1);
  EXPECT_DOUBLE_EQ(s.f1(), s.macro_f1);
}

TEST(LabelScores, EntitiesMustBeWhole) {
  const std::vector<std::string> names{"O", "B-PER", "I-PER", "B-LOC"};
  // Truth: PER over words 0 and 1, LOC at 3. Predicted: PER over word 0 alone, LOC at 3, PER at 4, begun by an I.
  const LabelScores s = score_labels({{1, 2, 0, 3, 0}}, {{1, 0, 0, 3, 2}}, names);
  EXPECT_DOUBLE_EQ(s.accuracy, 0.6);
  EXPECT_DOUBLE_EQ(s.entity_f1.value(), 2 * 1.0 / (2 + 3));
  // Two entities side by side are two.
  EXPECT_DOUBLE_EQ(score_labels({{1, 1}}, {{1, 2}}, names).entity_f1.value(), 0);
}

}  // namespace
}  // namespace sedum::data
