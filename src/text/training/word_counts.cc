#include "text/training/word_counts.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <exception>
#include <mutex>

#include "base/file.h"

namespace sedum {

namespace {

constexpr size_t kBlock = 4 << 20;
// A line up to this is never cut. A longer one is, so that work is shared, and a cutter's copies of a line, twenty times its bytes for
// unigram, stay at a few megabytes.
constexpr size_t kLine = 128 << 10;

// A space between two ASCII letters: the letters before it end a word and it begins the next, for every pre-tokenizer but superbpe, BERT's
// cleaning and unigram's ▁. Or 。 and ， between two ideographs (U+5000 to U+9FFF): a boundary for all of them but unigram's.
bool word_begins(std::string_view text, size_t at) {
  const auto byte = [text](size_t i) { return static_cast<unsigned char>(text[i]); };
  const auto letter = [&](size_t i) { return (byte(i) | 0x20) >= 'a' && (byte(i) | 0x20) <= 'z'; };
  const auto ideograph = [&](size_t i) { return byte(i) >= 0xE5 && byte(i) <= 0xE9; };
  if (byte(at) == ' ') return at > 0 && at + 1 < text.size() && letter(at - 1) && letter(at + 1);
  const std::string_view mark = text.substr(at, 3);
  return (mark == "\u3002" || mark == "\uFF0C") && at > 2 && at + 3 < text.size() && ideograph(at - 3) &&
         ideograph(at + 3);
}

// The first place from `from` on where a line ends or can be cut; where so many bytes have none, the next character.
size_t cut_in_line(std::string_view text, size_t from) {
  for (size_t at = from; at < std::min(text.size(), from + kLine); at++)
    if (text[at - 1] == '\n' || word_begins(text, at)) return at;
  if (from + kLine >= text.size()) return text.size();
  for (int i = 0; i < 3 && (static_cast<unsigned char>(text[from]) & 0xC0) == 0x80; i++) from++;
  return from;
}

// The block that begins behind the line that crosses `from`, and ends with the line that crosses `from + kBlock`; where one of them goes
// on for more than kLine, it is cut.
std::string_view block_of(std::string_view text, size_t from) {
  const auto border = [text](size_t at) {
    if (at == 0 || at >= text.size()) return std::min(at, text.size());
    const size_t end = text.substr(at - 1, kLine + 1).find('\n');
    return end == std::string_view::npos ? cut_in_line(text, at) : at + end;
  };
  const size_t begin = border(from);
  return text.substr(begin, border(from + kBlock) - begin);
}

void count_block(std::string_view block, const LineCutter& cut, WordTable& counts) {
  while (!block.empty()) {
    size_t end = block.substr(0, kLine).find('\n');
    end = end != std::string_view::npos ? end + 1 : block.size() <= kLine ? block.size() : cut_in_line(block, kLine);
    cut(block.substr(0, end), counts);
    block.remove_prefix(end);
  }
}

// The first eight bytes, so that numbers compare as the words do.
uint64_t prefix_of(std::string_view word) {
  uint64_t prefix = 0;
  std::memcpy(&prefix, word.data(), std::min<size_t>(word.size(), 8));
  return __builtin_bswap64(prefix);
}

// In the order of their bytes.
WordCounts sorted(const WordTable& table) {
  struct Entry {
    uint64_t prefix;
    uint32_t number;
  };
  WordCounts words;
  std::vector<Entry> order;
  words.reserve(table.size()), order.reserve(table.size());
  table.for_each([&](std::string_view word, uint64_t count) {
    order.push_back({prefix_of(word), uint32_t(words.size())});
    words.emplace_back(word, count);
  });
  std::sort(order.begin(), order.end(), [&](const Entry& a, const Entry& b) {
    return a.prefix != b.prefix ? a.prefix < b.prefix : words[a.number].first < words[b.number].first;
  });
  WordCounts out;
  out.reserve(words.size());
  for (const Entry& each : order) out.push_back(std::move(words[each.number]));
  return out;
}

}  // namespace

WordCounts count_words(std::span<const std::filesystem::path> files, ThreadPool& pool, const LineCutter& cut) {
  std::vector<MappedFile> mapped;
  std::vector<std::string_view> blocks;
  for (const auto& file : files) {
    mapped.emplace_back(file);
    for (size_t at = 0; at < mapped.back().text().size(); at += kBlock)
      blocks.push_back(block_of(mapped.back().text(), at));
  }
  std::vector<WordTable> counts(size_t(pool.size()));
  std::atomic<size_t> next = 0;
  std::mutex mutex;
  std::exception_ptr failure;  // work in the pool must not throw; memory may be at its end as well
  pool.run([&](int thread) {
    for (size_t i; (i = next.fetch_add(1)) < blocks.size();) {
      try {
        count_block(blocks[i], cut, counts[size_t(thread)]);
      } catch (...) {
        const std::lock_guard lock(mutex);
        if (!failure) failure = std::current_exception();
        next = blocks.size();
      }
    }
  });
  if (failure) std::rethrow_exception(failure);
  for (size_t t = 1; t < counts.size(); t++) {
    counts[0].add(counts[t]);
    counts[t] = {};
  }
  return sorted(counts[0]);
}

}  // namespace sedum
