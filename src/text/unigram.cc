#include "text/unigram.h"

#include <cmath>
#include <limits>

#include "text/unicode.h"

namespace sedum {

namespace {

constexpr double kUnknownPenalty = 10;

// What rounding of sums up to `size` can turn a difference by, over a part of at most 16 tokens: each addition moves either side by half a
// unit in the last place (2^-24 of the sum in single precision, 2^-53 in double).
double rounding(double size, bool single_precision) {
  return 2 * 17 * (std::abs(size) + 512) * (single_precision ? 0x1p-24 : 0x1p-53);
}

}  // namespace

Unigram::Unigram(std::span<const UnigramPiece> pieces, Options options) : options_(std::move(options)) {
  unknown_score_ = options_.single_precision ? double(float(options_.min_score) - float(kUnknownPenalty))
                                             : options_.min_score - kUnknownPenalty;
  std::vector<std::pair<std::string_view, int32_t>> entries;
  for (const UnigramPiece& piece : pieces) {
    if (piece.text.empty()) continue;
    entries.emplace_back(piece.text, piece.id);
    cuts_.add(piece.text);
    if (size_t(piece.id) >= scores_.size())
      scores_.resize(size_t(piece.id) + 1), user_defined_.resize(size_t(piece.id) + 1);
    scores_[size_t(piece.id)] = piece.score;
    user_defined_[size_t(piece.id)] = piece.user_defined;
  }
  trie_ = ByteTrie(std::move(entries));
}

// Fills work.path from the back; returns the sum at the end.
double Unigram::viterbi(std::string_view part, double sum, Part& work) const {
  constexpr double kFar = std::numeric_limits<double>::infinity();
  auto& nodes = work.nodes;
  nodes.assign(part.size() + 1, {0, kFar, -1, -1});
  nodes[0].score = sum;
  const auto offer = [&](size_t from, size_t to, int32_t id, double score) {
    Node& node = nodes[to];
    const double candidate = rounded(score + nodes[from].score);
    if (node.from >= 0 && candidate <= node.score) {
      node.margin = std::min(node.margin, node.score - candidate);
      return;
    }
    node.margin = node.from < 0 ? kFar : candidate - node.score;
    node.score = candidate;
    node.id = id, node.from = int32_t(from);
  };
  const char *begin = part.data(), *end = begin + part.size();
  for (const char* p = begin; p < end;) {
    const size_t from = size_t(p - begin), length = size_t(unicode::decode(p, end).length);
    bool single = false;
    trie_.prefixes(p, end, [&](size_t n, int32_t id) {
      // As SentencePiece has it: by bytes, and below any sum that normal tokens could reach together.
      const double score = user_defined_[size_t(id)] ? double(n) * options_.max_score - 0.1 : scores_[size_t(id)];
      offer(from, from + n, id, score);
      single |= n == length;
    });
    if (!single) offer(from, from + length, -1, unknown_score_);
    p += length;
  }
  work.path.clear();
  for (int32_t at = int32_t(part.size()); at > 0; at = nodes[size_t(at)].from)
    work.path.emplace_back(nodes[size_t(at)].id, at - nodes[size_t(at)].from);
  return nodes.back().score;
}

void Unigram::emit(std::string_view part, const Part& work, std::vector<int32_t>& out) const {
  size_t at = 0;
  bool unknown_before = false;
  for (auto step = work.path.rbegin(); step != work.path.rend(); ++step) {
    const auto [id, length] = *step;
    if (id >= 0) {
      out.push_back(id);
    } else if (!options_.byte_fallback.empty()) {
      for (const char b : part.substr(at, size_t(length)))
        out.push_back(options_.byte_fallback[static_cast<unsigned char>(b)]);
    } else if (!unknown_before && options_.unknown >= 0) {
      out.push_back(options_.unknown);
    }
    unknown_before = id < 0;
    at += size_t(length);
  }
}

void Unigram::encode(std::string_view text, double& sum, UnigramCache& cache, std::vector<int32_t>& out) const {
  Part work;
  const bool fuses = options_.byte_fallback.empty() && options_.unknown >= 0;
  const size_t begin = out.size();
  const char *p = text.data(), *end = p + text.size();
  for (const char* q; p < end; p = q) {
    q = cuts_.next(p, end);
    const size_t length = size_t(q - p), before = out.size();
    const bool after_unknown = fuses && out.size() > begin && out.back() == options_.unknown;
    // A character that begins no token, alone: there is nothing to choose.
    if (fuses && length <= 4 && !trie_.begins(p, q) && size_t(unicode::decode(p, end).length) == length) {
      sum = rounded(unknown_score_ + sum);
      if (!after_unknown) out.push_back(options_.unknown);
      continue;
    }
    if (length > WordCache::kMaxBytes) {
      sum = viterbi({p, length}, sum, work);
      emit({p, length}, work, out);
    } else {
      const WordCache::Key key = WordCache::key(p, length, size_t(end - p));
      UnigramCache::Slot& slot = cache.slot(key);
      if (slot.key.low == key.low && slot.key.high == key.high && slot.count > 0 &&
          double(slot.margin) > rounding(sum, options_.single_precision)) {
        for (int32_t i = 0; i < slot.count; i++) {
          out.push_back(slot.ids[size_t(i)]);
          sum = rounded(sum + scores_[size_t(slot.ids[size_t(i)])]);
        }
      } else {
        sum = viterbi({p, length}, sum, work);
        emit({p, length}, work, out);
        remember(key, work, slot, {out.data() + before, out.size() - before});
      }
    }
    if (after_unknown && out.size() > before && out[before] == options_.unknown)
      out.erase(out.begin() + ptrdiff_t(before));
  }
}

// Only what consists of known tokens: the scores of others are not those of their ids.
void Unigram::remember(WordCache::Key key, const Part& work, UnigramCache::Slot& slot,
                       std::span<const int32_t> ids) const {
  if (ids.empty() || ids.size() > UnigramCache::kMaxIds || work.path.size() != ids.size()) return;
  double margin = 1e30;
  size_t at = work.nodes.size() - 1;
  for (const auto& [id, length] : work.path) {
    if (id < 0 || user_defined_[size_t(id)]) return;
    margin = std::min(margin, work.nodes[at].margin);
    at -= size_t(length);
  }
  slot.key = key, slot.margin = float(margin), slot.count = int32_t(ids.size());
  std::copy(ids.begin(), ids.end(), slot.ids.begin());
}

}  // namespace sedum
