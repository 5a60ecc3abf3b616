#include "text/bpe.h"

#include <algorithm>
#include <bit>
#include <queue>

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

constexpr int kShortWord = 48;  // symbols; scanning for the best pair beats a heap below

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
    : unknown_(unknown) {
  const size_t slots = std::bit_ceil(std::max<size_t>(2 * merges.size(), 2));
  merges_.assign(slots, {kNoPair, kNoRank, -1});
  mask_ = slots - 1;
  shift_ = 64 - std::countr_zero(slots);
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
  const uint64_t pair = pair_of(id(left), id(right));
  const int32_t merged = id(std::string(left) + std::string(right));
  size_t slot = (pair * 0x9E3779B97F4A7C15u) >> shift_;
  while (merges_[slot].pair != kNoPair && merges_[slot].pair != pair) slot = (slot + 1) & mask_;
  if (merges_[slot].pair == pair) return;  // listed twice: the better rank stands
  merges_[slot] = {pair, rank, merged};
}

void BpeModel::encode_word(std::string_view word, std::vector<int32_t>& out) const {
  if (!words_.empty()) {
    const auto found = words_.find(std::string(word));
    if (found != words_.end()) return out.push_back(found->second);
  }
  int32_t short_word[kShortWord];
  std::vector<int32_t> long_word;
  int32_t* symbols = short_word;
  if (word.size() > kShortWord) {
    long_word.resize(word.size());
    symbols = long_word.data();
  }
  size_t count = 0;
  for (char c : word) {
    const int32_t id = bytes_[static_cast<unsigned char>(c)];
    if (id >= 0 || unknown_ >= 0) symbols[count++] = id >= 0 ? id : unknown_;  // otherwise dropped, as upstream does
  }
  if (count <= kShortWord) return merge_short(symbols, int(count), out);
  long_word.resize(count);
  merge_long(std::move(long_word), out);
}

void BpeModel::merge_short(int32_t* symbols, int count, std::vector<int32_t>& out) const {
  uint32_t ranks[kShortWord];  // of the pair that begins at i
  int32_t merged[kShortWord];
  const auto look_up = [&](int i) {
    const Merge& merge = find(symbols[i], symbols[i + 1]);
    ranks[i] = merge.rank;
    merged[i] = merge.merged;
  };
  for (int i = 0; i + 1 < count; i++) look_up(i);
  while (count > 1) {
    int best = 0;
    for (int i = 1; i + 1 < count; i++)
      if (ranks[i] < ranks[best]) best = i;
    if (ranks[best] == kNoRank) break;
    symbols[best] = merged[best];
    count--;
    for (int i = best + 1; i < count; i++)
      symbols[i] = symbols[i + 1], ranks[i] = ranks[i + 1], merged[i] = merged[i + 1];
    if (best + 1 < count) look_up(best);
    if (best > 0) look_up(best - 1);
  }
  out.insert(out.end(), symbols, symbols + count);
}

void BpeModel::merge_long(std::vector<int32_t> symbols, std::vector<int32_t>& out) const {
  const int count = int(symbols.size());
  constexpr int32_t kGone = -1;
  std::vector<int> previous(symbols.size()), next(symbols.size());
  std::vector<uint32_t> ranks(symbols.size(), kNoRank);
  // Rank and place in one number: the best rank first, the leftmost of equal ones. An entry whose rank is no longer that of its
  // place is out of date.
  std::priority_queue<uint64_t, std::vector<uint64_t>, std::greater<>> queue;
  const auto look_up = [&](int i) {
    ranks[size_t(i)] =
        next[size_t(i)] < count ? find(symbols[size_t(i)], symbols[size_t(next[size_t(i)])]).rank : kNoRank;
    if (ranks[size_t(i)] != kNoRank) queue.push(uint64_t(ranks[size_t(i)]) << 32 | uint32_t(i));
  };
  for (int i = 0; i < count; i++) previous[size_t(i)] = i - 1, next[size_t(i)] = i + 1;
  for (int i = 0; i < count; i++) look_up(i);
  while (!queue.empty()) {
    const uint64_t entry = queue.top();
    queue.pop();
    const int i = int(uint32_t(entry));
    if (symbols[size_t(i)] == kGone || ranks[size_t(i)] != uint32_t(entry >> 32)) continue;
    const int j = next[size_t(i)];
    symbols[size_t(i)] = find(symbols[size_t(i)], symbols[size_t(j)]).merged;
    symbols[size_t(j)] = kGone;
    next[size_t(i)] = next[size_t(j)];
    if (next[size_t(i)] < count) previous[size_t(next[size_t(i)])] = i;
    look_up(i);
    if (previous[size_t(i)] >= 0) look_up(previous[size_t(i)]);
  }
  for (int32_t s : symbols)
    if (s != kGone) out.push_back(s);
}

}  // namespace sedum
