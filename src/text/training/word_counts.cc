#include "text/training/word_counts.h"

#include <algorithm>
#include <atomic>
#include <mutex>
#include <optional>
#include <unordered_map>

#include "base/error.h"
#include "base/file.h"

namespace sedum {

namespace {

constexpr size_t kBlock = 4 << 20;

struct Hash {
  using is_transparent = void;
  size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
};
using Map = std::unordered_map<std::string, uint64_t, Hash, std::equal_to<>>;

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

void count_block(std::string_view block, const LineCutter& cut, Map& counts) {
  const std::function<void(std::string_view)> word = [&counts](std::string_view w) {
    const auto found = counts.find(w);
    if (found != counts.end())
      found->second++;
    else
      counts.emplace(w, 1);
  };
  while (!block.empty()) {
    const size_t end = std::min(block.find('\n'), block.size() - 1) + 1;
    cut(block.substr(0, end), word);
    block.remove_prefix(end);
  }
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
  std::vector<Map> counts(size_t(pool.size()));
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
    for (const auto& [word, count] : counts[t]) counts[0][word] += count;
    Map().swap(counts[t]);
  }
  WordCounts out;
  out.reserve(counts[0].size());
  while (!counts[0].empty()) {
    auto node = counts[0].extract(counts[0].begin());
    out.emplace_back(std::move(node.key()), node.mapped());
  }
  std::sort(out.begin(), out.end());
  return out;
}

}  // namespace sedum
