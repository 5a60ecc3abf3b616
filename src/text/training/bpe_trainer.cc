#include "text/training/bpe_trainer.h"

#include <algorithm>
#include <span>
#include <unordered_map>
#include <utility>

#include "base/error.h"
#include "text/training/merge_changes.h"
#include "text/training/pair_map.h"
#include "text/unicode.h"

namespace sedum {

namespace {

constexpr char32_t kCodePoints = 0x110000;
constexpr uint32_t kNone = ~uint32_t{0};

struct Candidate {
  int64_t count;
  Pair pair;
  uint64_t begin;  // where it may stand: words of `places_`
  uint64_t length;
  // The most frequent on top; of equal ones the smaller pair, of one pair what came up first.
  bool operator<(const Candidate& other) const {
    if (count != other.count) return count < other.count;
    return pair != other.pair ? pair > other.pair : begin > other.begin;
  }
};

// A word's symbols stand in `symbols`; merging shortens it in its place.
struct Word {
  uint64_t begin;
  int64_t count;
  uint32_t length;
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
        push(top);
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
    std::vector<uint64_t> frequency(kCodePoints);
    for (const auto& [word, count] : words)
      for (const char *p = word.data(), *end = p + word.size(); p < end;) {
        const unicode::Decoded c = unicode::decode(p, end);
        if (c.code != unicode::kInvalid) frequency[c.code] += count;
        p += c.length;
      }
    for (const std::string& text : options_.initial_alphabet)
      frequency[unicode::decode(text.data(), text.data() + text.size()).code] = UINT64_MAX;
    std::vector<char32_t> kept;
    for (char32_t code = 0; code < kCodePoints; code++)
      if (frequency[code] > 0) kept.push_back(code);
    if (options_.limit_alphabet > 0 && kept.size() > options_.limit_alphabet) {
      std::stable_sort(kept.begin(), kept.end(), [&](char32_t a, char32_t b) { return frequency[a] > frequency[b]; });
      kept.resize(options_.limit_alphabet);
      std::sort(kept.begin(), kept.end());
    }
    for (const char32_t code : kept) {
      std::string text;
      unicode::append(text, code);
      add(text);
    }
  }

  void split(const WordCounts& words) {
    // Symbols by code point: of a word's first character, and of the others.
    std::vector<uint32_t> first(kCodePoints, kNone), others(kCodePoints, kNone);
    for (size_t id = 0; id < tokens_.size(); id++) {
      const char *p = tokens_[id].data(), *end = p + tokens_[id].size();
      if (p == end) continue;
      const unicode::Decoded c = unicode::decode(p, end);
      if (size_t(c.length) == tokens_[id].size() && c.code != unicode::kInvalid) first[c.code] = uint32_t(id);
    }
    const auto continuing = [&](char32_t code, std::string_view text) {
      if (others[code] == kNone && first[code] != kNone)
        others[code] =
            options_.continuing_prefix.empty() ? first[code] : add(options_.continuing_prefix + std::string(text));
      return others[code];
    };
    words_.reserve(words.size());
    for (const auto& [word, count] : words) {
      const size_t begin = symbols_.size();
      for (const char *start = word.data(), *p = start, *end = p + word.size(); p < end;) {
        const unicode::Decoded c = unicode::decode(p, end);
        if (c.code != unicode::kInvalid) {
          const uint32_t symbol = p == start ? first[c.code] : continuing(c.code, {p, size_t(c.length)});
          if (symbol != kNone) symbols_.push_back(symbol);
        }
        p += c.length;
      }
      words_.push_back({begin, int64_t(count), uint32_t(symbols_.size() - begin)});
    }
  }

  // Calls visit(pair, word number) for neighbours in all words of a thread's part, in order.
  template <class Visit>
  void each_pair(int thread, Visit visit) const {
    const size_t size = words_.size(), t = size_t(thread), n = size_t(pool_.size());
    for (size_t w = size * t / n, end = size * (t + 1) / n; w < end; w++) {
      const uint32_t* symbols = symbols_.data() + words_[w].begin;
      for (uint32_t i = 0; i + 1 < words_[w].length; i++) visit(pair_of(symbols[i], symbols[i + 1]), uint32_t(w));
    }
  }

