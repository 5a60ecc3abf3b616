#include "data/shards.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <memory>

#include <fmt/format.h>

#include "base/error.h"
#include "base/json.h"
#include "base/progress.h"
#include "data/rows.h"
#include "text/tokenizer.h"

namespace sedum::data {
namespace fs = std::filesystem;
namespace {

constexpr int kVersion = 1;
constexpr size_t kPieceBytes = 1 << 20;  // of a text file at a time

class ShardWriter {
 public:
  ShardWriter(fs::path folder, int64_t vocab_size, int32_t eos, uint64_t shard_tokens)
      : folder_(std::move(folder)),
        vocab_size_(vocab_size),
        eos_(eos),
        shard_tokens_(shard_tokens),
        width_(vocab_size <= 65536 ? 2 : 4),
        documents_(folder_ / "documents.bin") {}

  void add(std::span<const int32_t> ids) {
    for (const int32_t id : ids) {
      if (id < 0 || id >= vocab_size_)
        throw Error("the tokenizer gave the id " + std::to_string(id) + ", beyond its vocabulary",
                    "check tokenizer.json");
      if (last_ == eos_) begin_document();
      if (!shard_) shard_ = std::make_unique<AtomicFile>(folder_ / name(shards_.size()));
      const auto bits = uint32_t(id);  // little endian, as every machine that this runs on
      shard_->write(&bits, size_t(width_));
      last_ = id, ++tokens_;
      if (++in_shard_ == shard_tokens_) close();
    }
  }
  void end_document() {
    if (last_ != eos_) add(std::span(&eos_, 1));
  }

  PackReport finish(const std::string& tokenizer_hash) {
    if (tokens_ < 2) throw Error("the input has no text", "check the files");
    close();
    documents_.commit();
    const nlohmann::ordered_json document{{"version", kVersion},
                                          {"token_bytes", width_},
                                          {"vocab_size", vocab_size_},
                                          {"eos_token_id", eos_},
                                          {"tokenizer_hash", tokenizer_hash},
                                          {"tokens", tokens_},
                                          {"documents", documents_begun_},
                                          {"shards", shards_}};
    write_file(folder_ / "shards.json", document.dump(2) + "\n");
    return {tokens_, documents_begun_, shards_.size()};
  }

 private:
  static std::string name(size_t number) { return fmt::format("shard-{:05}.bin", number); }
  void begin_document() {
    documents_.write(&tokens_, sizeof tokens_);
    ++documents_begun_;
  }
  void close() {
    if (!shard_) return;
    shard_->commit();
    shard_.reset();
    shards_.push_back({{"file", name(shards_.size())}, {"tokens", in_shard_}});
    in_shard_ = 0;
  }

