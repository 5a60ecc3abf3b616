#include "text/training/word_counts.h"

#include <algorithm>
#include <map>
#include <memory>

#include <gtest/gtest.h>
#include <unistd.h>

#include "base/file.h"
#include "text/pre_tokenizer.h"
#include "text/training/tokenizer_trainer.h"

namespace sedum {
namespace {

namespace fs = std::filesystem;

class Counting : public testing::Test {
 protected:
  void TearDown() override { fs::remove(path); }
  fs::path path = fs::temp_directory_path() / ("sedum-counting-" + std::to_string(::getpid()) + ".txt");
};

LineCutter cutter(const std::string& name) {
  const auto splitter = std::make_shared<const PatternSplitter>(pre_tokenizer_patterns(name));
  return [splitter](std::string_view line, WordTable& words) {
    for (const std::string_view piece : splitter->split(line)) words.add(piece, piece.size(), 1);
  };
}

// Megabytes without a line break, of words, numbers, marks, runs of spaces and Chinese in a period that is no power of two.
std::string one_line(size_t bytes) {
  std::string text;
  for (size_t i = 0; text.size() < bytes; i++)
    text += "it's the " + std::to_string(i % 977) + " th word,  (or two)   don't " + std::string(1 + i % 3, 'x') +
            " 多肉植物，少浇水。The end. 9 8 ";
  return text;
}

TEST_F(Counting, WhereALongLineIsCutChangesNoWord) {
  const std::string text = one_line(5u << 20);
  write_file(path, text);
  for (const char* name : {"gpt-2", "qwen2", "gpt-4o", "kimi-k2", "deepseek-v3", "falcon", "bloom"}) {
    WordTable whole;
    const LineCutter cut = cutter(name);
    cut(text, whole);
    std::map<std::string, uint64_t> expected;
    whole.for_each([&](std::string_view word, uint64_t count) { expected[std::string(word)] = count; });
    ThreadPool pool(2);
    const WordCounts counts = count_words(std::span(&path, 1), pool, cut);
    EXPECT_EQ((std::map<std::string, uint64_t>(counts.begin(), counts.end())), expected) << name;
  }
}

TEST_F(Counting, APartOfALineHasAtMost256Kibibytes) {
  const std::string pieces[] = {one_line(9u << 20), std::string(9 << 20, 'a'), [] {
                                  std::string text;
                                  while (text.size() < (9u << 20)) text += "肉";
                                  return text;
                                }()};
  for (const std::string& text : pieces) {
    write_file(path, text + "\nshort\n");
    ThreadPool pool(1);
    size_t bytes = 0, longest = 0, parts = 0, broken = 0;
    count_words(std::span(&path, 1), pool, [&](std::string_view line, WordTable&) {
      bytes += line.size(), longest = std::max(longest, line.size()), parts++;
      broken += (static_cast<unsigned char>(line[0]) & 0xC0) == 0x80;
    });
    EXPECT_EQ(bytes, text.size() + 7);
    EXPECT_LE(longest, 256u << 10);
    EXPECT_GE(parts, 36u);
    EXPECT_EQ(broken, 0u);
  }
}

TEST_F(Counting, ALineOf128KibibytesStaysWhole) {
  std::string text((4 << 20) - (192 << 10), 'b');
  const std::string line = [] {
    std::string words;
    while (words.size() < (128u << 10) - 4) words += "ab ";
    return words + "\n";
  }();
  text += "\n" + line + line;
  write_file(path, text);
  ThreadPool pool(1);
  int whole = 0;
  count_words(std::span(&path, 1), pool, [&](std::string_view each, WordTable&) { whole += each == line; });
  EXPECT_EQ(whole, 2);
}

TEST_F(Counting, TheTrainersSeeTheSameWordsWithoutLineBreaks) {
  std::string text;
  size_t words = 0;
  for (size_t i = 0; text.size() < (9u << 20); i++, words += 3)
    text += (i ? " " : "") + std::string("water") + std::string(1, char('a' + i % 26)) + " the sedum";
  write_file(path, text);
  ThreadPool pool(2);
  for (const char* type : {"bpe", "unigram", "wordpiece"}) {
    TokenizerTraining options;
    options.type = type, options.vocab_size = 300;
    const TokenizerTrainingResult result = train_tokenizer(std::span(&path, 1), options, pool);
    EXPECT_EQ(result.words, words) << type;
    EXPECT_LE(result.distinct_words, 29u) << type;
  }
}

}  // namespace
}  // namespace sedum
