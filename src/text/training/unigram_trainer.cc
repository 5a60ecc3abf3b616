#include "text/training/unigram_trainer.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/error.h"
#include "text/byte_trie.h"
#include "text/training/unigram_seeds.h"
#include "text/unicode.h"

namespace sedum {

namespace {

constexpr double kFar = -std::numeric_limits<double>::infinity();
// Sums are made over so many parts of the words, whatever the number of threads: the same bits.
constexpr size_t kParts = 8;

// Bernardo 1976, algorithm AS 103: recurrence up to 7, then the asymptotic series.
double digamma(double x) {
  double result = 0;
  for (; x < 7; x++) result -= 1 / x;
  x -= 0.5;
  const double xx = 1 / x, xx2 = xx * xx, xx4 = xx2 * xx2;
  return result + std::log(x) + 1.0 / 24 * xx2 - 7.0 / 960 * xx4 + 31.0 / 8064 * xx4 * xx2 - 127.0 / 30720 * xx4 * xx4;
}

double log_sum(double a, double b) {
  if (a == kFar) return b;
  const double high = std::max(a, b), low = std::min(a, b);
  return low < high - 50 ? high : high + std::log1p(std::exp(low - high));
}

struct Piece {
  std::string text;
  double score;
  bool character;  // never dropped
};

struct Edge {
  uint32_t from, to;
  int32_t id;
};

class Model {
 public:
  explicit Model(std::vector<Piece> pieces) : pieces_(std::move(pieces)) {
    std::vector<std::pair<std::string_view, int32_t>> entries;
    for (size_t id = 0; id < pieces_.size(); id++) entries.emplace_back(pieces_[id].text, int32_t(id));
    trie_ = ByteTrie(std::move(entries));
  }
  const std::vector<Piece>& pieces() const { return pieces_; }

  void edges(std::string_view word, std::vector<Edge>& out) const {
    out.clear();
    const char *begin = word.data(), *end = begin + word.size();
    for (const char* p = begin; p < end; p += unicode::decode(p, end).length)
      trie_.prefixes(p, end, [&](size_t length, int32_t id) {
        out.push_back({uint32_t(p - begin), uint32_t(p - begin + length), id});
      });
  }

  // Adds `count` times each piece's expected number of occurrences; returns the word's log-likelihood.
  double expect(std::string_view word, double count, std::vector<double>& expected) {
    edges(word, edges_);
    const size_t n = word.size();
    forward_.assign(n + 1, kFar), backward_.assign(n + 1, kFar);
    forward_[0] = backward_[n] = 0;
    for (const Edge& e : edges_)
      if (forward_[e.from] != kFar)
        forward_[e.to] = log_sum(forward_[e.to], forward_[e.from] + pieces_[size_t(e.id)].score);
    for (auto e = edges_.rbegin(); e != edges_.rend(); ++e)
      if (backward_[e->to] != kFar)
        backward_[e->from] = log_sum(backward_[e->from], backward_[e->to] + pieces_[size_t(e->id)].score);
    const double all = forward_[n];
    if (all == kFar) return 0;
    for (const Edge& e : edges_)
      if (forward_[e.from] != kFar && backward_[e.to] != kFar)
        expected[size_t(e.id)] +=
            count * std::exp(forward_[e.from] + pieces_[size_t(e.id)].score + backward_[e.to] - all);
    return all * count;
  }

  // The best cut, without the piece `but` (-1: with all).
  void best(std::string_view word, int32_t but, std::vector<int32_t>& ids) {
    edges(word, edges_);
    forward_.assign(word.size() + 1, kFar);
    back_.assign(word.size() + 1, {0, 0, -1});
    forward_[0] = 0;
    for (const Edge& e : edges_) {
      if (e.id == but || forward_[e.from] == kFar) continue;
      const double score = forward_[e.from] + pieces_[size_t(e.id)].score;
      if (score > forward_[e.to]) forward_[e.to] = score, back_[e.to] = e;
    }
    ids.clear();
    for (uint32_t at = uint32_t(word.size()); at > 0 && back_[at].id >= 0; at = back_[at].from)
      ids.push_back(back_[at].id);
  }
  double best_score() const { return forward_.back(); }

  Model copy_for_thread() const { return *this; }

 private:
  std::vector<Piece> pieces_;
  ByteTrie trie_;
  std::vector<Edge> edges_, back_;
  std::vector<double> forward_, backward_;
};

class Trainer {
 public:
  Trainer(const WordCounts& words, const UnigramTraining& options, ThreadPool& pool)
      : words_(words), options_(options), pool_(pool) {}

  UnigramVocabulary run() {
    std::vector<Piece> pieces = seeds();
    const size_t wanted = std::max<size_t>(options_.vocab_size * 11 / 10, 1);
    while (true) {
      for (int i = 0; i < 2; i++) pieces = maximised(std::move(pieces));
      if (options_.on_progress) options_.on_progress(pieces.size(), wanted);
      if (pieces.size() <= wanted) break;
      const size_t before = pieces.size();
      pieces = pruned(std::move(pieces), wanted);
      if (pieces.size() >= before) break;
    }
    return finished(std::move(pieces));
  }

