#pragma once
// The unigram language model: of all ways to cut a text into tokens the one with the best sum of scores (log-probabilities), by
// Viterbi's algorithm. Kudo 2018, "Subword Regularization", section 3.2.
//
//   Unigram model(pieces, options);
//   double sum = 0;                            // of one text: sums go on from part to part
//   model.encode(normalized, sum, cache, ids);
//
// Parts between which no token reaches (char_cuts.h) are remembered. The references add scores up over the whole text, in single
// precision (SentencePiece) or double (Hugging Face), and rounding decides between cuts that are nearly equally good; to give the same
// ids, the sum travels along here too, and a remembered part counts only where its margin is larger than what rounding can do.

#include <array>
#include <memory>
#include <span>

#include "text/byte_trie.h"
#include "text/char_cuts.h"
#include "text/word_model.h"

namespace sedum {

struct UnigramPiece {
  std::string_view text;
  int32_t id;
  double score;
  bool user_defined = false;  // beats whatever else could stand there
};

// Parts that were tokenized before.
class UnigramCache {
 public:
  static constexpr size_t kMaxIds = 5;
  struct Slot {
    WordCache::Key key{0, 0};
    std::array<int32_t, kMaxIds> ids{};
    float margin = 0;
    int32_t count = 0;
  };
  Slot& slot(WordCache::Key k) { return slots_[WordCache::mixed(k) & ((size_t{1} << kBits) - 1)]; }

 private:
  static constexpr int kBits = 15;
  std::vector<Slot> slots_ = std::vector<Slot>(size_t{1} << kBits);
};

class Unigram {
 public:
  struct Options {
    int32_t unknown = -1;
    std::vector<int32_t> byte_fallback =
        {};                               // by byte; empty: unknown characters become `unknown`, one for a run of them
    bool single_precision = false;        // sums as SentencePiece rounds them
    double min_score = 0, max_score = 0;  // an unknown character costs 10 more than the worst token
  };
  Unigram(std::span<const UnigramPiece> pieces, Options options);

  // Appends. `sum` is the score of what the text has had before: 0 at its beginning.
  void encode(std::string_view text, double& sum, UnigramCache& cache, std::vector<int32_t>& out) const;

 private:
  struct Node {
    double score;  // a float's value in single precision
    double margin;
    int32_t id, from;
  };
  struct Part {
    std::vector<Node> nodes;
    std::vector<std::pair<int32_t, int32_t>> path;  // id, length; reused
  };
  double viterbi(std::string_view part, double sum, Part& work) const;
  void emit(std::string_view part, const Part& work, std::vector<int32_t>& out) const;
  void remember(WordCache::Key key, const Part& work, UnigramCache::Slot& slot, std::span<const int32_t> ids) const;
  double rounded(double value) const { return options_.single_precision ? double(float(value)) : value; }

  Options options_;
  double unknown_score_;
  ByteTrie trie_;
  CharCuts cuts_;
  std::vector<double> scores_;      // by id
  std::vector<bool> user_defined_;  // by id
};

}  // namespace sedum
