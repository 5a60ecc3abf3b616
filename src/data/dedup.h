#pragma once
// Finding texts that repeat earlier ones, exactly or nearly.
//
//   Deduplicator seen({.threshold = 0.8});
//   if (auto repeat = seen.add(text)) drop(repeat->of, repeat->similarity);   // else it was kept as number seen.size() - 1
//
// Equal means equal as comparable_text(). Near means that the sets of shingles, runs of five units (words, or
// characters of scripts without spaces), have a Jaccard similarity of at least the threshold. Candidates come from
// MinHash signatures of 128 values cut into bands (Broder 1997, "On the resemblance and containment of documents";
// Leskovec, Rajaraman, Ullman, "Mining of Massive Datasets", 3.4), chosen so that a pair at the threshold is found with
// 99.9 %; each is then measured exactly, so nothing is dropped by chance. Compared with what was kept only: a chain of
// small changes does not carry a text away.

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "data/hash.h"

namespace sedum::data {

inline constexpr int kShingleUnits = 5;
inline constexpr int kPermutations = 128;
using MinHash = std::array<uint32_t, kPermutations>;

struct DedupOptions {
  double threshold = 0.8;  // (0, 1]
  bool near = true;        // false: exact repetitions only
};

struct Duplicate {
  int64_t of;         // number of the kept text
  double similarity;  // 1 also for exact repetitions
  bool exact;
};

// Hashes of the shingles, ascending, each once. `text` is comparable_text(). Fewer than five units are one shingle.
std::vector<uint64_t> shingles(std::string_view text);
MinHash min_hash(const std::vector<uint64_t>& shingles);
double jaccard(const std::vector<uint64_t>& a, const std::vector<uint64_t>& b);

class Deduplicator {
 public:
  explicit Deduplicator(DedupOptions options = {});  // throws Error for a threshold outside (0, 1]

  std::optional<Duplicate> add(std::string_view text);
  int64_t size() const { return int64_t(kept_.size()); }
  int rows_per_band() const { return rows_per_band_; }

 private:
  struct Kept {
    std::vector<uint64_t> shingles;
    MinHash signature;
  };
  std::optional<Duplicate> find_near(const Kept& text);
  uint64_t band_key(const MinHash& signature, int band) const;

  DedupOptions options_;
  int rows_per_band_ = 1, bands_ = kPermutations;
  double least_estimate_ = 0;  // signatures that agree less are not worth measuring
  std::vector<Kept> kept_;
  std::vector<int64_t> asked_by_;  // the last text that was compared with a kept one
  int64_t added_ = 0;
  std::unordered_map<Hash128, int64_t, HashOfHash> exact_;
  std::vector<std::unordered_map<uint64_t, std::vector<uint32_t>>> buckets_;  // one table a band
};

}  // namespace sedum::data
