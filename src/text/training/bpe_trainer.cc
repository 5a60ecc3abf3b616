#include "text/training/bpe_trainer.h"

#include <algorithm>
#include <map>
#include <unordered_map>

#include "base/error.h"
#include "text/unicode.h"

namespace sedum {

namespace {

using Pair = uint64_t;  // left << 32 | right
Pair pair_of(uint32_t left, uint32_t right) { return uint64_t(left) << 32 | right; }

struct PairHash {
  size_t operator()(Pair p) const {
    p *= 0x9E3779B97F4A7C15u;
    return p ^ p >> 29;
  }
};
template <class T>
using PairMap = std::unordered_map<Pair, T, PairHash>;

struct Candidate {
  Pair pair;
  int64_t count;
  std::vector<uint32_t> words;  // where it may stand
  // The most frequent on top; of equal ones the smaller pair.
  bool operator<(const Candidate& other) const {
    return count != other.count ? count < other.count : pair > other.pair;
  }
};

// The symbols of all words, one after the other; merging shortens a word in its place.
struct Words {
  std::vector<uint32_t> symbols;
  std::vector<uint64_t> begin;
  std::vector<uint32_t> length;
  std::vector<int64_t> count;
};

struct Change {
  Pair pair;
  int64_t delta;
  uint32_t word;
};

class Trainer {
 public:
  Trainer(const WordCounts& words, const BpeTraining& options, ThreadPool& pool) : options_(options), pool_(pool) {
    for (const std::string& token : options.special_tokens) add(token);
    add_alphabet(words);
    split(words);
  }

  BpeVocabulary run() {
    count_pairs();
    while (tokens_.size() < options_.vocab_size && !queue_.empty()) {
      Candidate top = pop();
      const int64_t count = counts_[top.pair];
      if (top.count != count) {  // has become rarer (or more frequent) since
        top.count = count;
        push(std::move(top));
        continue;
      }
      if (top.count < 1 || uint64_t(top.count) < options_.min_frequency) break;
      merge(top);
      if (options_.on_progress && tokens_.size() % 256 == 0) options_.on_progress(tokens_.size(), options_.vocab_size);
    }
    std::vector<std::string> merges = finished_merges();
    return {std::move(tokens_), std::move(merges)};
  }

 private:
  uint32_t add(const std::string& token) {
    const auto [place, added] = ids_.emplace(token, uint32_t(tokens_.size()));
    if (added) tokens_.push_back(token);
    return place->second;
  }

  // Every character, or the most frequent, in the order of code points.
  void add_alphabet(const WordCounts& words) {
    std::map<char32_t, uint64_t> characters;
    for (const auto& [word, count] : words)
      for (const char *p = word.data(), *end = p + word.size(); p < end;) {
        const unicode::Decoded c = unicode::decode(p, end);
        if (c.code != unicode::kInvalid) characters[c.code] += count;
        p += c.length;
      }
    for (const std::string& text : options_.initial_alphabet)
      characters[unicode::decode(text.data(), text.data() + text.size()).code] = UINT64_MAX;
    std::vector<std::pair<char32_t, uint64_t>> kept(characters.begin(), characters.end());
    if (options_.limit_alphabet > 0 && kept.size() > options_.limit_alphabet) {
      std::stable_sort(kept.begin(), kept.end(), [](const auto& a, const auto& b) { return a.second > b.second; });
      kept.resize(options_.limit_alphabet);
      std::sort(kept.begin(), kept.end());
    }
    for (const auto& [code, count] : kept) {
      std::string text;
      unicode::append(text, code);
      add(text);
    }
  }

  void split(const WordCounts& words) {
    for (const auto& [word, count] : words) {
      const size_t begin = words_.symbols.size();
      for (const char *first = word.data(), *p = first, *end = p + word.size(); p < end;) {
        const unicode::Decoded c = unicode::decode(p, end);
        std::string text(p, size_t(c.length));
        const bool known = ids_.contains(text);
        if (p > first && !options_.continuing_prefix.empty()) text = options_.continuing_prefix + text;
        p += c.length;
        if (known) words_.symbols.push_back(add(text));
      }
      words_.begin.push_back(begin);
      words_.length.push_back(uint32_t(words_.symbols.size() - begin));
      words_.count.push_back(int64_t(count));
    }
  }

