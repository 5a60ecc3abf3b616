#include "text/training/word_counts.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <mutex>
#include <optional>

#include "base/error.h"
#include "base/file.h"

namespace sedum {

namespace {

constexpr size_t kBlock = 4 << 20;

// The block that begins at the first line behind `from`, and ends with the line that crosses `from + kBlock`.
std::string_view block_of(std::string_view text, size_t from) {
  const auto line_behind = [text](size_t at) {
    if (at == 0) return size_t{0};
    const size_t end = text.find('\n', at - 1);
    return end == std::string_view::npos ? text.size() : end + 1;
  };
  const size_t begin = line_behind(from), end = from + kBlock >= text.size() ? text.size() : line_behind(from + kBlock);
  return begin < end ? text.substr(begin, end - begin) : std::string_view();
}

void count_block(std::string_view block, const LineCutter& cut, WordTable& counts) {
  while (!block.empty()) {
    const size_t end = std::min(block.find('\n'), block.size() - 1) + 1;
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
  std::optional<Error> failure;  // work in the pool must not throw
  pool.run([&](int thread) {
    for (size_t i; (i = next.fetch_add(1)) < blocks.size();) {
      try {
        count_block(blocks[i], cut, counts[size_t(thread)]);
      } catch (const Error& error) {
        const std::lock_guard lock(mutex);
        if (!failure) failure.emplace(error);
        next = blocks.size();
      }
    }
  });
  if (failure) throw *failure;
  for (size_t t = 1; t < counts.size(); t++) {
    counts[0].add(counts[t]);
    counts[t] = {};
  }
  return sorted(counts[0]);
}

}  // namespace sedum
