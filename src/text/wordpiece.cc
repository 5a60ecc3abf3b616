#include "text/wordpiece.h"

#include "text/unicode.h"

namespace sedum {

WordPiece::WordPiece(const TokenIds& ids, Options options) : options_(std::move(options)) {
  std::vector<std::pair<std::string_view, int32_t>> first, continuing;
  const std::string_view prefix = options_.continuing_prefix;
  for (const auto& [text, id] : ids) {
    first.emplace_back(text, id);
    if (text.starts_with(prefix)) continuing.emplace_back(text.substr(prefix.size()), id);
  }
  first_ = ByteTrie(std::move(first));
  continuing_ = ByteTrie(std::move(continuing));
}

void WordPiece::encode_word(std::string_view word, std::vector<int32_t>& out) const {
  const size_t before = out.size();
  const char *p = word.data(), *end = p + word.size();
  bool known = word.size() <= options_.max_characters || unicode::count_characters(word) <= options_.max_characters;
  while (known && p < end) {
    const auto [length, id] = (p == word.data() ? first_ : continuing_).longest(p, end);
    known = length > 0;
    out.push_back(id);
    p += length;
  }
  if (known) return;
  out.resize(before);
  if (options_.unknown >= 0) out.push_back(options_.unknown);
}

}  // namespace sedum
