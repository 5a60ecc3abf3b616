#pragma once
#include <memory>
#include <vector>

#include "compute/autograd/tape.h"

namespace sedum::ops {

using Ids = std::shared_ptr<const std::vector<int32_t>>;

// y (R,C) = rows `ids` of the table (V,C), which may be of any stored type; y is f32 (f64 from an f64 table). Ids were checked.
Variable embedding(Context& ctx, const Variable& table, const Ids& ids);

// y (rows.size(), C) = the chosen rows of x (R,C), in ascending order without repetition.
Variable select_rows(Context& ctx, const Variable& x, const Ids& rows);

}  // namespace sedum::ops
