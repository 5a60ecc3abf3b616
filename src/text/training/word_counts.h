#pragma once
// How often each word stands in files: the first step of training a tokenizer.
//
//   WordCounts counts = count_words(files, pool, [](std::string_view line, WordTable& words) { …; words.add(word, readable, 1); });
//
// Files are mapped and read in blocks, one after the other for each thread; memory holds the distinct words and for each thread what the
// cutter makes of a line. A line is cut with the line break that ends it; one of more than 128 KiB comes in parts of once to twice that, which end
// where a word ends, if there is such a place. The order of the result is that of the words' bytes, whatever the number of threads.

#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/thread_pool.h"
#include "text/training/word_table.h"

namespace sedum {

using WordCounts = std::vector<std::pair<std::string, uint64_t>>;
// Adds every word of a line to the table; called from several threads, each with a table of its own.
using LineCutter = std::function<void(std::string_view line, WordTable& words)>;

WordCounts count_words(std::span<const std::filesystem::path> files, ThreadPool& pool, const LineCutter& cut);

}  // namespace sedum
