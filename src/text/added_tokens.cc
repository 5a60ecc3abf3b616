#include "text/added_tokens.h"

#include <algorithm>

#include "text/unicode.h"

namespace sedum {

namespace {

// The character that ends at `end` > 0.
unicode::Decoded decode_before(std::string_view text, size_t end) {
  size_t begin = end - 1;
  while (begin > 0 && end - begin < 4 && (static_cast<unsigned char>(text[begin]) & 0xC0) == 0x80) begin--;
  const unicode::Decoded c = unicode::decode(text.data() + begin, text.data() + end);
  if (size_t(c.length) == end - begin) return c;
  return {unicode::kInvalid, 1};
}

bool word_before(std::string_view text, size_t at) { return at > 0 && unicode::is_word(decode_before(text, at).code); }
bool word_at(std::string_view text, size_t at) {
  return at < text.size() && unicode::is_word(unicode::decode(text.data() + at, text.data() + text.size()).code);
}

}  // namespace

AddedTokens::AddedTokens(const std::vector<AddedToken>& tokens, bool normalized) : first_(256, 0), last_(256, 0) {
  for (const AddedToken& token : tokens)
    if (token.normalized == normalized && !token.text.empty()) tokens_.push_back(token);
  std::stable_sort(tokens_.begin(), tokens_.end(),
                   [](const AddedToken& a, const AddedToken& b) { return a.text < b.text; });
  for (size_t i = 0; i < tokens_.size(); i++) {
    const auto byte = static_cast<unsigned char>(tokens_[i].text[0]);
    if (last_[byte] == 0) first_[byte] = uint32_t(i);
    last_[byte] = uint32_t(i + 1);
  }
}

// Narrows the sorted range of tokens byte by byte; a token that ends on the way sorts before those that go on.
const AddedToken* AddedTokens::longest_at(std::string_view text, bool parse_special) const {
  const auto byte_at = [](size_t depth) {
    return [depth](const AddedToken& token) {
      return depth < token.text.size() ? int(static_cast<unsigned char>(token.text[depth])) : -1;
    };
  };
  auto begin = tokens_.begin() + first_[static_cast<unsigned char>(text[0])];
  auto end = tokens_.begin() + last_[static_cast<unsigned char>(text[0])];
  const AddedToken* best = nullptr;
  for (size_t depth = 1;; depth++) {
    for (; begin < end && begin->text.size() == depth; ++begin)
      if (parse_special || !begin->special) best = &*begin;
    if (begin >= end || depth >= text.size()) return best;
    const int byte = static_cast<unsigned char>(text[depth]);
    const auto key = byte_at(depth);
    begin = std::partition_point(begin, end, [&](const AddedToken& t) { return key(t) < byte; });
    end = std::partition_point(begin, end, [&](const AddedToken& t) { return key(t) == byte; });
  }
}

bool AddedTokens::find(std::string_view text, size_t from, size_t floor, bool parse_special, Match& match) const {
  for (size_t at = from; at < text.size(); at++) {
    if (last_[static_cast<unsigned char>(text[at])] == 0) continue;
    const AddedToken* token = longest_at(text.substr(at), parse_special);
    if (!token) continue;
    size_t begin = at, end = at + token->text.size();
    match.resume = end;
    if (token->single_word && (word_before(text, begin) || word_at(text, end))) {
      at = end - 1;
      continue;
    }
    while (token->lstrip && begin > floor) {
      const unicode::Decoded c = decode_before(text, begin);
      if (!unicode::is_space(c.code)) break;
      begin -= size_t(c.length);
    }
    while (token->rstrip && end < text.size()) {
      const unicode::Decoded c = unicode::decode(text.data() + end, text.data() + text.size());
      if (!unicode::is_space(c.code)) break;
      end += size_t(c.length);
    }
    match.token = token;
    match.begin = begin;
    match.end = end;
    match.resume = end;
    return true;
  }
  return false;
}

}  // namespace sedum