 private:
  std::vector<Piece> seeds() {
    const size_t count = options_.seeds ? options_.seeds : 16 * options_.vocab_size;
    std::vector<Piece> pieces;
    double sum = 0;
    for (auto& [text, score] : unigram_seeds(words_, options_.max_characters, count, pool_)) {
      const bool character = unicode::count_characters(text) == 1;
      sum += score;
      pieces.push_back({std::move(text), score, character});
    }
    for (Piece& piece : pieces) piece.score = std::log(piece.score) - std::log(sum);
    return pieces;
  }

  // Runs work(part, model, begin, end) over fixed parts of the words.
  template <class Work>
  void over_words(const Model& model, Work work) {
    pool_.run([&](int thread) {
      Model own = model.copy_for_thread();  // with buffers of its own
      for (size_t part = size_t(thread); part < kParts; part += size_t(pool_.size()))
        work(part, own, words_.size() * part / kParts, words_.size() * (part + 1) / kParts);
    });
  }

  // One step of expectation maximisation, with the sparse prior of a Dirichlet process (digamma).
  std::vector<Piece> maximised(std::vector<Piece> pieces) {
    const Model model(std::move(pieces));
    const size_t n = model.pieces().size();
    std::vector<std::vector<double>> expected(kParts, std::vector<double>(n));
    std::vector<double> likelihood(kParts), total(kParts);
    over_words(model, [&](size_t part, Model& own, size_t begin, size_t end) {
      for (size_t w = begin; w < end; w++) {
        likelihood[part] += own.expect(words_[w].first, double(words_[w].second), expected[part]);
        total[part] += double(words_[w].second);
      }
    });
    double sum = 0, words = 0;
    loss_ = 0;
    for (size_t part = 0; part < kParts; part++) {
      loss_ -= likelihood[part], words += total[part];
      if (part > 0)
        for (size_t i = 0; i < n; i++) expected[0][i] += expected[part][i];
    }
    loss_ /= words;
    std::vector<Piece> out;
    std::vector<double> counts;
    for (size_t i = 0; i < n; i++) {
      const Piece& piece = model.pieces()[i];
      if (expected[0][i] < 0.5 && !piece.character) continue;
      counts.push_back(std::max(expected[0][i], 1e-3));
      sum += counts.back();
      out.push_back(piece);
    }
    const double log_total = digamma(sum);
    for (size_t i = 0; i < out.size(); i++) out[i].score = digamma(counts[i]) - log_total;
    return out;
  }

  std::vector<Piece> pruned(std::vector<Piece> pieces, size_t wanted) {
    Model model(std::move(pieces));
    const size_t n = model.pieces().size();
    std::vector<std::vector<double>> uses(kParts, std::vector<double>(n));
    over_words(model, [&](size_t part, Model& own, size_t begin, size_t end) {
      std::vector<int32_t> ids;
      for (size_t w = begin; w < end; w++) {
        own.best(words_[w].first, -1, ids);
        for (const int32_t id : ids) uses[part][size_t(id)] += double(words_[w].second);
      }
    });
    double sum = 0;
    for (size_t part = 1; part < kParts; part++)
      for (size_t i = 0; i < n; i++) uses[0][i] += uses[part][i];
    for (const double u : uses[0]) sum += u;
    // What the text would lose without each piece: the likelihood of its best replacement instead of its own.
    std::vector<std::pair<double, size_t>> losses;
    std::vector<Piece> out;
    std::vector<int32_t> ids;
    for (size_t i = 0; i < n; i++) {
      const Piece& piece = model.pieces()[i];
      if (piece.character) {
        out.push_back(piece);
        continue;
      }
      if (uses[0][i] == 0) continue;
      model.best(piece.text, int32_t(i), ids);
      if (model.best_score() >= piece.score) continue;  // never the best cut of its own text
      double alternative = 0;
      const double log_alternative = std::log(sum + uses[0][i] * double(ids.size() - 1));
      for (const int32_t id : ids) alternative += std::log(uses[0][size_t(id)] + uses[0][i]) - log_alternative;
      losses.emplace_back(uses[0][i] / sum * (std::log(uses[0][i]) - std::log(sum) - alternative), i);
    }
    std::sort(losses.begin(), losses.end(), [](const auto& a, const auto& b) {
      return a.first != b.first ? a.first > b.first : a.second < b.second;
    });
    const size_t keep = std::max(wanted, size_t(options_.shrinking * double(n)));
    for (const auto& [loss, i] : losses) {
      if (out.size() >= keep) break;
      out.push_back(model.pieces()[i]);
    }
    return out;
  }

  UnigramVocabulary finished(std::vector<Piece> pieces) {
    std::sort(pieces.begin(), pieces.end(),
              [](const Piece& a, const Piece& b) { return a.score != b.score ? a.score > b.score : a.text < b.text; });
    size_t room = options_.vocab_size;
    for (const Piece& piece : pieces) room -= std::min<size_t>(room, piece.character);
    UnigramVocabulary out;
    for (const Piece& piece : pieces) {
      if (!piece.character && room == 0) continue;
      if (!piece.character) room--;
      out.pieces.emplace_back(piece.text, piece.score);
    }
    out.loss = loss_;
    return out;
  }

  const WordCounts& words_;
  const UnigramTraining& options_;
  ThreadPool& pool_;
  double loss_ = 0;
};

}  // namespace

UnigramVocabulary train_unigram(const WordCounts& words, const UnigramTraining& options, ThreadPool& pool) {
  if (words.empty()) throw Error("there is no text to train a tokenizer on", "give --input files that are not empty");
  return Trainer(words, options, pool).run();
}

}  // namespace sedum
