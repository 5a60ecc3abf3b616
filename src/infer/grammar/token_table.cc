#include "infer/grammar/token_table.h"

#include <algorithm>

namespace sedum::grammar {

TokenTable::TokenTable(const Tokenizer& tokenizer, int64_t vocab_size) : by_id_(size_t(vocab_size)) {
  for (int32_t id = 0; id < std::min<int64_t>(tokenizer.vocab_size(), vocab_size); ++id) {
    if (tokenizer.ends_generation(id)) ends_.push_back(id);
    if (tokenizer.is_special(id) || tokenizer.ends_generation(id)) continue;
    const std::string_view bytes = tokenizer.token_bytes(id);
    if (bytes.empty()) continue;
    by_id_[size_t(id)] = bytes;
    sorted_.push_back({bytes, id, 0});
  }
  std::sort(sorted_.begin(), sorted_.end(), [](const Entry& a, const Entry& b) { return a.bytes < b.bytes; });
  for (size_t i = 1; i < sorted_.size(); ++i) {
    const std::string_view a = sorted_[i - 1].bytes, b = sorted_[i].bytes;
    sorted_[i].shared = int32_t(std::mismatch(a.begin(), a.end(), b.begin(), b.end()).second - b.begin());
  }
}

}  // namespace sedum::grammar
