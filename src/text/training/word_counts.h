#pragma once
// How often each word stands in files: the first step of training a tokenizer.
//
//   WordCounts counts = count_words(files, pool, [](std::string_view line, const auto& word) { …; word(view); });
//
// Files are mapped and read in blocks, one after the other for each thread; memory holds the distinct words. A line is cut with the line
// break that ends it. The order of the result is that of the words' bytes, whatever the number of threads.

#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/thread_pool.h"

namespace sedum {

using WordCounts = std::vector<std::pair<std::string, uint64_t>>;
// Calls its second argument for every word of a line; called from several threads.
using LineCutter = std::function<void(std::string_view line, const std::function<void(std::string_view)>& word)>;

WordCounts count_words(std::span<const std::filesystem::path> files, ThreadPool& pool, const LineCutter& cut);

}  // namespace sedum
