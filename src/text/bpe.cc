#include "text/bpe.h"

#include <algorithm>

#include "base/error.h"
#include "text/unicode.h"

namespace sedum {

namespace {

// GPT-2's alphabet: printable Latin-1 stands for itself, the other 68 bytes follow from U+0100 on, in order.
constexpr bool is_printable(int byte) {
  return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xFF && byte != 0xAD);
}

struct Alphabet {
  std::array<char32_t, 256> character{};
  std::array<int16_t, 0x144> byte{};  // by character; -1: none
  Alphabet() {
    byte.fill(-1);
    char32_t next = 0x100;
    for (int b = 0; b < 256; b++) {
      const char32_t c = is_printable(b) ? char32_t(b) : next++;
      character[size_t(b)] = c;
      byte[c] = int16_t(b);
    }
  }
};
const Alphabet& alphabet() {
  static const Alphabet instance;
  return instance;
}

}  // namespace

std::string to_byte_alphabet(std::string_view bytes) {
  std::string out;
  for (char c : bytes) unicode::append(out, alphabet().character[static_cast<unsigned char>(c)]);
  return out;
}

bool from_byte_alphabet(std::string_view text, std::string& bytes) {
  bytes.clear();
  for (const char *p = text.data(), *end = p + text.size(); p < end;) {
    const unicode::Decoded c = unicode::decode(p, end);
    if (c.code >= alphabet().byte.size() || alphabet().byte[c.code] < 0) return false;
    bytes.push_back(char(alphabet().byte[c.code]));
    p += c.length;
  }
  return true;
}

BpeModel::BpeModel(const Vocabulary& ids, std::span<const std::string> merges, bool ignore_merges, int32_t unknown)
    : merges_(merges.size()), unknown_(unknown) {
  for (size_t i = 0; i < merges.size(); i++) add_merge(ids, merges[i], uint32_t(i));
  for (int b = 0; b < 256; b++) {
    const auto found = ids.find(to_byte_alphabet(std::string(1, char(b))));
    bytes_[size_t(b)] = found == ids.end() ? -1 : found->second;
  }
  if (!ignore_merges) return;
  std::string bytes;
  for (const auto& [text, id] : ids)
    if (!text.empty() && from_byte_alphabet(text, bytes)) words_.emplace(bytes, id);
}

void BpeModel::add_merge(const Vocabulary& ids, const std::string& line, uint32_t rank) {
  const size_t space = line.find(' ', 1);
  const auto id = [&](std::string_view part) {
    const auto found = ids.find(part);
    if (found != ids.end()) return found->second;
    throw Error("merge " + std::to_string(rank) + " (\"" + line + "\") needs a token \"" + std::string(part) +
                    "\" that the vocabulary does not have",
                "vocabulary and merges belong to different tokenizers, or the file is damaged");
  };
  if (space == std::string::npos || space + 1 == line.size())
    throw Error("merge " + std::to_string(rank) + " (\"" + line + "\") is not a pair");
  const std::string_view left(line.data(), space), right(line.data() + space + 1, line.size() - space - 1);
  const int32_t first = id(left), second = id(right);  // in this order: the message names what is missing first
  merges_.add(first, second, rank, id(std::string(left) + std::string(right)));
}

void BpeModel::encode_word(std::string_view word, std::vector<int32_t>& out) const {
  if (!words_.empty()) {
    const auto found = words_.find(std::string(word));
    if (found != words_.end()) return out.push_back(found->second);
  }
  int32_t short_word[MergeTable::kShortWord];
  std::vector<int32_t> long_word;
  int32_t* symbols = short_word;
  if (word.size() > MergeTable::kShortWord) {
    long_word.resize(word.size());
    symbols = long_word.data();
  }
  size_t count = 0;
  for (char c : word) {
    const int32_t id = bytes_[static_cast<unsigned char>(c)];
    if (id >= 0 || unknown_ >= 0) symbols[count++] = id >= 0 ? id : unknown_;  // otherwise dropped, as upstream does
  }
  merges_.merge(symbols, count, out);
}

}  // namespace sedum
