#include "text/char_bpe.h"

#include <algorithm>

#include "base/error.h"
#include "text/unicode.h"

namespace sedum {

namespace {

// The one character of `text`, or kInvalid.
char32_t only_character(std::string_view text) {
  if (text.empty()) return unicode::kInvalid;
  const unicode::Decoded c = unicode::decode(text.data(), text.data() + text.size());
  return size_t(c.length) == text.size() ? c.code : unicode::kInvalid;
}

int32_t largest_id(const TokenIds& ids) {
  int32_t largest = 0;
  for (const auto& [text, id] : ids) largest = std::max(largest, id);
  return largest;
}

// A symbol that has no id: kUnknownBase - code point.
constexpr int32_t kUnknownBase = -2;

}  // namespace

std::vector<int32_t> byte_tokens(const TokenIds& ids) {
  std::vector<int32_t> bytes;
  for (int b = 0; b < 256; b++) {
    const char text[] = {'<', '0', 'x', "0123456789ABCDEF"[b >> 4], "0123456789ABCDEF"[b & 15], '>'};
    const auto found = ids.find(std::string_view(text, 6));
    if (found == ids.end()) return {};
    bytes.push_back(found->second);
  }
  return bytes;
}

int byte_of_token(std::string_view token) {
  if (token.size() != 6 || !token.starts_with("<0x") || token[5] != '>') return -1;
  const auto digit = [](char c) {
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                  : -1;
  };
  const int high = digit(token[3]), low = digit(token[4]);
  return high < 0 || low < 0 ? -1 : high << 4 | low;
}

void CharBpe::add_character(char32_t code, int32_t id) {
  if (code >= 0x110000) return;
  auto& page = pages_[code >> 8];
  if (!page) {
    page = std::make_unique<Page>();
    page->fill(kNoSymbol);
  }
  (*page)[code & 0xFF] = id;
}

void CharBpe::add_characters(const TokenIds& ids) {
  for (const auto& [text, id] : ids)
    if (const char32_t code = only_character(text); code != unicode::kInvalid) add_character(code, id);
}

// A token's id, or a symbol for a character that is none: pieces can be built of characters that are no pieces themselves.
int32_t CharBpe::symbol_or_new(std::string_view text, const TokenIds& ids) {
  if (const auto found = ids.find(text); found != ids.end()) return found->second;
  const char32_t code = only_character(text);
  if (code == unicode::kInvalid) return kNoSymbol;
  if (const int32_t known = symbol_of(code); known != kNoSymbol) return known;
  add_character(code, next_symbol_);
  extra_.push_back(code);
  return next_symbol_++;
}

CharBpe::CharBpe(const TokenIds& ids, std::span<const std::pair<std::string, std::string>> merges, Options options)
    : options_(std::move(options)),
      merges_(merges.size()),
      next_symbol_(largest_id(ids) + 1),
      first_extra_(next_symbol_) {
  add_characters(ids);
  const std::string& prefix = options_.continuing_prefix;
  cutting_ = prefix.empty() && options_.word_suffix.empty() && !options_.ignore_merges;
  for (size_t i = 0; i < merges.size(); i++) {
    const std::string &left = merges[i].first, &right = merges[i].second;
    std::string_view tail = right;
    if (!prefix.empty() && tail.starts_with(prefix)) tail.remove_prefix(prefix.size());
    const std::string whole = left + std::string(tail);
    const auto id = [&](std::string_view part) {
      const auto found = ids.find(part);
      if (found != ids.end()) return found->second;
      throw Error("merge " + std::to_string(i) + " (\"" + left + "\" and \"" + right + "\") needs a token \"" +
                      std::string(part) + "\" that the vocabulary does not have",
                  "vocabulary and merges belong to different tokenizers, or the file is damaged");
    };
    const int32_t first = id(left), second = id(right);
    merges_.add(first, second, uint32_t(i), id(whole));
    if (cutting_) cuts_.add(whole);
  }
  if (options_.ignore_merges)
    for (const auto& [text, id] : ids) words_.emplace(text, id);
  if (!prefix.empty() || !options_.word_suffix.empty())
    for (const auto& [text, id] : ids) marked_.emplace(text, id);
}

CharBpe::CharBpe(const TokenIds& ids, std::span<const std::pair<std::string_view, float>> pieces, Options options)
    : options_(std::move(options)),
      merges_(pieces.size() * 3),
      next_symbol_(largest_id(ids) + 1),
      first_extra_(next_symbol_) {
  add_characters(ids);
  std::vector<std::pair<std::string_view, float>> sorted(pieces.begin(), pieces.end());
  std::stable_sort(sorted.begin(), sorted.end(), [](const auto& a, const auto& b) { return a.second > b.second; });
  uint32_t rank = 0;
  for (size_t i = 0; i < sorted.size(); i++) {
    const auto [piece, score] = sorted[i];
    if (i > 0 && score != sorted[i - 1].second) rank++;  // equal scores: the leftmost first
    const auto whole = ids.find(piece);
    if (whole == ids.end()) continue;
    const char *begin = piece.data(), *end = begin + piece.size();
    bool parts = false;
    for (const char* p = begin + unicode::decode(begin, end).length; p < end; p += unicode::decode(p, end).length) {
      const int32_t left = symbol_or_new({begin, size_t(p - begin)}, ids),
                    right = symbol_or_new({p, size_t(end - p)}, ids);
      if (left == kNoSymbol || right == kNoSymbol) continue;
      merges_.add(left, right, rank, whole->second);
      parts = true;
    }
    if (parts) cuts_.add(piece);
  }
}

void CharBpe::encode(std::string_view word, WordCache& cache, std::vector<int32_t>& out) const {
  if (!words_.empty()) {
    const auto found = words_.find(std::string(word));
    if (found != words_.end()) return out.push_back(found->second);
  }
  const size_t begin = out.size();
  if (!marked_.empty()) return encode_marked(word, out);
  const char *p = word.data(), *end = p + word.size();
  for (const char* q; p < end; p = q) {
    q = cutting_ ? cuts_.next(p, end) : end;
    const size_t length = size_t(q - p);
    // A run of unknown characters may go on in the next part.
    const bool after_unknown = options_.fuse_unknown && out.size() > begin && out.back() == options_.unknown;
    const size_t before = out.size();
    const unicode::Decoded first = cutting_ ? unicode::decode(p, end) : unicode::Decoded{0, 0};
    if (size_t(first.length) == length && first.code != unicode::kInvalid) {  // a character alone: an ideograph, mostly
      const int32_t symbol = symbol_of(first.code);
      if (symbol >= 0 && symbol < first_extra_ && symbol != options_.unknown) {
        out.push_back(symbol);
        continue;
      }
    }
    if (length > WordCache::kMaxBytes) {
      encode_part({p, length}, out);
    } else {
      const WordCache::Key key = WordCache::key(p, length, size_t(end - p));
      WordCache::Slot& slot = cache.slot(key);
      if (slot.holds(key)) {
        for (size_t i = 0; i < WordCache::kMaxIds && slot.ids[i] >= 0; i++) out.push_back(slot.ids[i]);
      } else {
        encode_part({p, length}, out);
        const size_t count = out.size() - before;
        if (count > 0 && count <= WordCache::kMaxIds) slot.put(key, {out.data() + before, count});
      }
    }
    if (after_unknown && out.size() > before && out[before] == options_.unknown)
      out.erase(out.begin() + ptrdiff_t(before));
  }
}

void CharBpe::encode_part(std::string_view part, std::vector<int32_t>& out) const {
  int32_t few[MergeTable::kShortWord];
  std::vector<int32_t> many;
  int32_t* symbols = few;
  if (part.size() > MergeTable::kShortWord) {
    many.resize(part.size());
    symbols = many.data();
  }
  size_t count = 0;
  bool all_known = true;
  for (const char *p = part.data(), *end = p + part.size(); p < end;) {
    const unicode::Decoded c = unicode::decode(p, end);
    p += c.length;
    const char32_t code = c.code == unicode::kInvalid ? char32_t(0xFFFD) : c.code;
    int32_t symbol = symbol_of(code);
    if (symbol == kNoSymbol) symbol = kUnknownBase - int32_t(code);
    all_known &= symbol >= 0 && symbol < first_extra_;
    symbols[count++] = symbol;
  }
  const size_t from = out.size();
  merges_.merge(symbols, count, out);
  if (all_known) return;
  const std::vector<int32_t> merged(out.begin() + ptrdiff_t(from), out.end());
  out.resize(from);
  emit(merged, out);
}

// Symbols without an id become bytes or unknown.
void CharBpe::emit(std::span<const int32_t> symbols, std::vector<int32_t>& out) const {
  bool unknown_before = false;
  for (const int32_t symbol : symbols) {
    if (symbol >= 0 && symbol < first_extra_) {
      out.push_back(symbol);
      unknown_before = false;
      continue;
    }
    const char32_t code = symbol >= 0 ? extra_[size_t(symbol - first_extra_)] : char32_t(kUnknownBase - symbol);
    if (!options_.byte_fallback.empty()) {
      std::string bytes;
      unicode::append(bytes, code);
      for (const char b : bytes) out.push_back(options_.byte_fallback[static_cast<unsigned char>(b)]);
    } else if (options_.unknown >= 0 && !(options_.fuse_unknown && unknown_before)) {
      out.push_back(options_.unknown);
      unknown_before = true;
    }
  }
}

// Words whose characters carry markers.
void CharBpe::encode_marked(std::string_view word, std::vector<int32_t>& out) const {
  std::vector<int32_t> symbols;
  bool unknown_before = false;
  for (const char *begin = word.data(), *p = begin, *end = p + word.size(); p < end;) {
    const unicode::Decoded c = unicode::decode(p, end);
    std::string text = p == begin ? "" : options_.continuing_prefix;
    text.append(p, size_t(c.length));
    p += c.length;
    if (p == end) text += options_.word_suffix;
    const auto found = marked_.find(text);
    const int32_t id = found == marked_.end() ? options_.unknown : found->second;
    const bool unknown = found == marked_.end();
    if (id >= 0 && !(unknown && unknown_before && options_.fuse_unknown)) symbols.push_back(id);
    unknown_before = unknown;
  }
  merges_.merge(symbols.data(), symbols.size(), out);
}

}  // namespace sedum
