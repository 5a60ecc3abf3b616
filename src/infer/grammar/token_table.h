#pragma once
// A vocabulary's tokens as bytes, in an order that lets common beginnings be read once.
//
//   auto table = std::make_shared<TokenTable>(tokenizer);
//
// Sorted tokens with the length that each shares with the one before are a trie laid flat: a beginning that is refused takes all
// tokens under it along.

#include <cstdint>
#include <string_view>
#include <vector>

#include "text/tokenizer.h"

namespace sedum::grammar {

class TokenTable {
 public:
  // vocab_size: of the model's table, which may be padded beyond the tokenizer's. The tokenizer outlives this.
  TokenTable(const Tokenizer& tokenizer, int64_t vocab_size);
  struct Entry {
    std::string_view bytes;
    int32_t id;
    int32_t shared;  // bytes at the beginning that are the previous entry's too
  };
  const std::vector<Entry>& sorted() const { return sorted_; }  // without special and empty tokens
  const std::vector<int32_t>& ends() const { return ends_; }    // that end a generation
  std::string_view bytes(int32_t id) const { return by_id_[size_t(id)]; }
  int64_t vocab_size() const { return int64_t(by_id_.size()); }

 private:
  std::vector<Entry> sorted_;
  std::vector<int32_t> ends_;
  std::vector<std::string_view> by_id_;
};

}  // namespace sedum::grammar
