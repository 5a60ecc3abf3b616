#pragma once
#include "compute/ops/attention.h"

namespace sedum::ops {

// y (segments, C): the mean of each segment's query rows of x (R, C). Rows of no segment count for nothing.
Variable segment_mean(Context& ctx, const Variable& x, const Segments& segments);

}  // namespace sedum::ops
