#include "text/training/tokenizer_trainer.h"

#include <algorithm>
#include <map>
#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "text/tokenizer_json.h"
#include "text/training/unigram_seeds.h"

namespace sedum {
namespace {

namespace fs = std::filesystem;

const nlohmann::json& golden() {
  static const auto json = parse_json(read_file(fs::path(SEDUM_SOURCE_DIR) / "tests/golden/text/training.json"));
  return json;
}

class Training : public testing::Test {
 protected:
  void SetUp() override {
    path = fs::temp_directory_path() / ("sedum-training-" + std::to_string(::getpid()) + ".txt");
    write_file(path, golden()["corpus"].get<std::string>());
  }
  void TearDown() override { fs::remove(path); }
  TokenizerTrainingResult train(const TokenizerTraining& options, int threads = 2) {
    ThreadPool pool(threads);
    return train_tokenizer(std::span(&path, 1), options, pool);
  }
  size_t tokens(const TokenizerSpec& spec) const {
    const Tokenizer tokenizer(spec);
    size_t n = 0;
    std::istringstream lines(golden()["corpus"].get<std::string>());
    for (std::string line; std::getline(lines, line);) n += tokenizer.encode(line).size();
    return n;
  }
  fs::path path;
};

TEST_F(Training, BpeMergesAreThoseOfHuggingFace) {
  for (const auto& [size, expected] : golden()["bpe"].items()) {
    TokenizerTraining options;
    options.vocab_size = std::stoul(size), options.min_frequency = expected["min_frequency"];
    const TokenizerSpec spec = train(options).spec;
    EXPECT_EQ(spec.tokens, expected["tokens"].get<std::vector<std::string>>()) << size;
    EXPECT_EQ(spec.merges, expected["merges"].get<std::vector<std::string>>()) << size;
  }
}

TEST_F(Training, ThreadsChangeNothing) {
  for (const char* type : {"bpe", "unigram", "wordpiece"}) {
    TokenizerTraining options;
    options.type = type, options.vocab_size = 700;
    EXPECT_EQ(write_tokenizer_json(train(options, 1).spec), write_tokenizer_json(train(options, 3).spec)) << type;
  }
}

// Their trainers have no one right answer: as few tokens for the text, but for a hundredth part.
TEST_F(Training, UnigramAndWordPieceAreAsGoodAsHuggingFaces) {
  for (const char* type : {"unigram", "wordpiece"}) {
    TokenizerTraining options;
    options.type = type, options.vocab_size = 1500;
    const TokenizerSpec spec = train(options).spec;
    EXPECT_LE(spec.tokens.size(), 1500u);
    EXPECT_LE(double(tokens(spec)), 1.01 * golden()[type].get<double>()) << type;
    const Tokenizer tokenizer(parse_tokenizer_json(write_tokenizer_json(spec)));
    EXPECT_EQ(tokenizer.encode("Do you water it?"), Tokenizer(spec).encode("Do you water it?"));
    const std::vector<int32_t> ids = tokenizer.encode("botchan was here");
    EXPECT_THAT(ids, testing::Not(testing::Contains(spec.unk)));
    EXPECT_EQ(tokenizer.decode(ids), "botchan was here");
  }
}

// A word that comes again is a candidate though it has one form: "abab" three times, "cab" twice, "once" once.
TEST(UnigramSeeds, AreWhatStandsInSeveralPlacesOfTheText) {
  const WordCounts words = {{"abab", 3}, {"cab", 2}, {"once", 1}};
  ThreadPool pool(2);
  std::map<std::string, double> found;
  for (const auto& [text, score] : unigram_seeds(words, 16, 100, pool))
    if (text.size() > 1) found[text] = score;
  EXPECT_EQ(found, (std::map<std::string, double>{{"ab", 8 * 2}, {"abab", 3 * 4}, {"bab", 3 * 3}, {"cab", 2 * 3}}));
}

// What every reader of JSON takes for the same number.
TEST_F(Training, UnigramScoresHaveAtMostFifteenDigits) {
  TokenizerTraining options;
  options.type = "unigram", options.vocab_size = 700;
  const auto json = parse_json(write_tokenizer_json(train(options).spec));
  ASSERT_EQ(json["model"]["vocab"].size(), 700u);
  for (const auto& entry : json["model"]["vocab"]) {
    const std::string score = entry[1].dump();
    EXPECT_LE(std::count_if(score.begin(), score.end(), [](char c) { return c >= '0' && c <= '9'; }), 15) << score;
  }
}

TEST_F(Training, RefusesWhatCannotBe) {
  TokenizerTraining options;
  options.type = "words";
  EXPECT_THROW(train(options), Error);
  options.type = "bpe", options.vocab_size = 100;
  EXPECT_THROW(train(options), Error);
  options.vocab_size = 1000, options.pre_tokenizer = "gpt-3";
  EXPECT_THROW(train(options), Error);
  write_file(path, std::string());
  EXPECT_THROW(train(TokenizerTraining()), Error);
}

}  // namespace
}  // namespace sedum