  fs::path folder_;
  int64_t vocab_size_;
  int32_t eos_;
  uint64_t shard_tokens_;
  int width_;
  AtomicFile documents_;
  std::unique_ptr<AtomicFile> shard_;
  nlohmann::ordered_json shards_ = nlohmann::ordered_json::array();
  uint64_t tokens_ = 0, in_shard_ = 0, documents_begun_ = 0;
  int32_t last_ = eos_;  // the first token begins a document
};

// A text file in pieces that end with a line, so that it need not fit into memory.
void pack_text(const fs::path& path, const Tokenizer& tokenizer, ShardWriter& out) {
  const MappedFile file(path);
  const std::string_view text = file.text();
  Progress progress("packing " + path.filename().string(), text.size(), Progress::Unit::kBytes);
  for (size_t begin = 0; begin < text.size();) {
    size_t end = std::min(begin + kPieceBytes, text.size());
    if (end < text.size())
      if (const size_t line = text.rfind('\n', end - 1); line != std::string_view::npos && line > begin) end = line + 1;
    out.add(tokenizer.encode(text.substr(begin, end - begin), {.add_special = begin == 0, .parse_special = true}));
    progress.set(begin = end);
  }
  out.end_document();
}

void pack_rows(const fs::path& path, SampleEncoder& encoder, ShardWriter& out) {
  RowReader reader(path);
  Progress progress("packing " + path.filename().string(), reader.bytes_total(), Progress::Unit::kBytes);
  while (const auto row = reader.next()) {
    out.add(encoder.encode(to_conversation(*row)).ids);
    out.end_document();
    progress.set(reader.bytes_read());
  }
}

}  // namespace

PackReport pack_tokens(const std::vector<fs::path>& inputs, SampleEncoder& encoder, const Tokenizer& tokenizer,
                       const fs::path& folder, const PackOptions& options) {
  if (is_shards(folder))
    throw Error(folder.string() + " holds shards already", "give another folder, or remove it first");
  if (options.shard_tokens < 1) throw ApiError("pack_tokens", "shard_tokens is 0");
  const int32_t eos = tokenizer.spec().eos;
  if (eos < 0)
    throw Error("the tokenizer names no EOS token to put between documents", "set eos_token in tokenizer_config.json");
  fs::create_directories(folder);
  ShardWriter out(folder, int64_t(tokenizer.vocab_size()), eos, options.shard_tokens);
  for (const fs::path& input : inputs) {
    if (input.extension() == ".txt")
      pack_text(input, tokenizer, out);
    else
      pack_rows(input, encoder, out);
  }
  return out.finish(tokenizer.hash());
}

bool is_shards(const fs::path& path) { return fs::exists(path / "shards.json"); }

TokenShards::TokenShards(const fs::path& folder, int block_length, bool isolate)
    : folder_(folder), block_length_(uint32_t(block_length)), isolate_(isolate) {
  if (block_length < 2) throw ApiError("TokenShards", "a block needs two tokens");
  const fs::path json = folder / "shards.json";
  const auto damaged = [&](const std::string& what) {
    return Error(json.string() + ": " + what, "pack the tokens again: `sedum data pack`");
  };
  const auto document = try_parse_json(read_file(json));
  if (!document.is_object()) throw damaged("not a JSON object");
  try {
    if (document.at("version") != kVersion) throw damaged("version " + document.at("version").dump() + " is not known");
    width_ = document.at("token_bytes").get<int>();
    vocab_size_ = document.at("vocab_size").get<int64_t>();
    tokenizer_hash_ = document.at("tokenizer_hash").get<std::string>();
    document_count_ = document.at("documents").get<uint64_t>();
    if (width_ != 2 && width_ != 4) throw damaged("token_bytes is " + std::to_string(width_));
    for (const auto& shard : document.at("shards")) {
      const auto count = shard.at("tokens").get<uint64_t>();
      const auto file = shard.at("file").get<std::string>();
      if (file.find('/') != std::string::npos) throw damaged("a shard is not in the folder");
      shards_.push_back({MappedFile(folder / file), tokens_, count});
      if (shards_.back().file.bytes().size() != count * uint64_t(width_))
        throw damaged(file + " has " + std::to_string(shards_.back().file.bytes().size()) + " bytes, not " +
                      std::to_string(count * uint64_t(width_)));
      tokens_ += count;
    }
  } catch (const nlohmann::json::exception&) {
    throw damaged("a key is missing or has the wrong type");
  }
  documents_ = MappedFile(folder / "documents.bin");
  if (documents_.bytes().size() != document_count_ * sizeof(uint64_t)) throw damaged("documents.bin has another size");
  blocks_ = (tokens_ + block_length_ - 1) / block_length_;
  if (blocks_ > 0 && tokens_ % block_length_ == 1) --blocks_;  // one token alone has nothing to predict
  if (blocks_ == 0) throw damaged("there are no tokens");
}

int32_t TokenShards::token(uint64_t position) const {
  const auto shard = std::prev(std::upper_bound(shards_.begin(), shards_.end(), position,
                                                [](uint64_t p, const Shard& s) { return p < s.begin; }));
  const std::byte* at = shard->file.bytes().data() + (position - shard->begin) * uint64_t(width_);
  uint32_t id = 0;
  std::memcpy(&id, at, size_t(width_));
  return int32_t(id);
}

uint32_t TokenShards::length(size_t sample) const {
  return uint32_t(std::min<uint64_t>(block_length_, tokens_ - uint64_t(sample) * block_length_));
}

// Where documents begin inside the block, its first token apart.
std::vector<int32_t> TokenShards::starts(size_t sample) const {
  std::vector<int32_t> inside;
  if (!isolate_) return inside;
  const auto position = [&](uint64_t document) {
    uint64_t p;
    std::memcpy(&p, documents_.bytes().data() + document * sizeof p, sizeof p);
    return p;
  };
  const uint64_t begin = uint64_t(sample) * block_length_, end = begin + length(sample);
  uint64_t low = 0, high = document_count_;
  while (low < high) {
    const uint64_t middle = (low + high) / 2;
    (position(middle) <= begin ? low : high) = position(middle) <= begin ? middle + 1 : middle;
  }
  for (; low < document_count_ && position(low) < end; ++low) inside.push_back(int32_t(position(low) - begin));
  return inside;
}

uint32_t TokenShards::targets(size_t sample) const { return length(sample) - 1 - uint32_t(starts(sample).size()); }

Sample TokenShards::get(size_t sample) const {
  Sample s;
  const uint64_t begin = uint64_t(sample) * block_length_, end = begin + length(sample);
  for (uint64_t p = begin; p < end; ++p) s.ids.push_back(token(p));
  for (const int32_t id : s.ids)
    if (id >= vocab_size_)
      throw Error(folder_.string() + ": the id " + std::to_string(id) + " is beyond the vocabulary",
                  "pack the tokens again: `sedum data pack`");
  s.labels = s.ids;
  s.starts = starts(sample);
  return s;
}

}  // namespace sedum::data
