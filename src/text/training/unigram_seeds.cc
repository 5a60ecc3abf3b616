// Candidates for a unigram model: the words' characters, and the substrings that stand in several places of the text, a word counted as often
// as it comes, and cannot be made longer without losing one, ranked by how much text they cover. From a sorted array of suffixes (Manber, Myers 1990).

#include "text/training/unigram_seeds.h"

#include <algorithm>
#include <map>

#include "text/unicode.h"

namespace sedum {

namespace {

struct Suffix {
  const char* begin;
  uint32_t length;  // at most the longest candidate, in bytes
  uint32_t word;
  std::string_view text() const { return {begin, length}; }
};

std::vector<Suffix> sorted_suffixes(const WordCounts& words, size_t max_characters, ThreadPool& pool) {
  std::vector<Suffix> suffixes;
  for (size_t w = 0; w < words.size(); w++) {
    const std::string& word = words[w].first;
    const char* end = word.data() + word.size();
    for (const char* p = word.data(); p < end; p += unicode::decode(p, end).length) {
      const char* q = p;
      for (size_t n = 0; n < max_characters && q < end; n++) q += unicode::decode(q, end).length;
      suffixes.push_back({p, uint32_t(q - p), uint32_t(w)});
    }
  }
  const auto less = [](const Suffix& a, const Suffix& b) {
    const int order = a.text().compare(b.text());
    return order != 0 ? order < 0 : a.word < b.word;
  };
  // Parts are sorted side by side, then merged: the order is total but for equal suffixes of one word, which count the same.
  const size_t parts = size_t(pool.size()), n = suffixes.size();
  const auto at = [&](size_t part) { return suffixes.begin() + ptrdiff_t(n * part / parts); };
  pool.run([&](int thread) { std::sort(at(size_t(thread)), at(size_t(thread) + 1), less); });
  for (size_t part = 1; part < parts; part++) std::inplace_merge(suffixes.begin(), at(part), at(part + 1), less);
  return suffixes;
}

size_t common_prefix(std::string_view a, std::string_view b) {
  const auto ends = std::mismatch(a.begin(), a.end(), b.begin(), b.end());
  size_t n = size_t(ends.first - a.begin());
  while (n > 0 && n < a.size() && (static_cast<unsigned char>(a[n]) & 0xC0) == 0x80) n--;  // whole characters
  return n;
}

}  // namespace

std::vector<std::pair<std::string, double>> unigram_seeds(const WordCounts& words, size_t max_characters, size_t seeds,
                                                          ThreadPool& pool) {
  const std::vector<Suffix> suffixes = sorted_suffixes(words, max_characters, pool);
  std::vector<std::pair<double, std::string_view>> found;
  struct Open {
    size_t length;
    double frequency;
    size_t first;
  };
  std::vector<Open> open;  // intervals of suffixes that share a prefix, each longer than the one below
  const auto close_to = [&](size_t length, double& frequency, size_t& first) {
    while (!open.empty() && open.back().length > length) {
      const Open top = open.back();
      open.pop_back();
      const double all = top.frequency + frequency;
      const std::string_view text = suffixes[top.first].text().substr(0, top.length);
      const size_t characters = unicode::count_characters(text);
      if (characters > 1) found.emplace_back(all * double(characters), text);
      frequency = all, first = top.first;
    }
  };
  // A suffix, of which the next one shares so many bytes.
  const auto visit = [&](size_t first, double frequency, size_t shared) {
    if (open.empty() || shared >= open.back().length) {
      if (open.empty() || shared > open.back().length) {
        if (shared > 0) open.push_back({shared, frequency, first});
      } else {
        open.back().frequency += frequency;
      }
      return;
    }
    close_to(shared, frequency, first);
    if (shared == 0) return;
    if (!open.empty() && open.back().length == shared)
      open.back().frequency += frequency;
    else
      open.push_back({shared, frequency, first});
  };
  for (size_t i = 0; i < suffixes.size(); i++) {
    const size_t shared = i + 1 < suffixes.size() ? common_prefix(suffixes[i].text(), suffixes[i + 1].text()) : 0;
    double frequency = double(words[suffixes[i].word].second);
    // A word that comes again is shared with itself, though it stands here once.
    if (frequency > 1 && shared < suffixes[i].length) visit(i, frequency, suffixes[i].length), frequency = 0;
    visit(i, frequency, shared);
  }
  std::sort(found.begin(), found.end(),
            [](const auto& a, const auto& b) { return a.first != b.first ? a.first > b.first : a.second < b.second; });
  if (found.size() > seeds) found.resize(seeds);

  std::map<std::string, double> characters;
  for (const auto& [word, count] : words)
    for (const char *p = word.data(), *end = p + word.size(); p < end;) {
      const int length = unicode::decode(p, end).length;
      characters[std::string(p, size_t(length))] += double(count);
      p += length;
    }
  std::vector<std::pair<std::string, double>> out(characters.begin(), characters.end());
  for (const auto& [score, text] : found) out.emplace_back(std::string(text), score);
  return out;
}

}  // namespace sedum
