#pragma once
// A step's context for some of its rows: dropout is counted by whose rows they are, not by where they stand.

#include "compute/autograd/context.h"

namespace sedum {

inline Context context_of_rows(const Context& ctx, const std::vector<int32_t>& rows) {
  Context some = ctx;
  if (!ctx.rows) return some;
  auto keys = std::make_shared<RowKeys>();
  for (const int32_t row : rows) {
    keys->sequence.push_back(ctx.rows->sequence[size_t(row)]);
    keys->position.push_back(ctx.rows->position[size_t(row)]);
  }
  some.rows = std::move(keys);
  return some;
}

}  // namespace sedum
