#include "data/split.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <tuple>

#include "base/error.h"
#include "base/random.h"
#include "data/hash.h"

namespace sedum::data {

Split split_rows(std::span<const std::string> keys, const SplitOptions& options) {
  if (!(options.eval_fraction >= 0 && options.eval_fraction < 1))
    throw Error("the share of rows for evaluation is " + std::to_string(options.eval_fraction),
                "give one from 0 up to, not including, 1");
  std::map<std::string, std::vector<size_t>> by_key;
  for (size_t row = 0; row < keys.size(); ++row) by_key[keys[row]].push_back(row);

  struct Group {
    uint64_t rank;
    const std::string* key;
    const std::vector<size_t>* rows;
  };
  const Random random(options.seed, Purpose::kSplit);
  std::vector<Group> groups;
  for (const auto& [key, rows] : by_key) groups.push_back({random.bits64(hash64(key)), &key, &rows});
  std::sort(groups.begin(), groups.end(),
            [](const Group& a, const Group& b) { return std::tie(a.rank, *a.key) < std::tie(b.rank, *b.key); });

  size_t wanted = size_t(std::llround(options.eval_fraction * double(keys.size())));
  if (options.eval_fraction > 0) wanted = std::max<size_t>(wanted, 1);
  std::vector<bool> held_out(keys.size());
  size_t count = 0;
  for (size_t g = 0; g < groups.size(); ++g) {
    const auto& rows = *groups[g].rows;
    const bool fits = count + rows.size() <= wanted;
    // When every group is larger than the fraction, the smallest is held out: see below.
    if (!fits || count + rows.size() == keys.size()) continue;
    for (const size_t row : rows) held_out[row] = true;
    count += rows.size();
  }
  if (count == 0 && wanted > 0 && groups.size() > 1) {
    const auto smallest = std::min_element(
        groups.begin(), groups.end(), [](const Group& a, const Group& b) { return a.rows->size() < b.rows->size(); });
    for (const size_t row : *smallest->rows) held_out[row] = true;
  }
  Split split;
  for (size_t row = 0; row < keys.size(); ++row) (held_out[row] ? split.eval : split.train).push_back(row);
  return split;
}

}  // namespace sedum::data