  void count_pairs() {
    struct Local {
      PairMap<int64_t> counts;
      PairMap<std::vector<uint32_t>> places;
    };
    std::vector<Local> locals(size_t(pool_.size()));
    const size_t size = words_.begin.size();
    pool_.run([&](int thread) {
      Local& local = locals[size_t(thread)];
      for (size_t w = size * size_t(thread) / locals.size(), end = size * (size_t(thread) + 1) / locals.size(); w < end;
           w++) {
        const uint32_t* symbols = words_.symbols.data() + words_.begin[w];
        for (uint32_t i = 0; i + 1 < words_.length[w]; i++) {
          const Pair pair = pair_of(symbols[i], symbols[i + 1]);
          local.counts[pair] += words_.count[w];
          auto& places = local.places[pair];
          if (places.empty() || places.back() != w) places.push_back(uint32_t(w));
        }
      }
    });
    PairMap<std::vector<uint32_t>> places;
    for (Local& local : locals) {
      for (const auto& [pair, count] : local.counts) counts_[pair] += count;
      for (auto& [pair, list] : local.places) {
        auto& all = places[pair];
        all.insert(all.end(), list.begin(), list.end());
      }
      local = {};
    }
    for (auto& [pair, list] : places)
      if (counts_[pair] > 0) queue_.push_back({pair, counts_[pair], std::move(list)});
    std::make_heap(queue_.begin(), queue_.end());
  }

  Candidate pop() {
    std::pop_heap(queue_.begin(), queue_.end());
    Candidate top = std::move(queue_.back());
    queue_.pop_back();
    return top;
  }
  void push(Candidate candidate) {
    queue_.push_back(std::move(candidate));
    std::push_heap(queue_.begin(), queue_.end());
  }

  void merge(const Candidate& top) {
    const uint32_t left = uint32_t(top.pair >> 32), right = uint32_t(top.pair);
    std::string tail = tokens_[right];
    const std::string& prefix = options_.continuing_prefix;
    if (!prefix.empty() && tail.starts_with(prefix)) tail.erase(0, prefix.size());
    const uint32_t merged = add(tokens_[left] + tail);
    merges_.push_back(top.pair);
    changes_.clear();
    // Waking the pool for a handful of words costs more than it brings.
    if (top.words.size() < 4096 || pool_.size() == 1) {
      for (const uint32_t w : top.words) merge_word(w, left, right, merged, changes_);
    } else {
      std::vector<std::vector<Change>> parts(size_t(pool_.size()));
      pool_.run([&](int thread) {
        const size_t n = top.words.size(), t = size_t(thread);
        for (size_t i = n * t / parts.size(); i < n * (t + 1) / parts.size(); i++)
          merge_word(top.words[i], left, right, merged, parts[t]);
      });
      for (const auto& part : parts) changes_.insert(changes_.end(), part.begin(), part.end());
    }
    PairMap<std::vector<uint32_t>> places;
    for (const Change& change : changes_) {
      counts_[change.pair] += change.delta;
      if (change.delta <= 0) continue;
      auto& list = places[change.pair];
      if (list.empty() || list.back() != change.word) list.push_back(change.word);
    }
    for (auto& [pair, list] : places)
      if (const int64_t count = counts_[pair]; count > 0) push({pair, count, std::move(list)});
  }

  // From left to right in one word; neighbours are counted as they stand at that moment.
  void merge_word(uint32_t w, uint32_t left, uint32_t right, uint32_t merged, std::vector<Change>& changes) {
    uint32_t* symbols = words_.symbols.data() + words_.begin[w];
    const uint32_t length = words_.length[w];
    const int64_t count = words_.count[w];
    uint32_t kept = 0;
    for (uint32_t i = 0; i < length; i++) {
      if (symbols[i] != left || i + 1 >= length || symbols[i + 1] != right) {
        symbols[kept++] = symbols[i];
        continue;
      }
      if (kept > 0) {
        changes.push_back({pair_of(symbols[kept - 1], left), -count, w});
        changes.push_back({pair_of(symbols[kept - 1], merged), count, w});
      }
      if (i + 2 < length) {
        changes.push_back({pair_of(right, symbols[i + 2]), -count, w});
        changes.push_back({pair_of(merged, symbols[i + 2]), count, w});
      }
      symbols[kept++] = merged;
      i++;
    }
    words_.length[w] = kept;
  }

  // A pair merged twice has the rank of the second time.
  std::vector<std::string> finished_merges() const {
    PairMap<size_t> last;
    for (size_t i = 0; i < merges_.size(); i++) last[merges_[i]] = i;
    std::vector<std::string> out;
    for (size_t i = 0; i < merges_.size(); i++)
      if (last.at(merges_[i]) == i)
        out.push_back(tokens_[uint32_t(merges_[i] >> 32)] + " " + tokens_[uint32_t(merges_[i])]);
    return out;
  }

  const BpeTraining& options_;
  ThreadPool& pool_;
  std::vector<std::string> tokens_;
  std::unordered_map<std::string, uint32_t> ids_;
  Words words_;
  PairMap<int64_t> counts_;
  std::vector<Candidate> queue_;  // a heap
  std::vector<Pair> merges_;
  std::vector<Change> changes_;
};

}  // namespace

BpeVocabulary train_bpe(const WordCounts& words, const BpeTraining& options, ThreadPool& pool) {
  if (words.empty()) throw Error("there is no text to train a tokenizer on", "give --input files that are not empty");
  return Trainer(words, options, pool).run();
}

}  // namespace sedum
