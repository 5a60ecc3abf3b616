#include "data/shards.h"

#include <gmock/gmock.h>
#include <unistd.h>

#include "base/error.h"
#include "text/tokenizer.h"
#include "text/tokenizer_json.h"

namespace sedum::data {
namespace {

using ::testing::HasSubstr;
namespace fs = std::filesystem;

class Shards : public ::testing::Test {
 protected:
  Shards()
      : tokenizer_(read_tokenizer_json(fs::path(SEDUM_SOURCE_DIR) / "tests/golden/models/llama/tokenizer.json")),
        encoder_(tokenizer_, nullptr, {.train_on_prompt = true}) {
    std::string pattern = (fs::temp_directory_path() / "sedum-test-XXXXXX").string();
    folder_ = mkdtemp(pattern.data());
  }
  ~Shards() override { fs::remove_all(folder_); }

  PackReport pack(const std::string& rows, uint64_t shard_tokens = 1000) {
    write_file(folder_ / "rows.jsonl", rows);
    return pack_tokens({folder_ / "rows.jsonl"}, encoder_, tokenizer_, folder_ / "tokens",
                       {.shard_tokens = shard_tokens});
  }
  std::vector<int32_t> document(const std::string& text) {
    auto ids = tokenizer_.encode(text, {.add_special = true, .parse_special = true});
    if (ids.empty() || ids.back() != tokenizer_.spec().eos) ids.push_back(tokenizer_.spec().eos);
    return ids;
  }

  Tokenizer tokenizer_;
  SampleEncoder encoder_;
  fs::path folder_;
};

const char* const kRows =
    "{\"text\":\"a plant in a pot\"}\n{\"text\":\"water it once a week\"}\n{\"text\":\"and no more\"}\n";

// Blocks of every length, over shards of every length, are the documents one after the other.
TEST_F(Shards, BlocksAreTheDocumentsInOrder) {
  std::vector<int32_t> all;
  for (const char* text : {"a plant in a pot", "water it once a week", "and no more"})
    for (const int32_t id : document(text)) all.push_back(id);
  for (const uint64_t shard : {3, 7, 1000}) {
    fs::remove_all(folder_ / "tokens");
    const PackReport report = pack(kRows, shard);
    EXPECT_EQ(report.tokens, all.size());
    EXPECT_EQ(report.documents, 3u);
    EXPECT_EQ(report.shards, (all.size() + shard - 1) / shard);
    for (const int length : {2, 5, 100}) {
      const TokenShards source(folder_ / "tokens", length, false);
      std::vector<int32_t> read;
      for (size_t i = 0; i < source.size(); ++i) {
        const Sample s = source.get(i);
        EXPECT_EQ(s.ids.size(), source.length(i));
        EXPECT_EQ(count_targets(s), source.targets(i));
        read.insert(read.end(), s.ids.begin(), s.ids.end());
      }
      ASSERT_GE(read.size(), all.size() - 1);  // a last token alone is left out
      EXPECT_EQ(read, std::vector<int32_t>(all.begin(), all.begin() + ptrdiff_t(read.size())));
    }
  }
}

TEST_F(Shards, IsolatedDocumentsBeginWhereTheyBegin) {
  pack(kRows, 5);
  const size_t first = document("a plant in a pot").size(), second = document("water it once a week").size();
  const TokenShards source(folder_ / "tokens", 1000, true);
  ASSERT_EQ(source.size(), 1u);
  EXPECT_EQ(source.get(0).starts, (std::vector<int32_t>{int32_t(first), int32_t(first + second)}));
  EXPECT_EQ(source.targets(0), count_targets(source.get(0)));
  // In a block that begins with a document, that is no start inside it.
  const TokenShards cut(folder_ / "tokens", int(first), true);
  EXPECT_TRUE(cut.get(0).starts.empty());
  EXPECT_EQ(cut.get(1).starts.size(), second < first ? 1u : 0u);
}

TEST_F(Shards, TextFilesAreReadInPieces) {
  std::string text;
  while (text.size() < (3u << 20)) text += "a line about plants and water\n";
  write_file(folder_ / "long.txt", text);
  const PackReport report =
      pack_tokens({folder_ / "long.txt"}, encoder_, tokenizer_, folder_ / "tokens", {.shard_tokens = 100'000});
  EXPECT_EQ(report.documents, 1u);
  const TokenShards source(folder_ / "tokens", 4096, false);
  std::string back;
  for (size_t i = 0; i < source.size(); ++i)
    for (const int32_t id : source.get(i).ids) back += tokenizer_.token_bytes(id);
  EXPECT_NE(back.find(text.substr(0, 1000)), std::string::npos);
  EXPECT_GE(back.size(), text.size());
}

TEST_F(Shards, DamageIsNamed) {
  pack(kRows, 5);
  EXPECT_THROW(pack(kRows), Error);  // there already
  const auto problem = [&] {
    try {
      TokenShards(folder_ / "tokens", 4, true);
    } catch (const Error& e) {
      return std::string(e.what());
    }
    return std::string();
  };
  EXPECT_EQ(problem(), "");
  append_bytes(folder_ / "tokens" / "shard-00001.bin", "xx");
  EXPECT_THAT(problem(), HasSubstr("shard-00001.bin has"));
  write_file(folder_ / "tokens" / "shards.json", "{\"version\": 1}");
  EXPECT_THAT(problem(), HasSubstr("missing"));
  write_file(folder_ / "tokens" / "shards.json", "[");
  EXPECT_THAT(problem(), HasSubstr("JSON"));
}

}  // namespace
}  // namespace sedum::data