  // Counts first, then the places of each pair one behind the other: those of thread 0's words, of thread 1's, and so on.
  void count_pairs() {
    struct Local {
      PairMap counts, places;  // places: how many, later where the next goes
    };
    std::vector<Local> locals(size_t(pool_.size()));
    pool_.run([&](int thread) {
      Local& local = locals[size_t(thread)];
      each_pair(thread, [&](Pair pair, uint32_t w) { local.counts[pair] += words_[w].count, local.places[pair]++; });
    });
    for (const Local& local : locals) local.counts.for_each([&](Pair pair, int64_t count) { counts_[pair] += count; });
    uint64_t room = 0;
    counts_.for_each([&](Pair pair, int64_t count) {
      const uint64_t begin = room;
      for (Local& local : locals) {
        int64_t& places = local.places[pair];
        room += uint64_t(std::exchange(places, int64_t(room)));
      }
      if (count > 0) queue_.push_back({count, pair, begin, room - begin});
    });
    places_.resize(room);
    pool_.run([&](int thread) {
      PairMap& next = locals[size_t(thread)].places;
      each_pair(thread, [&](Pair pair, uint32_t w) { places_[size_t(next[pair]++)] = w; });
    });
    // A pair that a word has twice has it twice in its places.
    for (Candidate& each : queue_) {
      const auto begin = places_.begin() + ptrdiff_t(each.begin);
      each.length = uint64_t(std::unique(begin, begin + ptrdiff_t(each.length)) - begin);
    }
    std::make_heap(queue_.begin(), queue_.end());
    changes_.resize(size_t(pool_.size()));
  }

  Candidate pop() {
    std::pop_heap(queue_.begin(), queue_.end());
    const Candidate top = queue_.back();
    queue_.pop_back();
    return top;
  }
  void push(const Candidate& candidate) {
    queue_.push_back(candidate);
    std::push_heap(queue_.begin(), queue_.end());
  }

  void merge(const Candidate& top) {
    const uint32_t left = uint32_t(top.pair >> 32), right = uint32_t(top.pair);
    std::string tail = tokens_[right];
    const std::string& prefix = options_.continuing_prefix;
    if (!prefix.empty() && tail.starts_with(prefix)) tail.erase(0, prefix.size());
    const uint32_t merged = add(tokens_[left] + tail);
    merges_.push_back(top.pair);
    const uint32_t* places = places_.data() + top.begin;
    // Waking the pool for a few words costs more than it brings.
    if (top.length < 2048 || pool_.size() == 1) {
      merge_words({places, top.length}, left, right, merged, changes_[0]);
    } else {
      pool_.run([&](int thread) {
        const size_t n = top.length, t = size_t(thread), size = changes_.size();
        const size_t begin = n * t / size, end = n * (t + 1) / size;
        merge_words({places + begin, end - begin}, left, right, merged, changes_[t]);
      });
    }
    book(
        &MergeChanges::left, [&](uint32_t x) { return pair_of(x, left); },
        [&](uint32_t x) { return pair_of(x, merged); });
    book(
        &MergeChanges::right, [&](uint32_t x) { return pair_of(right, x); },
        [&](uint32_t x) { return pair_of(merged, x); });
    join_if_twice(merged);
    for (const Candidate& each : fresh_)
      if (const int64_t count = counts_[each.pair]; count > 0) push({count, each.pair, each.begin, each.length});
    fresh_.clear();
    for (MergeChanges& each : changes_) each.clear();
  }

  // Brings one side's changes, of all threads, into the counts; what is gained becomes candidates.
  template <class Lost, class Gained>
  void book(MergeChanges::Side MergeChanges::*side, Lost lost, Gained gained) {
    // Numbers of the new places, one behind the other by symbol.
    uint64_t room = places_.size();
    for (const MergeChanges& each : changes_) {
      const MergeChanges::Side& s = each.*side;
      for (const uint32_t x : s.touched) counts_[lost(x)] -= s.counts[x], counts_[gained(x)] += s.counts[x];
      for (const auto& event : s.events) {
        if (event.symbol >= number_.size()) number_.resize(size_t(event.symbol) * 2 + 1024);
        if (number_[event.symbol]++ == 0) seen_.push_back(event.symbol);
      }
    }
    for (const uint32_t x : seen_) {
      fresh_.push_back({0, gained(x), room, number_[x]});
      room += std::exchange(number_[x], room);
    }
    places_.resize(room);
    for (const MergeChanges& each : changes_)
      for (const auto& event : (each.*side).events) places_[number_[event.symbol]++] = event.word;
    for (size_t i = 0; i < seen_.size(); i++) {
      number_[seen_[i]] = 0;
      Candidate& candidate = fresh_[fresh_.size() - seen_.size() + i];
      const auto begin = places_.begin() + ptrdiff_t(candidate.begin);
      candidate.length = uint64_t(std::unique(begin, begin + ptrdiff_t(candidate.length)) - begin);
    }
    seen_.clear();
  }

