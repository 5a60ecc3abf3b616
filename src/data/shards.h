#pragma once
// Tokens on disk, for pre-training on more text than memory holds: a folder of shards.
//
//   pack_tokens({"stories.txt", "more.jsonl"}, encoder, tokenizer, "tokens", {});      // sedum data pack
//   auto source = std::make_shared<TokenShards>("tokens", 1024, false);               // blocks of 1024 tokens, mapped
//   Loader loader(source, {.batch_size = 8});
//
// shards.json says what is there; shard-00000.bin … hold token ids, uint16 where the vocabulary allows it, else uint32, little endian, documents
// one after the other, an EOS after each; documents.bin holds uint64 positions where documents begin. shards.json is written last.

#include <filesystem>
#include <string>
#include <vector>

#include "base/file.h"
#include "data/loader.h"

namespace sedum::data {

struct PackOptions {
  uint64_t shard_tokens = 100'000'000;
};
struct PackReport {
  uint64_t tokens = 0, documents = 0, shards = 0;
};
// Texts as they are, conversations through the chat template. Error for an id that is not in the tokenizer's vocabulary, and when the folder
// holds shards already.
PackReport pack_tokens(const std::vector<std::filesystem::path>& inputs, SampleEncoder& encoder,
                       const Tokenizer& tokenizer, const std::filesystem::path& folder, const PackOptions& options);

bool is_shards(const std::filesystem::path& path);

class TokenShards : public SampleSource {
 public:
  // Sample i is the tokens [i · block_length, (i + 1) · block_length) of all shards; the last may be shorter. isolate: documents in a block do
  // not see one another. Error for files that do not fit shards.json.
  TokenShards(const std::filesystem::path& folder, int block_length, bool isolate);
  size_t size() const override { return size_t(blocks_); }
  uint32_t length(size_t sample) const override;
  uint32_t targets(size_t sample) const override;
  Sample get(size_t sample) const override;

  uint64_t tokens() const { return tokens_; }
  const std::string& tokenizer_hash() const { return tokenizer_hash_; }
  int64_t vocab_size() const { return vocab_size_; }

 private:
  struct Shard {
    MappedFile file;
    uint64_t begin, count;  // tokens
  };
  int32_t token(uint64_t position) const;
  std::vector<int32_t> starts(size_t sample) const;

  std::filesystem::path folder_;
  std::vector<Shard> shards_;
  MappedFile documents_;
  uint64_t tokens_ = 0, document_count_ = 0, blocks_ = 0;
  uint32_t block_length_;
  int width_ = 2;  // bytes of a token
  bool isolate_;
  int64_t vocab_size_ = 0;
  std::string tokenizer_hash_;
};

}  // namespace sedum::data
