#include "data/dedup.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <utility>

#include "base/error.h"
#include "base/random.h"
#include "data/units.h"

namespace sedum::data {
namespace {

// Multiply-shift hashing (Dietzfelbinger et al. 1997): (a·x + b) mod 2^64, upper half; a odd.
struct Permutations {
  std::array<uint64_t, kPermutations> a, b;
};

const Permutations& permutations() {
  static const Permutations made = [] {
    const Random random(0x4D696E48617368, Purpose::kInit);  // fixed: signatures may be stored and compared
    Permutations p;
    for (size_t i = 0; i < kPermutations; ++i) p.a[i] = random.bits64(2 * i) | 1, p.b[i] = random.bits64(2 * i + 1);
    return p;
  }();
  return made;
}

// The longest bands, thus the fewest candidates, that still find a pair at the threshold with 99.9 %.
int choose_rows_per_band(double threshold) {
  for (int rows = 16; rows > 1; --rows) {
    const int bands = kPermutations / rows;
    if (1 - std::pow(1 - std::pow(threshold, rows), bands) >= 0.999) return rows;
  }
  return 1;
}

}  // namespace

std::vector<uint64_t> shingles(std::string_view text) {
  std::vector<uint64_t> units;
  for_each_unit(text, [&](const Unit& unit) { units.push_back(hash64(unit.text)); });
  std::vector<uint64_t> found;
  if (units.empty()) return found;
  const size_t width = std::min<size_t>(kShingleUnits, units.size());
  for (size_t i = 0; i + width <= units.size(); ++i)
    found.push_back(hash64({reinterpret_cast<const char*>(&units[i]), width * sizeof(uint64_t)}));
  std::sort(found.begin(), found.end());
  found.erase(std::unique(found.begin(), found.end()), found.end());
  return found;
}

MinHash min_hash(const std::vector<uint64_t>& shingles) {
  const Permutations& p = permutations();
  MinHash signature;
  signature.fill(std::numeric_limits<uint32_t>::max());
  for (const uint64_t shingle : shingles) {
    const uint64_t x = shingle >> 32;
    for (size_t i = 0; i < kPermutations; ++i)
      signature[i] = std::min(signature[i], uint32_t((p.a[i] * x + p.b[i]) >> 32));
  }
  return signature;
}

double jaccard(const std::vector<uint64_t>& a, const std::vector<uint64_t>& b) {
  size_t common = 0;
  for (auto i = a.begin(), j = b.begin(); i != a.end() && j != b.end();) {
    if (*i == *j)
      ++common, ++i, ++j;
    else if (*i < *j)
      ++i;
    else
      ++j;
  }
  const size_t all = a.size() + b.size() - common;
  return all == 0 ? 0 : double(common) / double(all);
}

Deduplicator::Deduplicator(DedupOptions options) : options_(options) {
  if (!(options.threshold > 0 && options.threshold <= 1))
    throw Error("the threshold of similarity is " + std::to_string(options.threshold), "give one above 0, up to 1");
  rows_per_band_ = choose_rows_per_band(options.threshold);
  bands_ = kPermutations / rows_per_band_;
  // Five standard deviations of the estimate at the threshold.
  least_estimate_ = options.threshold - 5 * std::sqrt(options.threshold * (1 - options.threshold) / kPermutations);
  buckets_.resize(size_t(bands_));
}

uint64_t Deduplicator::band_key(const MinHash& signature, int band) const {
  const uint32_t* values = &signature[size_t(band * rows_per_band_)];
  return hash64({reinterpret_cast<const char*>(values), size_t(rows_per_band_) * sizeof(uint32_t)});
}

std::optional<Duplicate> Deduplicator::find_near(const Kept& text) {
  for (int band = 0; band < bands_; ++band) {
    const auto bucket = buckets_[size_t(band)].find(band_key(text.signature, band));
    if (bucket == buckets_[size_t(band)].end()) continue;
    for (const uint32_t candidate : bucket->second) {
      if (std::exchange(asked_by_[candidate], added_) == added_) continue;
      const Kept& other = kept_[candidate];
      int equal = 0;
      for (size_t i = 0; i < kPermutations; ++i) equal += text.signature[i] == other.signature[i];
      if (equal < least_estimate_ * kPermutations) continue;
      const double similarity = jaccard(text.shingles, other.shingles);
      if (similarity >= options_.threshold) return Duplicate{int64_t(candidate), similarity, false};
    }
  }
  return std::nullopt;
}

std::optional<Duplicate> Deduplicator::add(std::string_view text) {
  const std::string comparable = comparable_text(text);
  const Hash128 hash = hash128(comparable);
  if (const auto found = exact_.find(hash); found != exact_.end()) return Duplicate{found->second, 1, true};
  ++added_;
  Kept kept;
  if (options_.near) {
    kept.shingles = shingles(comparable);
    kept.signature = min_hash(kept.shingles);
    if (!kept.shingles.empty())
      if (const auto near = find_near(kept)) return near;
  }
  const int64_t number = size();
  SEDUM_CHECK(number < std::numeric_limits<uint32_t>::max());
  exact_.emplace(hash, number);
  if (!kept.shingles.empty())
    for (int band = 0; band < bands_; ++band)
      buckets_[size_t(band)][band_key(kept.signature, band)].push_back(uint32_t(number));
  kept_.push_back(std::move(kept));
  asked_by_.push_back(0);
  return std::nullopt;
}

}  // namespace sedum::data