  // (merged, merged) can be gained on either side: its places become one list.
  void join_if_twice(uint32_t merged) {
    const Pair twice = pair_of(merged, merged);
    const auto is_it = [&](const Candidate& each) { return each.pair == twice; };
    const auto one = std::find_if(fresh_.begin(), fresh_.end(), is_it);
    if (one == fresh_.end()) return;
    const auto other = std::find_if(one + 1, fresh_.end(), is_it);
    if (other == fresh_.end()) return;
    std::vector<uint32_t> all;
    for (const auto& each : {*one, *other})
      for (uint64_t i = 0; i < each.length; i++) all.push_back(places_[each.begin + i]);
    std::sort(all.begin(), all.end());
    all.erase(std::unique(all.begin(), all.end()), all.end());
    one->begin = places_.size(), one->length = all.size();
    places_.insert(places_.end(), all.begin(), all.end());
    fresh_.erase(other);
  }

  void merge_words(std::span<const uint32_t> numbers, uint32_t left, uint32_t right, uint32_t merged,
                   MergeChanges& changes) {
    constexpr size_t kAhead = 8;  // words lie anywhere in memory
    for (size_t i = 0; i < numbers.size(); i++) {
      if (i + 2 * kAhead < numbers.size()) __builtin_prefetch(&words_[numbers[i + 2 * kAhead]]);
      if (i + kAhead < numbers.size()) __builtin_prefetch(&symbols_[words_[numbers[i + kAhead]].begin]);
      merge_word(numbers[i], left, right, merged, changes);
    }
  }

  // From left to right in one word; neighbours are counted as they stand at that moment.
  void merge_word(uint32_t w, uint32_t left, uint32_t right, uint32_t merged, MergeChanges& changes) {
    Word& word = words_[w];
    uint32_t* symbols = symbols_.data() + word.begin;
    uint32_t kept = 0;
    for (uint32_t i = 0; i < word.length; i++) {
      if (symbols[i] != left || i + 1 >= word.length || symbols[i + 1] != right) {
        symbols[kept++] = symbols[i];
        continue;
      }
      if (kept > 0) changes.before(symbols[kept - 1], word.count, w);
      if (i + 2 < word.length) changes.after(symbols[i + 2], word.count, w);
      symbols[kept++] = merged;
      i++;
    }
    word.length = kept;
  }

  // A pair merged twice has the rank of the second time.
  std::vector<std::string> finished_merges() const {
    PairMap last;
    for (size_t i = 0; i < merges_.size(); i++) last[merges_[i]] = int64_t(i);
    std::vector<std::string> out;
    for (size_t i = 0; i < merges_.size(); i++)
      if (last[merges_[i]] == int64_t(i))
        out.push_back(tokens_[uint32_t(merges_[i] >> 32)] + " " + tokens_[uint32_t(merges_[i])]);
    return out;
  }

  const BpeTraining& options_;
  ThreadPool& pool_;
  std::vector<std::string> tokens_;
  std::unordered_map<std::string, uint32_t> ids_;
  std::vector<uint32_t> symbols_;
  std::vector<Word> words_;
  PairMap counts_;
  std::vector<uint32_t> places_;  // of all candidates, one behind the other; used ones stay
  std::vector<Candidate> queue_;  // a heap
  std::vector<Candidate> fresh_;  // of one merge
  std::vector<uint64_t> number_;  // by symbol, zeros between two uses
  std::vector<uint32_t> seen_;
  std::vector<MergeChanges> changes_;  // by thread
  std::vector<Pair> merges_;
};

}  // namespace

BpeVocabulary train_bpe(const WordCounts& words, const BpeTraining& options, ThreadPool& pool) {
  if (words.empty()) throw Error("there is no text to train a tokenizer on", "give --input files that are not empty");
  return Trainer(words, options, pool).run();
}

}  // namespace sedum
