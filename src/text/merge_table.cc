#include "text/merge_table.h"

#include <algorithm>
#include <bit>
#include <queue>

#include "base/error.h"

namespace sedum {

MergeTable::MergeTable(size_t expected) { resize(std::bit_ceil(std::max<size_t>(2 * expected, 2))); }

void MergeTable::resize(size_t slots) {
  std::vector<Merge> old(slots, {kNoPair, kNoRank, -1});
  old.swap(merges_);
  mask_ = slots - 1;
  shift_ = 64 - std::countr_zero(slots);
  for (const Merge& m : old)
    if (m.pair != kNoPair) merges_[slot_of(m.pair)] = m;
}

void MergeTable::add(int32_t left, int32_t right, uint32_t rank, int32_t merged) {
  if (2 * (size_ + 1) > merges_.size()) resize(2 * merges_.size());
  const uint64_t pair = uint64_t(uint32_t(left)) << 32 | uint32_t(right);
  Merge& slot = merges_[slot_of(pair)];
  if (slot.pair == pair && slot.rank <= rank) return;
  if (slot.pair != pair) size_++;
  slot = {pair, rank, merged};
}

void MergeTable::merge(int32_t* symbols, size_t count, std::vector<int32_t>& out) const {
  SEDUM_CHECK(count <= size_t(INT32_MAX));
  if (count <= kShortWord) return merge_short(symbols, int(count), out);
  merge_long(symbols, count, out);
}

void MergeTable::merge_short(int32_t* symbols, int count, std::vector<int32_t>& out) const {
  uint32_t ranks[kShortWord];  // of the pair that begins at i
  int32_t merged[kShortWord];
  const auto look_up = [&](int i) {
    const Merge& merge = find(symbols[i], symbols[i + 1]);
    ranks[i] = merge.rank;
    merged[i] = merge.merged;
  };
  for (int i = 0; i + 1 < count; i++) look_up(i);
  while (count > 1) {
    int best = 0;
    for (int i = 1; i + 1 < count; i++)
      if (ranks[i] < ranks[best]) best = i;
    if (ranks[best] == kNoRank) break;
    symbols[best] = merged[best];
    count--;
    for (int i = best + 1; i < count; i++)
      symbols[i] = symbols[i + 1], ranks[i] = ranks[i + 1], merged[i] = merged[i + 1];
    if (best + 1 < count) look_up(best);
    if (best > 0) look_up(best - 1);
  }
  out.insert(out.end(), symbols, symbols + count);
}

void MergeTable::merge_long(int32_t* symbols, size_t size, std::vector<int32_t>& out) const {
  const int count = int(size);
  constexpr int32_t kGone = -1;
  std::vector<int> previous(size), next(size);
  std::vector<uint32_t> ranks(size, kNoRank);
  // Rank and place in one number: the best rank first, the leftmost of equal ones. An entry whose rank is no longer that of its
  // place is out of date.
  std::priority_queue<uint64_t, std::vector<uint64_t>, std::greater<>> queue;
  const auto look_up = [&](int i) {
    ranks[size_t(i)] =
        next[size_t(i)] < count ? find(symbols[size_t(i)], symbols[size_t(next[size_t(i)])]).rank : kNoRank;
    if (ranks[size_t(i)] != kNoRank) queue.push(uint64_t(ranks[size_t(i)]) << 32 | uint32_t(i));
  };
  for (int i = 0; i < count; i++) previous[size_t(i)] = i - 1, next[size_t(i)] = i + 1;
  for (int i = 0; i < count; i++) look_up(i);
  while (!queue.empty()) {
    const uint64_t entry = queue.top();
    queue.pop();
    const int i = int(uint32_t(entry));
    if (symbols[size_t(i)] == kGone || ranks[size_t(i)] != uint32_t(entry >> 32)) continue;
    const int j = next[size_t(i)];
    symbols[size_t(i)] = find(symbols[size_t(i)], symbols[size_t(j)]).merged;
    symbols[size_t(j)] = kGone;
    next[size_t(i)] = next[size_t(j)];
    if (next[size_t(i)] < count) previous[size_t(next[size_t(i)])] = i;
    look_up(i);
    if (previous[size_t(i)] >= 0) look_up(previous[size_t(i)]);
  }
  for (size_t i = 0; i < size; i++)
    if (symbols[i] != kGone) out.push_back(symbols[i]);
}

}  // namespace sedum
